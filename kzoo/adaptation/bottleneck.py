"""Bottleneck adapters: small networks behind or beside the layers of a model."""

from typing import ClassVar

from kzoo.adaptation.adapter import Adapter, in_tuple
from kzoo.arguments import COUNT, FLAG, NAME, POSITIVE
from kzoo.layers.arguments import ACTIVATION
from kzoo.layers.places import place_of
from kzoo.paths import layers
from kzoo.patterns import PATTERNS

BEHIND_BOTH = ("**.attention.out", "**.mlp_down")
BESIDE_MLPS = ("**.mlp_down",)
BOTTLENECK_DIM = 64


class BottleneckAdapter(Adapter):
    """Small networks behind the layers of a model: `y + s up(g(down(y)))`, with all else as it is.

    By default they stand behind the attention and behind the MLP of each block, before what these give is added to the
    stream (Houlsby et al.). With `targets="**.mlp_down"` they stand behind the MLP alone (Pfeiffer et al.); with
    `parallel=True` beside it, `mlp(x) + s up(g(down(x)))` (AdaptFormer). `up` begins at zero, so that the model begins
    as it was.

    No kernel can hold them: an export, `save_to_preset` and copies have them beside the weights, where they are active.

    Args:
        bottleneck_dim: channels between `down` and `up`; default 64, or as many as the narrowest of the layers has.
        targets: patterns of the layers that they stand behind, see `kzoo.patterns`; a layer stands for all within it.
            Beside an MLP stands one where the pattern names its `mlp_down`. Layers of one axis of channels can have
            them: dense ones, convolutions and patch embeddings. Others that the patterns name are left as they are.
        parallel: beside the MLPs of blocks, in place of behind layers.
        scale: s; AdaptFormer takes 0.1.
        activation: g.

    Raises:
        ValueError: by `add_adapter`: patterns that name no layer that could have one; a `bottleneck_dim` above the
            channels of a layer.

    `down` begins with normal numbers of deviation 0.01, as in the first paper's code, where `up` does, too. In
    AdaptFormer's code the adapter reads the stream, through a norm of its own or none; here what the MLP reads.

    Example:
        >>> kzoo.adaptation.add_adapter(model, BottleneckAdapter(64), name="birds")
        >>> kzoo.adaptation.add_adapter(other, BottleneckAdapter(64, parallel=True, scale=0.1, activation="relu"))

    Reference:
        Houlsby et al., Parameter-Efficient Transfer Learning for NLP, 2019, arXiv 1902.00751; Pfeiffer et al.,
        AdapterFusion, 2020, arXiv 2005.00247; Chen et al., AdaptFormer, 2022, arXiv 2205.13535.
    """

    kind = "bottleneck"
    arguments: ClassVar[dict] = {
        "bottleneck_dim": COUNT | None,
        "targets": PATTERNS | NAME | None,
        "parallel": FLAG,
        "scale": POSITIVE,
        "activation": ACTIVATION,
    }

    def __init__(self, bottleneck_dim=None, targets=None, parallel=False, scale=1.0, activation="gelu"):
        self.bottleneck_dim, self.parallel, self.scale = bottleneck_dim, parallel, scale
        self.activation = activation
        self.targets = (BESIDE_MLPS if parallel else BEHIND_BOTH) if targets is None else in_tuple(targets)

    def config(self) -> dict:
        return {name: getattr(self, name) for name in ("bottleneck_dim", "activation", "scale", "parallel")}

    def configs(self, model, paths) -> dict[str, dict]:
        config, places = self.config(), {path: place_of(layer) for path, layer, _ in layers(model) if path in paths}
        if self.bottleneck_dim is None:
            config["bottleneck_dim"] = min(BOTTLENECK_DIM, *(place.shape[1] for place in places.values()))
        return dict.fromkeys(paths, config)

    def stands_at(self, path) -> str | None:
        block, _, name = path.rpartition(".")
        if not self.parallel:
            return path
        return block if name == "mlp_down" else None

    def check(self, found, configs) -> None:
        for path, layer in found.items():
            dim, channels = configs[path]["bottleneck_dim"], place_of(layer).shape[1]
            if dim > channels:
                raise ValueError(f"bottleneck_dim is {dim}, but {path} has {channels} channels; give at most as many.")
