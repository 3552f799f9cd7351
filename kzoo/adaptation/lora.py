"""Adapters of a model by name: added, weighed, switched, merged, removed; and those of low rank."""

from kzoo.adaptation.adapter import PLAIN_NAME, Adapter, check_unmerged, in_tuple
from kzoo.adaptation.freezing import MODEL
from kzoo.arguments import COUNT, FINITE, FLAG, NAME, POSITIVE, RATE, TABLE, number, takes
from kzoo.layers.adapted import adapted, is_merged, names_in, staying, take_away, weigh
from kzoo.layers.adapted import merge as merge_all
from kzoo.layers.adapted import unmerge as unmerge_all
from kzoo.layers.matrices import matrix_of
from kzoo.paths import parameters
from kzoo.patterns import PATTERNS, matching

QUERY_AND_VALUE = ("**.attention.{query,value}",)


class LoRA(Adapter):
    """How layers are updated at low rank: `y = x W + s (drop(x) A) B`, with W as it is.

    A starts as in torch, uniform within `1 / sqrt(d_in)`, and B at zero, so that the model begins as it was.

    Args:
        rank: r of A `(d_in, r)` and B `(r, d_out)`, at most the smaller side of each layer.
        alpha: s is `alpha / rank`; default `rank`, so that s is 1.
        targets: patterns of the layers, see `kzoo.patterns`; a layer stands for all within it. Dense layers, fused or
            not, `EinsumDense`, convolutions of one group and patch embeddings can be updated; others that the patterns
            name are left as they are.
        dropout: rate on `x` while training.
        rank_stabilized: s is `alpha / sqrt(rank)`, so that high ranks learn as fast as low ones (rsLoRA).
        decomposed: train the lengths of the columns of W apart from their directions (DoRA).
        rate_ratio: what the learning rate of B is multiplied by against that of A (LoRA+); 16 in the paper.
        rank_pattern: dict of patterns of layers -> rank, for those that shall have another; the first that names a
            layer counts.
        alpha_pattern: likewise of alpha. Without either, a layer whose rank is another has that as its alpha where
            `alpha` is None, else the `alpha` of all.

    Example:
        >>> kzoo.adaptation.add_adapter(model, LoRA(rank=8, alpha=16), name="birds")
        >>> model.compile(kzoo.training.AdamW(1e-3, weight_decay=0.0))

    Reference:
        Hu et al., LoRA, 2021, arXiv 2106.09685; rank stabilised: Kalajdzievski, 2023, arXiv 2312.03732; decomposed: Liu
        et al., DoRA, 2024, arXiv 2402.09353; rates: Hayou et al., LoRA+, 2024, arXiv 2402.12354.
    """

    kind = "low_rank"
    arguments = {
        "rank": COUNT,
        "alpha": POSITIVE | None,
        "targets": PATTERNS | NAME,
        "dropout": RATE,
        "rank_stabilized": FLAG,
        "decomposed": FLAG,
        "rate_ratio": number(above=0),
        "rank_pattern": TABLE | None,
        "alpha_pattern": TABLE | None,
    }

    def __init__(
        self,
        rank=8,
        alpha=None,
        targets=QUERY_AND_VALUE,
        dropout=0.0,
        rank_stabilized=False,
        decomposed=False,
        rate_ratio=1.0,
        rank_pattern=None,
        alpha_pattern=None,
    ):
        self.rank, self.alpha = rank, rank if alpha is None else alpha
        self.rank_pattern, self.alpha_pattern = dict(rank_pattern or {}), dict(alpha_pattern or {})
        for name, kind in (("rank_pattern", self.arguments["rank"]), ("alpha_pattern", POSITIVE)):
            for pattern, value in getattr(self, name).items():
                PATTERNS("patterns", (pattern,))
                kind(f"{name}[{pattern!r}]", value)
        self.follows = alpha is None  # whether alpha is the rank of a layer
        self.targets = in_tuple(targets)
        self.dropout, self.rank_stabilized, self.decomposed = dropout, rank_stabilized, decomposed
        self.rate_ratio = rate_ratio

    def config(self) -> dict:
        """What a layer is told that no pattern names."""
        names = ("rank", "alpha", "dropout", "rank_stabilized", "decomposed", "rate_ratio")
        return {name: getattr(self, name) for name in names}

    def configs(self, model, paths) -> dict:
        ranks, alphas = (_by_path(model, paths, each) for each in (self.rank_pattern, self.alpha_pattern))
        found = {}
        for path in paths:
            rank = ranks.get(path, self.rank)
            alpha = alphas.get(path, rank if self.follows else self.alpha)
            found[path] = self.config() | {"rank": rank, "alpha": alpha}
        return found

    def check(self, found, configs) -> None:
        check_ranks({path: matrix_of(layer) for path, layer in found.items()}, configs)


def _by_path(model, paths, table):
    """Path -> value, of a dict of patterns."""
    known, found = parameters(model), {}
    for pattern, value in table.items():
        named = {each.path.rpartition(".")[0] for each in matching([pattern], known)}
        hit = [path for path in paths if path in named]
        if not hit:
            raise ValueError(
                f"the pattern {pattern!r} names none of the layers that get an adapter, such as {paths[0]}."
            )
        found = dict.fromkeys(hit, value) | found
    return found


