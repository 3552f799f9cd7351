"""The temperature of a softmax over similarities: fixed, learned by the loss, or the model's head."""

from typing import Any

import keras
from keras import ops

from kzoo.arguments import POSITIVE, instance
from kzoo.layers.configured import Configured
from kzoo.layers.similarity import add_log_scale
from kzoo.types import Tensor

DEFAULT_TEMPERATURE = 0.07


@keras.saving.register_keras_serializable(package="kzoo")
class LearnableTemperature(Configured, keras.layers.Layer):
    """A temperature that belongs to a loss and is trained with it: `scale = exp(log_scale) = 1 / temperature`.

    `log_scale` is clipped to `ln(max_scale)` after each step, so its gradient never vanishes at the bound.

    Args:
        initial: initial temperature.
        max_scale: upper bound of the scale.

    Example:
        >>> loss = InfoNCE(temperature=LearnableTemperature(0.1))

    Reference:
        Radford et al., CLIP, 2021, arXiv 2103.00020.
    """

    arguments = {"initial": POSITIVE}

    def __init__(self, initial=DEFAULT_TEMPERATURE, max_scale=100.0, **kwargs):
        super().__init__(**kwargs)
        self.initial, self.max_scale = initial, max_scale
        self.build()

    def build(self) -> None:
        self.log_scale = add_log_scale(self, 1.0 / self.initial, self.max_scale, "log_scale")

    @property
    def scale(self) -> Tensor:
        """`1 / temperature`, a float32 scalar tensor."""
        return ops.exp(self.log_scale)


def resolve_scale(temperature, head_scale=None) -> Any:
    """`1 / temperature` from a float, a `LearnableTemperature`, or None: the model's head, alone 0.07."""
    if isinstance(temperature, LearnableTemperature):
        return temperature.scale
    if temperature is not None:
        return 1.0 / temperature
    return 1.0 / DEFAULT_TEMPERATURE if head_scale is None else head_scale


TEMPERATURE = (POSITIVE | instance(LearnableTemperature, "a LearnableTemperature") | None).said(
    "a positive number, a LearnableTemperature, or None for the model's own similarity head"
)


def check_temperature(temperature) -> Any:
    """Stops unless `temperature` is None, positive, or a `LearnableTemperature`; returns it."""
    fixed = TEMPERATURE("temperature", temperature) is not None and not isinstance(temperature, LearnableTemperature)
    return float(temperature) if fixed else temperature
