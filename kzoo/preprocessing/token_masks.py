"""Which tokens of a text are hidden in training: at random, or in spans. Needs only numpy."""

import numpy as np

from kzoo.arguments import AMOUNT, COUNT, FLAG, INNER, SHARE, TOKENIZER, Checked, number

MASK_TOKENS = ("[MASK]", "<mask>")  # as BERT and RoBERTa call it


class RandomTokens(Checked):
    """Chooses tokens and puts the mask in the place of most of them: what masked language models are trained on.

    Each token of a text is chosen with the same probability; padding and special ids never are. Of those chosen, most
    become the mask, some another id, some stay. With `replace=0, keep=0` it is the soft masking of CoCoSoDa, a view.

    Args:
        tokenizer: `Tokenizer`, which knows the special ids; its vocabulary should have a mask.
        share: probability of a token to be chosen.
        replace: share of the chosen that become another id, any that is not special.
        keep: share of the chosen that stay as they are.
        mask_id: id of the mask; default the vocabulary's own.
        at_least_one: choose one where chance chooses none, in a text that has any that may be chosen.

    Raises:
        ValueError: shares that are none, or a vocabulary without a mask where no `mask_id` is given.

    Example:
        >>> mask = RandomTokens(tokenizer, share=0.15, mask_id=103)
        >>> ids, chosen = mask(batch["token_ids"], batch["padding_mask"], np.random.default_rng(0))

    Reference:
        Devlin et al., BERT, 2018, arXiv 1810.04805; as a view of its own: Shi et al., CoCoSoDa, 2022, arXiv 2204.03293.
    """

    arguments = {
        "tokenizer": TOKENIZER,
        "share": INNER,
        "replace": SHARE,
        "keep": SHARE,
        "mask_id": AMOUNT,
        "at_least_one": FLAG,
    }

    def __init__(self, tokenizer, share=0.15, replace=0.1, keep=0.1, mask_id=None, at_least_one=False):
        if replace + keep > 1.0:
            raise ValueError(f"replace is {replace} and keep {keep}; give shares that add up to 1 at most.")
        self.share, self.replace, self.keep, self.at_least_one = share, replace, keep, at_least_one
        self.mask_id = _mask_id(tokenizer) if mask_id is None else mask_id
        self.special_ids = tokenizer.special_ids
        ids = list(tokenizer.vocabulary.get_vocab().values())
        self.ordinary = np.setdiff1d(ids, [*self.special_ids, self.mask_id])  # sorted: a dict's order is not a seed's

    def __call__(self, token_ids, padding_mask, random) -> tuple:
        """Masked ids, and which were chosen.

        Args:
            token_ids: int array `(rows, length)`.
            padding_mask: bool array `(rows, length)`, True where an id is real.
            random: a `numpy.random.Generator`.

        Returns:
            `(ids, chosen)`: int32 array and bool array, both `(rows, length)`.
        """
        free = np.asarray(padding_mask, "bool") & ~np.isin(token_ids, self.special_ids)
        chosen, units = self._choose(free, random)
        # one draw for each unit: a token, or a span that changes as a whole
        draw = random.random(token_ids.shape)[np.arange(len(free))[:, None], units]
        other = random.choice(self.ordinary, token_ids.shape)
        changed = np.where(draw < self.replace, other, self.mask_id)
        changed = np.where(draw >= 1.0 - self.keep, token_ids, changed)
        return np.where(chosen, changed, token_ids).astype("int32"), chosen

    def entries(self, name, token_ids, padding_mask, random) -> tuple:
        """What a batch calls masked texts `name`.

        Returns:
            `(ids, more)`: int32 array `(rows, length)`, and a dict: `{name}_labels` int32, the ids that were there, and
            `{name}_positions` bool, True where one was chosen, both `(rows, length)`.
        """
        ids, chosen = self(token_ids, padding_mask, random)
        return ids, {f"{name}_labels": token_ids, f"{name}_positions": chosen}

    def _choose(self, free, random):
        """bool array, True where a token is chosen, and int array, the unit of each: both `(rows, length)`."""
        draw = np.where(free, random.random(free.shape), 1.0)
        chosen = draw < self.share
        if self.at_least_one:
            rows = np.flatnonzero(free.any(axis=1) & ~chosen.any(axis=1))
            chosen[rows, draw[rows].argmin(axis=1)] = True
        return chosen, np.broadcast_to(np.arange(free.shape[1]), free.shape)


class TokenSpans(RandomTokens):
    """Chooses spans of tokens that lie side by side, until a share of the text is chosen; a span changes as a whole.

    The length of a span is geometric. Spans are of tokens, not of whole words as in the paper, and never hold padding
    or special ids.

    Args:
        tokenizer, replace, keep, mask_id: as in `RandomTokens`.
        share: of the tokens of a text that are chosen, rounded; at least one.
        ends: probability that a span ends after a token; 0.2 makes 3.8 tokens of it on average.
        longest: tokens of a span at most.

    Raises:
        ValueError: as `RandomTokens`, and `ends` or `longest` that are none.

    Example:
        >>> mask = TokenSpans(tokenizer, mask_id=103)
        >>> kzoo.data.text_views(texts, preprocessor, views=1, masks=mask)

    Reference:
        Joshi et al., SpanBERT, 2019, arXiv 1907.10529.
    """

    arguments = {"ends": number(above=0, most=1), "longest": COUNT}

    def __init__(self, tokenizer, share=0.15, replace=0.1, keep=0.1, mask_id=None, ends=0.2, longest=10):
        super().__init__(tokenizer, share, replace, keep, mask_id)
        self.ends, self.longest = ends, longest

    def _choose(self, free, random):
        chosen, units = np.zeros(free.shape, "bool"), np.zeros(free.shape, "int64")
        for row, free_row in enumerate(free):
            left = max(1, round(self.share * int(free_row.sum()))) if free_row.any() else 0
            while left:
                start = random.choice(np.flatnonzero(free_row & ~chosen[row]))
                length = min(int(random.geometric(self.ends)), self.longest, left)
                stop = start
                while stop - start < length and stop < len(free_row) and free_row[stop] and not chosen[row, stop]:
                    stop += 1
                chosen[row, start:stop], units[row, start:stop] = True, start
                left -= stop - start
        return chosen, units


def _mask_id(tokenizer):
    found = [tokenizer.vocabulary.token_to_id(token) for token in MASK_TOKENS]
    known = [index for index in found if index is not None]
    if not known:
        raise ValueError(
            f"the vocabulary has none of {', '.join(MASK_TOKENS)}; name the id that stands for hidden tokens: mask_id=."
        )
    return known[0]
