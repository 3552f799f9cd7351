"""Matryoshka over features and layers: embeddings that are short, from encoders that are cut off early."""

import keras
from keras import ops

from kzoo.arguments import COUNT, one_of
from kzoo.losses.base import weighted_mean
from kzoo.losses.composition.matryoshka import Matryoshka, keeps_more_than_scalars
from kzoo.types import Tensor

LAYERS = "_layers"  # ends the name of what a model gives of all layers


@keras.saving.register_keras_serializable(package="kzoo")
class Matryoshka2D(Matryoshka):
    """A `Matryoshka` loss on the last layer's embeddings and on those of earlier layers, which also follow the last.

    With `f` the `Matryoshka` loss over `dims`, `x_l` the embeddings of layer l of a side and `t = kl_temperature`:
    `L = f(last) + mean_l f(l) + kl_weight t mean_l mean_x KL(softmax(sg(x_last) / t) || softmax(x_l / t))`,
    over the earlier layers l, or a sample of them in each step. In the divergence embeddings are as they come, not
    normalised. How its terms are averaged is our choice.

    Args:
        loss: a kzoo loss without state beyond its temperature, or one for each length, as in `Matryoshka`.
        dims: lengths of the embeddings, as in `Matryoshka`.
        layers: `"all"` earlier layers, or how many of them are drawn in each training step. All count in evaluation.
        weights: of the lengths, as in `Matryoshka`.
        kl_weight: of the divergence.
        kl_temperature: `t` above.
        seed: of the draw.

    Inputs:
        Those of the inner loss; those by position are float tensors `(layers, batch, dim)`, the last layer last.
            Attached to a model it reads `image_layers` where the inner loss reads `image_embeddings`, unless that was
            told its inputs, and whatever ends in `_layers` as a model gives it, `(batch, layers, dim)`.
        drawn: int tensor `(number,)`, indices of the earlier layers that count, in place of the draw.

    Feeding:
        Any model with towers of blocks, such as `DualEncoder`, which give `image_layers`, or `SelfSupervised`, which
        gives `view_1_layers`; and the data of the inner loss.

    Returns:
        float32 scalar.

    Raises:
        ValueError: fewer than two layers, fewer earlier ones than `layers`, a stateful loss; what `Matryoshka` refuses.

    Recommendations:
        `Matryoshka` where the encoder is always used whole. One layer per step costs least.

    Example:
        >>> x = np.stack([np.eye(4), np.eye(4)])
        >>> Matryoshka2D(InfoNCE(1.0), dims=[4])(x, x)
        1.4873

    Reference:
        Li et al., 2D Matryoshka Sentence Embeddings, 2024, arXiv 2402.14776.
    """

    shapes = Matryoshka.shapes | {"stacks": "layers batch dim", "drawn": "_"}
    arguments = {"layers": (COUNT | one_of("all")).said("'all' or how many are drawn in each step")}

    def __init__(
        self,
        loss,
        dims,
        layers="all",
        weights=None,
        kl_weight=1.0,
        kl_temperature=0.3,
        seed=None,
        name="matryoshka_2d",
        **kwargs,
    ):
        super().__init__(loss, dims, weights, name=name, **kwargs)
        if any(map(keeps_more_than_scalars, self.inner)):
            raise ValueError(
                f"{type(self.inner[0]).__name__} has weights that layers cannot share; wrap a loss without state."
            )
        self.drawn_layers, self.kl_weight, self.kl_temperature = layers, kl_weight, kl_temperature
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.input_names = self._inputs_of(())

    def _inputs_of(self, given):
        names = super()._inputs_of(given)
        return names if self.inputs_given else tuple(map(_of_layers, names))

    def taken(self, name, tensor) -> Tensor:
        tensor = super().taken(name, tensor)
        return ops.swapaxes(tensor, 0, 1) if name.endswith(LAYERS) else tensor

    def call(self, *stacks, drawn=None, training=None, **keywords) -> Tensor:
        earlier = stacks[0].shape[0] - 1
        if earlier < 1:
            raise ValueError(
                f"Matryoshka2D reads (layers, batch, dim) with at least 2 layers, but got {tuple(stacks[0].shape)}."
            )
        number = earlier if drawn is None else drawn.shape[0]
        if drawn is None and training and self.drawn_layers != "all":
            number = self.drawn_layers
            if number > earlier:
                raise ValueError(f"layers={number} are to be drawn, but there are {earlier} before the last one.")
            drawn = keras.random.shuffle(ops.arange(earlier), seed=self.seed_generator)[:number]

        last = [stack[-1] for stack in stacks]
        total = super().call(*last, training=training, **keywords)
        for place in range(number):
            layer = place if drawn is None else drawn[place]
            these = [stack[layer] if drawn is None else ops.take(stack, layer, axis=0) for stack in stacks]
            total = total + super().call(*these, training=training, **keywords) / number
            for x, of_last in zip(these, last):
                kl = weighted_mean(self._divergence(of_last, x), keywords.get("sample_weight"))
                total = total + self.kl_weight * self.kl_temperature * kl / (number * len(stacks))
        return total

    def _divergence(self, last, x):
        """`KL(softmax(last / t) || softmax(x / t))` of each row; no gradient goes to `last`."""
        p = ops.log_softmax(ops.stop_gradient(ops.cast(last, "float32")) / self.kl_temperature)
        q = ops.log_softmax(ops.cast(x, "float32") / self.kl_temperature)
        return ops.sum(ops.exp(p) * (p - q), axis=-1)


def _of_layers(name):
    return name if name.endswith(LAYERS) else name.removesuffix("_embeddings") + LAYERS
