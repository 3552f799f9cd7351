"""Names for held-out icons that no decoder wrote, to compare a captioner with."""

from collections import Counter

import numpy as np

from kzoo.evaluation import words


def baselines(model, train, test) -> dict:
    """Captions for the icons of the test part, by how they were found.

    - `frequent_words`: `frequent_words` of the training names, the same for every icon.
    - `nearest_caption`: the training name whose text embedding is nearest to the icon's embedding.
    - `nearest_picture`: the name of the training icon whose embedding is nearest to the icon's.
    - `best_caption`: the training name with the best word F1, found by looking at the true name: what the best
      retrieval of a whole name would give.

    Args:
        model: a trained model with both embeddings.
        train, test: dicts of `images` and `captions`.

    Returns:
        dict: name to list of strings, one for each icon of the test part.
    """
    names = train["captions"]
    pictures = model.encode_image(test["images"])
    found = {
        "nearest_caption": pictures @ model.encode_text(names).T,
        "nearest_picture": pictures @ model.encode_image(train["images"]).T,
        "best_caption": _word_f1(test["captions"], names),
    }
    retrieved = {key: [names[best] for best in scores.argmax(axis=1)] for key, scores in found.items()}
    return {"frequent_words": [frequent_words(names)] * len(pictures)} | retrieved


def frequent_words(captions) -> str:
    """The most frequent words of captions, the most frequent first: as many as a caption has in the mean, rounded.

    Example:
        >>> frequent_words(["lock open", "lock", "door open outline", "lock outline"])
        'lock open'
    """
    split = [words(caption) for caption in captions]
    counts = Counter(word for each in split for word in each)
    return " ".join(word for word, _ in counts.most_common(round(np.mean([len(each) for each in split]))))


def _word_f1(captions, others):
    """Word F1 of every caption with every other one, on sets of words: float32 `(captions, others)`."""
    split = [[set(words(text)) for text in texts] for texts in (captions, others)]
    column = {word: index for index, word in enumerate(sorted(set().union(*split[0], *split[1])))}
    bags = [np.zeros((len(texts), len(column)), "float32") for texts in split]
    for bag, texts in zip(bags, split):
        for row, text in enumerate(texts):
            bag[row, [column[word] for word in text]] = 1.0
    a, b = bags
    return 2.0 * (a @ b.T) / (a.sum(axis=1, keepdims=True) + b.sum(axis=1))
