"""The options of a search, checked before its first step: each that cannot be stops with one sentence."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kzoo.arguments import AMOUNT, COUNT, FINITE, FUNCTION, POSITIVE, SHARE, number, one_of, shown, whole

TINY = 1e-38  # of a temperature: below float32 has no number to divide by
MAX_LENGTH = 30  # a caption of COCO has 10 words, of which few are more than two tokens

# The options that only some strategies read, with what they are where none is given.
STRATEGIES = {
    "greedy": {"on_token": None},
    "sample": {"temperature": 1.0, "top_k": None, "top_p": None, "seed": None, "on_token": None},
    "beam": {"num_beams": 4, "length_penalty": 1.0},
    "contrastive": {"top_k": 4, "alpha": 0.6, "on_token": None},
}


@dataclass(frozen=True)
class Options:
    """What `generate` was asked, with defaults filled in; None where the strategy does not read an option."""

    strategy: str
    max_length: int
    min_length: int
    repetition_penalty: float
    no_repeat_ngram: int
    num_captions: int
    end_id: int | None
    num_beams: int | None = None
    length_penalty: float | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    alpha: float | None = None
    seed: int | None = None
    on_token: Callable | None = None


LIMITS = {
    "min_length": AMOUNT,
    "repetition_penalty": POSITIVE,
    "no_repeat_ngram": AMOUNT,
    "num_captions": COUNT,
    "num_beams": COUNT,
    "length_penalty": FINITE,
    "temperature": number(above=TINY).said("a positive number (strategy 'greedy' is its limit)"),
    "top_k": COUNT,
    "top_p": number(above=0, most=1),
    "alpha": SHARE,
    "seed": AMOUNT,
    "on_token": FUNCTION.said("a function of the ids of one position"),
}
STRATEGY = one_of(*STRATEGIES)


def check_names(given) -> None:
    """Stops where an option is unknown: a name of `generate` that is spelt otherwise."""
    one_of_these = one_of("max_length", *LIMITS)
    for name in given:
        one_of_these("the option", name)


def read_options(decoder, prefixes, strategy, max_length, end_id, **given) -> Options:
    """Check what `generate` was given and fill in what it was not: an `Options`."""
    STRATEGY("strategy", strategy)
    readers = {name: [one for one, reads in STRATEGIES.items() if name in reads] for name in given}
    given = {name: value for name, value in given.items() if value is not None or not readers[name]}
    for name, value in given.items():
        LIMITS[name](name, value)
        if readers[name] and strategy not in readers[name]:
            only = " and ".join(map(repr, readers[name]))
            raise ValueError(f"{name} is set, but strategy {strategy!r} does not read it, only {only}; leave it out.")
    length = _max_length(max_length, decoder.context_length)
    options = Options(strategy=strategy, max_length=length, end_id=end_id, **STRATEGIES[strategy] | given)
    _check_together(options)
    _check_prefixes(prefixes, decoder, options)
    return options


def _max_length(max_length, context_length):
    """The default does not look at the prefixes: a batch would not give what its pictures give one by one."""
    if max_length is None:
        return min(MAX_LENGTH, context_length)
    whole(1, context_length).said(f"a whole number from 1 to {context_length}, what the decoder can hold")(
        "max_length", max_length
    )
    return int(max_length)


def _check_together(options):
    if options.min_length > options.max_length:
        raise ValueError(
            f"min_length is {options.min_length}, above a max_length of {options.max_length}; lower the one or raise "
            "the other."
        )
    if options.num_captions > 1 and options.strategy in ("greedy", "contrastive"):
        raise ValueError(
            f"num_captions is {options.num_captions}, but strategy {options.strategy!r} has one answer for a picture; "
            "take 'sample' or 'beam'."
        )
    if options.strategy == "beam" and options.num_captions > options.num_beams:
        raise ValueError(
            f"num_captions is {options.num_captions}, but {options.num_beams} beams find {options.num_beams} captions "
            "at most; raise num_beams."
        )


def _check_prefixes(prefixes, decoder, options):
    if not hasattr(prefixes, "__len__"):
        raise TypeError(f"prefixes is {shown(prefixes, typed=True)}; give a list of ids for each picture.")
    if not len(prefixes):
        raise ValueError("prefixes is empty; give at least one picture, with the start id.")
    if len(prefixes) != decoder.pictures:
        raise ValueError(f"{len(prefixes)} prefixes came for {decoder.pictures} pictures; give one for each.")
    for picture, prefix in enumerate(prefixes):
        ids = np.asarray(prefix)
        if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
            raise ValueError(
                f"prefix {picture} is {prefix!r}, but a list of integer ids, at least the start id, is expected."
            )
        if ids.size > decoder.context_length:
            raise ValueError(
                f"prefix {picture} has {ids.size} ids, but the decoder can hold {decoder.context_length}; shorten it."
            )
        if ids.size >= options.max_length:
            raise ValueError(
                f"prefix {picture} has {ids.size} ids, which leaves no room under a max_length of "
                f"{options.max_length}; shorten it, or raise max_length (up to {decoder.context_length})."
            )
