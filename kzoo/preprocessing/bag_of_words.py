"""Which words a text has, as a target over the vocabulary. Needs only numpy."""

import numpy as np

from kzoo.arguments import COUNT, TOKENIZER, Checked, names
from kzoo.types import Array

ROWS = 256  # texts that are counted at a time


class BagOfWords(Checked):
    """The different content words of a text, each with `1 / n`: what `BagOfWordsDecoding` reads as `bag`.

    A word is a token of the vocabulary; special ids and stop words are none.

    Args:
        tokenizer: `Tokenizer`.
        vocab_size: length of a bag, that of the logits it is compared with; default the tokenizer's.
        stop_words: strings that do not count; those of more than one token do, in pieces.

    Raises:
        ValueError: a `vocab_size` below the tokenizer's.

    Example:
        >>> bag = BagOfWords(preprocessor.tokenizer, stop_words=("a", "the"))
        >>> bag(**preprocessor.encode_texts(["a cat", "a dog"])).sum(axis=1)
        array([1., 1.], dtype=float32)

    Reference:
        Xiao and Liu, RetroMAE v2: Duplex Masked Auto-Encoder, 2022, arXiv 2211.08769.
    """

    arguments = {"tokenizer": TOKENIZER, "vocab_size": COUNT, "stop_words": names("strings")}

    def __init__(self, tokenizer, vocab_size=None, stop_words=()):
        self.vocab_size = tokenizer.vocab_size if vocab_size is None else vocab_size
        if self.vocab_size < tokenizer.vocab_size:
            raise ValueError(
                f"vocab_size is {vocab_size}, but the tokenizer has {tokenizer.vocab_size} ids; give as many."
            )
        rows = tokenizer.encode(list(stop_words))[0]
        words = [ids[real & ~np.isin(ids, tokenizer.special_ids)] for ids, real in zip(*rows.values())]
        alone = [ids[0] for ids in words if len(ids) == 1]  # pieces of a longer one belong to other words too
        self.left_out = np.union1d(tokenizer.special_ids, alone).astype("int64")

    def __call__(self, token_ids, padding_mask) -> Array:
        """float32 array `(rows, vocab_size)`; zeros for a text without content words.

        Args:
            token_ids: int array `(rows, length)`.
            padding_mask: bool array `(rows, length)`, True where an id is real.
        """
        rows, places = np.nonzero(np.asarray(padding_mask, "bool") & ~np.isin(token_ids, self.left_out))
        bag = np.zeros((len(token_ids), self.vocab_size), "float32")
        bag[rows, token_ids[rows, places]] = 1.0
        return bag / np.maximum(bag.sum(axis=1, keepdims=True), 1.0)


def rare_words(tokenizer, texts, vocab_size=None) -> Array:
    """How much each id of a vocabulary says, by how few texts have it: the `token_weights` of `TokenClassification`.

    `max(0, ln(texts / (1 + texts with the id)))`, and 0 for special ids and ids that no text has.

    Args:
        tokenizer: `Tokenizer`.
        texts: list of strings.
        vocab_size: length of the result; default the tokenizer's.

    Returns:
        float32 array `(vocab_size,)`.

    Example:
        >>> loss = kzoo.losses.TokenClassification(vocab_size=49408)
        >>> loss.token_weights.assign(rare_words(model.preprocessor.tokenizer, captions))

    Reference:
        Sparck Jones, A statistical interpretation of term specificity, 1972 (inverse document frequency).
    """
    bag = BagOfWords(tokenizer, vocab_size)
    counts = np.zeros(bag.vocab_size, "int64")
    for start in range(0, len(texts), ROWS):
        counts += (bag(**tokenizer.encode(texts[start : start + ROWS])[0]) > 0.0).sum(axis=0)
    return np.where(counts, np.maximum(np.log(max(len(texts), 1) / (1.0 + counts)), 0.0), 0.0).astype("float32")
