"""The optimizer of the CLIP family."""

from typing import Any

import keras

from kzoo.arguments import FUNCTION, NOT_NEGATIVE, POSITIVE, SHARE, one_of, shown, takes
from kzoo.keras_contact import SparesAll
from kzoo.shown import AsCalled

OWN = "clip_adamw"
# gains, biases and the similarity head: pulling them to zero is not regularisation
UNDECAYED = ("bias", "gamma", "beta", "gain", "logit_scale", "logit_bias", "log_scale", "class_embedding")


@keras.saving.register_keras_serializable(package="kzoo")
class AdamW(AsCalled, SparesAll, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` with CLIP's settings: no decay on gains, biases and the similarity head.

    `model.compile("clip_adamw")` takes this one; `"adamw"` is that of Keras, with its own settings.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`. The default is for training
            from scratch; fine-tuning wants 1e-5 or less.
        weight_decay: decoupled decay of weight matrices and embeddings.
        beta_1, beta_2, epsilon: of Adam.
        **kwargs: any other argument of `keras.optimizers.AdamW`, such as `clipnorm`.

    Example:
        >>> model.compile(kzoo.training.AdamW(1e-5, weight_decay=0.05))

    Reference:
        Loshchilov and Hutter, 2017, arXiv 1711.05101; Radford et al., CLIP, 2021, arXiv 2103.00020, table 18.
    """

    @takes(
        learning_rate=NOT_NEGATIVE | FUNCTION.said("a schedule"),
        weight_decay=NOT_NEGATIVE,
        beta_1=SHARE,
        beta_2=SHARE,
        epsilon=POSITIVE,
    )
    def __init__(self, learning_rate=5e-4, weight_decay=0.2, beta_1=0.9, beta_2=0.98, epsilon=1e-6, **kwargs):
        kwargs = {"name": "adamw"} | kwargs
        super().__init__(learning_rate, weight_decay, beta_1, beta_2, epsilon, **kwargs)
        # TensorFlow asks with its own variables, whose names are paths that end in ":0"
        self.exclude_from_weight_decay(var_names=[rf"(^|/){name}(:\d+)?$" for name in UNDECAYED])


def resolve_optimizer(optimizer) -> Any:
    """The optimizer itself, or what `compile` is to make of a name: `"clip_adamw"` is `AdamW` above."""
    if isinstance(optimizer, str):
        names = [each.lower() for each, cls in vars(keras.optimizers).items() if _is_optimizer(cls)]
        known = one_of(OWN, *names).said(f"{OWN!r}, or the name of one of keras.optimizers, such as 'adamw'")
        known("optimizer", optimizer.lower())
    elif not isinstance(optimizer, (keras.optimizers.Optimizer, dict)):
        raise TypeError(f"optimizer is {shown(optimizer, typed=True)}; give an optimizer of Keras, or the name of one.")
    return AdamW() if optimizer == OWN else optimizer


def _is_optimizer(cls):
    return isinstance(cls, type) and issubclass(cls, keras.optimizers.Optimizer)
