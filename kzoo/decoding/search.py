"""`generate`: the way from a decoder and prefixes to captions, by each strategy."""

from kzoo.decoding.beam import beam
from kzoo.decoding.contrastive import contrastive
from kzoo.decoding.greedy import greedy
from kzoo.decoding.options import read_options
from kzoo.decoding.sample import sample
from kzoo.types import Array

SEARCHES = {"greedy": greedy, "sample": sample, "beam": beam, "contrastive": contrastive}


def generate(
    decoder,
    prefixes,
    strategy="greedy",
    *,
    end_id,
    max_length=None,
    min_length=0,
    repetition_penalty=1.0,
    no_repeat_ngram=0,
    num_captions=1,
    num_beams=None,
    length_penalty=None,
    temperature=None,
    top_k=None,
    top_p=None,
    alpha=None,
    seed=None,
    on_token=None,
) -> tuple[Array, Array]:
    """Write captions: the ids that a decoder finds likely to follow each picture's prefix.

    - `greedy`: the most probable id at each position.
    - `sample`: each id drawn from the distribution, `temperature` sharpening it below 1, among the `top_k` likeliest,
      among the fewest that hold `top_p` of what is left. In this order.
    - `beam`: the `num_beams` likeliest beginnings are kept at each position; the best caption by sum of log p over
      n^`length_penalty`, n its generated ids. Above 0 the penalty favours long captions. Search goes on until no
      beam can beat what has ended.
    - `contrastive`: of the `top_k` likeliest ids the one with the best (1 - alpha) * p - alpha * likeness, the
      largest cosine of its state with those of the ids before it. Says nothing twice; reads `top_k` rows a picture.

    All rows advance together. One whose prefix is longer than another's gets its own next id, whatever the decoder
    says. What a picture gets does not depend on the pictures beside it, but for `sample` without a seed.

    Args:
        decoder: a `kzoo.decoding.Decoder` over n pictures.
        prefixes: list of n lists of ids, each with at least one, the start id. Lengths may differ.
        strategy: `greedy`, `sample`, `beam` or `contrastive`.
        end_id: id that ends a caption, or None: all captions have `max_length` ids. One in a prefix ends nothing.
        max_length: most ids of a row, prefix and end id included. Default 30, or what the decoder can hold if less.
        min_length: the end id is banned while fewer ids than this stand in the row, prefix included.
        repetition_penalty: above 1, ids that stand in the row, prefix included, become less likely; 1 changes nothing.
        no_repeat_ngram: no so many ids follow each other in a row twice, prefix included; 0 bans none.
        num_captions: captions of each picture: `sample` draws them independently, `beam` gives its best. The other
            two have one.
        num_beams: of `beam`, default 4.
        length_penalty: of `beam`, default 1: scores are means. Any number.
        temperature: of `sample`, default 1.
        top_k: of `sample`, default all ids; of `contrastive`, default 4.
        top_p: of `sample`, default 1, all ids.
        alpha: of `contrastive`, in [0, 1], default 0.6. With 0 it is greedy search.
        seed: of `sample`, a whole number. Caption i of any picture is drawn with the same random numbers in every
            call and batch and on every backend: pictures that are alike get captions that are alike. Default: fresh
            numbers for each row.
        on_token: not of `beam`, which takes ids back: a function, called once for each position from 1 on with what
            stands there, an int32 array `(n, num_captions)`: ids of prefixes too, `decoder.pad_id` in ended rows.

    Returns:
        token_ids: int32 array `(n, num_captions, max_length)`: prefix, generated ids, the end id if one was written,
            then `decoder.pad_id`. Those of `beam` best first, those of `sample` as drawn.
        scores: float32 array `(n, num_captions)`. Of `beam` as above, else the mean log p of the generated ids, end id
            included. p is the decoder's probability after the penalty and bans above (so it sums to 1 over what is
            allowed), before `temperature`, `top_k` and `top_p`: captions of all strategies compare.

    Raises:
        ValueError: an option out of its range, or one that the strategy does not read; no pictures, or not as many
            prefixes; a prefix that is empty or leaves no room; bans that leave no id, or fewer captions than wanted;
            logits that are not finite.

    Example:
        >>> token_ids, scores = generate(decoder, [[start_id]] * 2, "beam", end_id=end_id, num_beams=5, num_captions=3)
        >>> token_ids.shape, scores.shape
        ((2, 3, 30), (2, 3))

    Reference:
        Holtzman et al., The curious case of neural text degeneration, 2019, arXiv 1904.09751 (top_p); Fan et al.,
        2018, arXiv 1805.04833 (top_k); Wu et al., 2016, arXiv 1609.08144, section 7 (beam search, where the penalty
        has another form); Su and Collier, Contrastive search is what you need for neural text generation, 2022,
        arXiv 2210.14140; Keskar et al., CTRL, 2019, arXiv 1909.05858 (repetition penalty).
    """
    options = read_options(
        decoder,
        prefixes,
        strategy,
        max_length,
        end_id,
        min_length=min_length,
        repetition_penalty=repetition_penalty,
        no_repeat_ngram=no_repeat_ngram,
        num_captions=num_captions,
        num_beams=num_beams,
        length_penalty=length_penalty,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        alpha=alpha,
        seed=seed,
        on_token=on_token,
    )
    return SEARCHES[strategy](decoder, prefixes, options)
