"""A layer or model of Keras as a tower, with all that it does not say itself."""

from dataclasses import asdict

import keras
import numpy as np

from kzoo.encoders.pixels import check_pixel_values
from kzoo.encoders.token_ids import check_ids
from kzoo.encoders.tower import Input, Tower

SIDE = 32  # of a sample where any length will do


@keras.saving.register_keras_serializable(package="kzoo")
class LayerTower(Tower):
    """A layer or model around which a tower is declared; `kzoo.encoders.as_tower` finds out what it needs to know.

    Its weights are those of the layer, and so is whether they are trained.

    Args:
        layer: from arrays to a tensor `(batch, width)`, or to a dict with `"embedding"` and perhaps `"tokens"` and
            `"token_mask"`. Built.
        modality: of the arrays.
        inputs: list of `Input`, or of dicts of their fields.
        embed_dim: width of the embedding.
        token_dim: channels of the tokens, where there are any.
        vocab_size: of token ids, for the check and the samples; None for anything else.
        packed: how the layer takes its arrays: None one by one, `"list"`, or the keys of a dict.
        any_size: whether its call takes `any_size`.

    Inputs:
        the arrays in the order of `inputs`.

    Returns:
        dict: `"embedding"` `(batch, embed_dim)`, and what else of the names above the layer gives.

    Raises:
        ValueError: at a call of a layer whose dict has no `"embedding"`.

    Example:
        >>> layer = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> LayerTower(layer, "audio", [Input("audio", (8,), "float32")], embed_dim=4).embed_dim
        4
    """

    kind = "layer"

    def __init__(
        self,
        layer,
        modality,
        inputs,
        embed_dim,
        token_dim=None,
        vocab_size=None,
        packed=None,
        any_size=False,
        name=None,
        **kwargs,
    ):
        # no autocast: the layer casts for itself
        super().__init__(autocast=False, name=name or layer.name, **{"dtype": layer.dtype_policy} | kwargs)
        self.given = tuple(each if isinstance(each, Input) else _input(each) for each in inputs)
        self.modality, self.title = modality, type(layer).__name__
        self.embed_dim, self.token_dim = embed_dim, token_dim
        self.packed = packed
        shape = self.given[0].shape or ()
        if modality == "image" and len(shape) == 3 and None not in shape:
            self.image_size = tuple(shape[:2])
        if vocab_size is not None:
            self.vocab_size, self.context_length = vocab_size, shape[0] if shape else None
        if any_size:
            self.options = frozenset({"any_size"})

        # -- layers --
        self.layer = layer
        self.built = True

    @property
    def inputs(self) -> tuple:
        return self.given

    @property
    def trainable(self) -> bool:
        """That of the layer."""
        return self.layer.trainable

    @trainable.setter
    def trainable(self, value) -> None:
        self.layer.trainable = value

    def check_values(self, arrays, called) -> None:
        name = self.given[0].name
        if self.modality == "image" and name == "images":
            check_pixel_values(arrays[name], called.get(name, name))
        for each, array in arrays.items():
            if isinstance(array, np.ndarray) and array.dtype.kind == "f" and np.isnan(array).any():
                raise ValueError(f"{called.get(each, each)} hold NaN; leave out rows that could not be read.")
        if self.vocab_size is not None and isinstance(arrays[name], np.ndarray):
            check_ids(arrays[name], self, called.get(name, name))

    def samples(self, rows, seed=0) -> dict:
        random = np.random.default_rng(seed)
        found = {}
        for each in self.given:
            if each.shape is None:
                raise ValueError(
                    f"the shape of {each.name}, which {self.title} reads, is not known; name it: "
                    f"as_tower(layer, inputs=[Input({each.name!r}, shape, dtype)])."
                )
            shape = (rows, *(SIDE if side is None else side for side in each.shape))
            found[each.name] = self._sample(random, shape, each.dtype)
        return found

    def _sample(self, random, shape, dtype):
        if dtype == "bool":
            return random.integers(0, 2, shape).astype(bool)
        if "int" in dtype:
            return random.integers(0, self.vocab_size or (256 if self.modality == "image" else 2), shape, dtype)
        scale = 255.0 if self.modality == "image" else 1.0
        return (scale * random.random(shape)).astype(dtype)

    # -- forward --
    def call(self, *arrays, training=None, any_size=False) -> dict:
        options = {"any_size": True} if any_size else {}
        outputs = self.layer(*packed_arrays(arrays, self.packed), training=training, **options)
        if not isinstance(outputs, dict):
            return {"embedding": outputs}
        if "embedding" not in outputs:
            raise ValueError(
                f"{self.title} gives {', '.join(outputs)}, but a tower gives a tensor (batch, width) or a dict with "
                "'embedding'; name its output so."
            )
        return {name: outputs[name] for name in ("embedding", "tokens", "token_mask") if name in outputs}

    # -- config --
    def get_config(self) -> dict:
        # a copy of the layer, not the layer: whoever makes a second tower of it, such as a teacher, needs its own
        layer = keras.saving.serialize_keras_object(self.layer)
        return super().get_config() | {"layer": layer, "inputs": [asdict(each) for each in self.given]}


def _input(fields):
    shape = fields["shape"]
    return Input(**fields | {"shape": None if shape is None else tuple(shape)})


def packed_arrays(arrays, packed) -> tuple:
    """The positional arguments of a layer that takes its arrays as `packed` says, see `LayerTower`."""
    if packed is None:
        return arrays
    if packed == "list":
        return (list(arrays),)
    return ({key: array for key, array in zip(packed, arrays) if array is not None},)