@takes(model=MODEL, name=PLAIN_NAME)
def add_adapter(model, config, name="default") -> list[str]:
    """Add an adapter to a model, lock all else, and make it the active one.

    The model gives what it gave before, until the adapter is trained; compile it after this. Adapters are kept by
    `save` and by `save_to_preset(optimizer=True)`. What `save_to_preset` and `export` write otherwise has LoRA merged
    into the kernels, and the others, which no kernel can hold, beside them; `save_adapter` writes one alone.

    Args:
        model: a built model, or a layer; it may be quantised to int8, and its adapters stay in floats.
        config: `LoRA`, `BottleneckAdapter` or `PrefixTuning`.
        name: of the adapter, a new one.

    Returns:
        list of the paths of the layers that have it.

    Raises:
        TypeError: a config that is none of these.
        ValueError: a name that is there; patterns that name nothing, or no layer that could be updated; a rank above
            the smaller side of a layer, or a bottleneck above its channels; merged adapters. Nothing is changed.

    Example:
        >>> kzoo.adaptation.add_adapter(model, kzoo.adaptation.LoRA(rank=4), name="birds")
        ['image_encoder.blocks.0.attention.query', 'image_encoder.blocks.0.attention.value', ...]
    """
    if not isinstance(config, Adapter):
        kind = type(config).__name__
        raise TypeError(f"config is of type {kind}; give a kzoo.adaptation.LoRA, BottleneckAdapter or PrefixTuning.")
    return config.begin(model, name)


def check_ranks(found, configs) -> None:
    """Stops where a rank is above the smaller side of a matrix: path -> matrix, path -> config."""
    above = ((path, configs[path]["rank"], min(matrix.shape)) for path, matrix in found.items())
    path, rank, least = min(above, key=lambda each: each[2] - each[1])
    if rank > least:
        raise ValueError(f"rank is {rank}, but {path} has a side of {least}; give a rank of at most {least}.")


@takes(model=MODEL)
def activate(model, *names, **weights) -> None:
    """Choose which adapters a model works with, and with what weights; those are trained from then on.

    Args:
        model: with adapters.
        *names: of adapters, each with a weight of 1; none at all for the model as it was.
        **weights: adapter -> weight, any number, of a weighted sum.

    Raises:
        ValueError: an adapter that is not there, or merged adapters; nothing is changed.

    Example:
        >>> kzoo.adaptation.activate(model, "birds")
        >>> kzoo.adaptation.activate(model, birds=0.7, flowers=0.3)
        >>> kzoo.adaptation.activate(model)  # the model without any
    """
    wanted = dict.fromkeys(names, 1.0) | weights
    for name, weight in wanted.items():
        _check_there(model, name)
        FINITE(name, weight)
    check_unmerged(model)
    weigh(model, wanted)


@takes(model=MODEL)
def merge(model) -> None:
    """Put the active adapters of a model into its kernels; the numbers stay those to rounding.

    Until `unmerge` nothing of them is trained. `remove_adapter` of merged ones leaves the kernels as they are then.

    Args:
        model: with adapters, in floats.

    Raises:
        ValueError: no adapter, merged ones, an active one that no kernel can hold, or a quantised model.

    Example:
        >>> kzoo.adaptation.merge(model)
    """
    if not names_in(model):
        raise ValueError("the model has no adapter; add_adapter gives it one.")
    check_unmerged(model)
    for path, layer in adapted(model).items():
        for name, update in staying(layer).items():
            raise ValueError(
                f"the adapter {name!r} is a {type(update).__name__} at {path}, which no kernel can hold; activate only "
                "what is to be merged. An export has such ones within its graphs."
            )
    merge_all(model)


@takes(model=MODEL)
def unmerge(model) -> None:
    """Take merged adapters out of the kernels again, to rounding, and train them on.

    Args:
        model: after `merge`.

    Raises:
        ValueError: nothing is merged.

    Example:
        >>> kzoo.adaptation.unmerge(model)
    """
    if not is_merged(model):
        raise ValueError("no adapter of the model is merged.")
    unmerge_all(model)


@takes(model=MODEL, name=NAME)
def remove_adapter(model, name="default") -> None:
    """Take an adapter from a model. Where it is merged, its kernels keep what it has taught them.

    Args:
        model: with that adapter.
        name: of it.

    Raises:
        ValueError: it is not there.

    Example:
        >>> kzoo.adaptation.remove_adapter(model, "birds")
    """
    _check_there(model, name)
    take_away(model, name)


@takes(model=MODEL)
def adapters(model) -> list[str]:
    """Names of the adapters of a model, sorted.

    Args:
        model: built.

    Example:
        >>> kzoo.adaptation.adapters(model)
        ['birds', 'flowers']
    """
    return names_in(model)


def _check_there(model, name):
    there = names_in(model)
    if name not in there:
        raise ValueError(f"the model has no adapter {name!r}, but {', '.join(map(repr, there)) or 'none at all'}.")
