"""Where in a layer an update stands: beside its matrix, beside its MLP, or among what its heads see."""

from kzoo.layers.matrices import Matrix, matrix_of


class Branch:
    """The MLP of a transformer block: from what it reads, behind the norm before it, to what is added to the stream.

    Args:
        layer: block with the method `feed_forward` and the layers `mlp_up` and `mlp_down`.
    """

    methods = ("feed_forward",)

    def __init__(self, layer):
        self.layer = layer

    @property
    def shape(self) -> tuple[int, int]:
        """Channels that go in and come out."""
        return (self.layer.mlp_down.units,) * 2  # it is added to the stream that it reads


class Heads:
    """The heads of an attention layer.

    Args:
        layer: with the method `mix_heads` and the attributes `width` and `num_heads`.
    """

    methods = ("mix_heads",)

    def __init__(self, layer):
        self.layer = layer

    @property
    def shape(self) -> tuple[int, int]:
        """Heads, and channels of each."""
        return self.layer.num_heads, self.layer.width // self.layer.num_heads


def place_of(layer) -> Matrix | Branch | Heads | None:
    """The place in a built layer that an update can have; None where there is none."""
    if layer is None or not layer.built:
        return None
    for method, kind in (("feed_forward", Branch), ("mix_heads", Heads)):
        if callable(getattr(type(layer), method, None)):
            return kind(layer) if kind is Heads or layer.mlp_up is not None else None
    return matrix_of(layer)
