"""What stands where a caption should be, as a list of strings or a sentence."""

import numpy as np

from kzoo.preprocessing.tokenizer import check_texts


def captions_of(value, name) -> tuple:
    """The captions of a row.

    Args:
        value: of a table, an entry of a dict: a string, or a list, tuple or array of strings.
        name: of the column, for the sentence.

    Returns:
        `(captions, problem)`, of which one is None.

    Example:
        >>> captions_of({"en": "a dog"}, "caption")
        (None, "the caption is an object with the keys en; give one of them")
    """
    if isinstance(value, (str, np.str_)):
        value = [str(value)]
    if isinstance(value, dict):
        return None, f"the {name} is an object with the keys {', '.join(map(str, value))}; give one of them"
    if is_missing(value):
        return None, f"the {name} is empty"
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None, f"the {name} holds something else than strings, {value!r}"
    texts = list(value)
    if not texts:
        return None, f"the {name} is empty"
    for text in texts:
        if is_missing(text) or (isinstance(text, str) and not text.strip()):
            return None, f"the {name} is empty"
        if not isinstance(text, str):
            return None, f"the {name} holds something else than strings, {text!r}"
    try:
        check_texts(texts)
    except ValueError as error:
        return None, f"the {name} cannot be read: {str(error).rstrip('.')}"
    return list(map(str, texts)), None


def is_missing(value) -> bool:
    """Whether a cell says that there is nothing: None, NaN, or the word of pandas for it."""
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")
