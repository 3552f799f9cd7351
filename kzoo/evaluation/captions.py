"""Scores of captions against references: what comes in, the words of a caption, one number per metric."""

import unicodedata
import warnings
from functools import cache, partial
from importlib.util import find_spec

import numpy as np

from kzoo.arguments import FLAG, names, takes
from kzoo.evaluation.caption_metrics import bleu, cider, exact_match, rouge_l, word_f1

BLEU = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")
MEANS = {  # metrics whose corpus score is the mean over the samples
    "rouge_l": rouge_l,
    "cider": cider,
    "cider_d": partial(cider, defended=True),
    "exact_match": exact_match,
    "word_f1": word_f1,
}
METRICS = (*BLEU, *MEANS)

# Scripts without spaces between words: Thai and Lao, Myanmar, Khmer, kana, Han with its extensions.
UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3005, 0x3007),
    (0x3041, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0x20000, 0x3FFFF),
)


@takes(metrics=names("names of metrics"), per_sample=FLAG)
def caption_scores(predictions, references, metrics=None, per_sample=False) -> dict:
    """Score captions against what people wrote, as the caption literature does.

    - `bleu_1` to `bleu_4`: clipped n-gram precision of the whole corpus, geometric mean over orders up to n, times
      the brevity penalty against the closest reference length (the shorter of two). Unsmoothed: 0 where an order
      has no match. By sacrebleu.
    - `rouge_l`: F with beta = 1.2 of the longest common subsequence, from the best precision and the best recall
      over the references.
    - `cider_d`: tf-idf cosine of 1- to 4-grams, clipped, with a Gaussian penalty on length (sigma 6), in [0, 10].
      What papers and the COCO server report as CIDEr.
    - `cider`: the same without clipping and penalty.
    - `exact_match`: share of captions with the words of a reference.
    - `word_f1`: F1 of the bags of words with the nearest reference.

    All but the two CIDErs lie in [0, 1]; papers print all of them times 100. The document frequencies of CIDEr come
    from the references of this call, so its numbers compare only on the same set.

    The words are those of `kzoo.evaluation.words`, where the literature uses the PTB tokenizer, which needs Java. On
    the same words the numbers are those of pycocoevalcap; published ones differ by what the tokenizers do.

    Args:
        predictions: list of n strings. An empty one scores 0.
        references: list of n entries, each a string or a list of strings.
        metrics: names to compute. Default: all; the four of BLEU need `kzoo[captions]` and are left out without it.
        per_sample: return the score of each sample, to find the worst. Their mean is the corpus score, but for
            BLEU, which is that of each caption by itself.

    Returns:
        dict: name to float, or with `per_sample` to a float array `(n,)`.

    Raises:
        ValueError: no samples, not as many predictions as references, a sample without references, a reference
            without words, an unknown metric, CIDEr of one sample.
        TypeError: something else than strings.
        ImportError: BLEU by name, without sacrebleu.

    Example:
        >>> caption_scores(["A cat sleeps.", "a dog"], [["a cat sleeps"], ["a red dog", "the dog"]], ["exact_match"])
        {'exact_match': 0.5}

    Reference:
        Papineni et al., BLEU, 2002. Lin, ROUGE, 2004. Vedantam et al., CIDEr, 2015, arXiv 1411.5726.
        Chen et al., Microsoft COCO Captions, 2015, arXiv 1504.00325 (the evaluation server).
    """
    names = _names(metrics)
    predictions, references = _samples(predictions, references)
    scores = {}
    if any(name in BLEU for name in names):
        scores |= zip(BLEU, bleu(predictions, references, per_sample))
    scores |= {name: MEANS[name](predictions, references) for name in names if name in MEANS}
    if per_sample:
        return {name: np.asarray(scores[name], "float64") for name in names}
    return {name: float(np.mean(scores[name])) for name in names}


def words(text) -> list:
    """The words of a caption: runs of letters, marks and digits in lower case; all else ends a word and is dropped.

    Han, kana, Thai, Lao, Khmer and Burmese have no spaces between words, so each character is a word there.
    Compatibility forms are unified first (Unicode NFKC): full-width letters become plain ones.

    Against the PTB tokenizer of the literature: "dog's" is `dog s` for its `dog 's`, "don't" is `don t` for `do n't`,
    "black-and-white" is three words for its one, "$" and "+" are dropped and not words.

    Args:
        text: string.

    Returns:
        list of strings; empty for a text without letters and digits.

    Example:
        >>> words("Two dogs' toys, black-and-white.")
        ['two', 'dogs', 'toys', 'black', 'and', 'white']
        >>> words("一只cat")
        ['一', '只', 'cat']
    """
    found, last = [], None
    for character in unicodedata.normalize("NFKC", text).lower():
        kind = _kind(character)
        if kind == "mark":  # an accent or a vowel sign is part of the letter before it
            if last:
                found[-1] += character
            continue
        if kind == last == "letter":
            found[-1] += character
        elif kind:
            found.append(character)
        last = kind
    return found


@cache
def _kind(character):
    """`letter` joins its neighbours, `word` is one by itself, `mark` joins what is before it, None separates."""
    category = unicodedata.category(character)[0]
    if category == "M":
        return "mark"
    if category not in "LN":
        return None
    return "word" if any(first <= ord(character) <= last for first, last in UNSPACED) else "letter"


def _names(metrics):
    names = _all() if metrics is None else metrics
    if not len(names):
        raise ValueError(f"metrics is {names!r}, but a list of at least one name is expected: {', '.join(METRICS)}.")
    for name in names:
        if name not in METRICS:
            raise ValueError(f"metric {name!r} is unknown; there are {', '.join(METRICS)}.")
    return names


def _all():
    """Every metric; without those of BLEU, which is said, where its library is not installed."""
    if find_spec("sacrebleu"):
        return METRICS
    warnings.warn("BLEU is left out: it needs sacrebleu, pip install 'kzoo[captions]'.", stacklevel=4)
    return tuple(name for name in METRICS if name not in BLEU)


def _samples(predictions, references):
    """Check what came; the words of each prediction, and of each reference of each sample."""
    for name, values in (("predictions", predictions), ("references", references)):
        if not isinstance(values, (list, tuple)):
            raise TypeError(f"{name} is of type {type(values).__name__}, but a list, one entry a sample, is expected.")
    if not len(predictions) or len(predictions) != len(references):
        raise ValueError(
            f"{len(predictions)} predictions and references of {len(references)} samples came; "
            "give as many of both, at least one."
        )
    references = [[entry] if isinstance(entry, str) else entry for entry in references]
    for index, (prediction, entry) in enumerate(zip(predictions, references)):
        if not isinstance(prediction, str):
            raise TypeError(f"prediction {index} is of type {type(prediction).__name__}, but a string is expected.")
        if not isinstance(entry, (list, tuple)) or not all(isinstance(text, str) for text in entry):
            raise TypeError(f"the references of sample {index} are {entry!r}, but a list of strings is expected.")
        if not entry:
            raise ValueError(f"sample {index} has no reference; give it one or leave the sample out.")
    tokens = [[words(text) for text in entry] for entry in references]
    for index, entry in enumerate(tokens):
        if [] in entry:
            text = references[index][entry.index([])]
            raise ValueError(f"reference {text!r} of sample {index} has no words; leave it out.")
    return [words(text) for text in predictions], tokens
