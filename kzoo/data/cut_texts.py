"""Texts that are longer than the context of their model: counted, and said once."""

import warnings


class CutTexts:
    """Tokenizes the texts of a data set and counts those that are cut.

    Args:
        preprocessor: with the tokenizer.

    Attributes:
        count: texts of this epoch so far that were longer than the context.
    """

    def __init__(self, preprocessor):
        self.preprocessor = preprocessor
        self.count, self.said = 0, False

    def __call__(self, texts) -> dict:
        """`token_ids` and `padding_mask` of a list of strings."""
        self.preprocessor.check_vocabulary()
        tokens, truncated = self.preprocessor.tokenizer.encode(texts)
        self.count += truncated
        return tokens

    def end_epoch(self, what) -> None:
        """Say it, once for a set however it is read, of `what` was read; then count anew."""
        if self.count and not self.said:
            warnings.warn(
                f"{self.count} {what} of an epoch are longer than the context of "
                f"{self.preprocessor.tokenizer.context_length} ids and were cut; the end-of-text id is kept.",
                stacklevel=2,
            )
            self.said = True
        self.count = 0
