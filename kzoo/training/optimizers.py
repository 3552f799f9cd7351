"""Optimizers with the decay rule of the CLIP family: none of gains, biases and the similarity head."""

from typing import Any

import keras

from kzoo.arguments import FUNCTION, NOT_NEGATIVE, POSITIVE, SHARE, one_of, shown, takes
from kzoo.keras_contact import AllAtOnce, SparesAll
from kzoo.shown import AsCalled

RATE = NOT_NEGATIVE | FUNCTION.said("a schedule")
# gains, biases and the similarity head: pulling them to zero is not regularisation
UNDECAYED = ("bias", "gamma", "beta", "gain", "logit_scale", "logit_bias", "log_scale", "class_embedding")


@keras.saving.register_keras_serializable(package="kzoo")
class AdamW(AsCalled, AllAtOnce, SparesAll, keras.optimizers.AdamW):
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
        learning_rate=RATE,
        weight_decay=NOT_NEGATIVE,
        beta_1=SHARE,
        beta_2=SHARE,
        epsilon=POSITIVE,
    )
    def __init__(self, learning_rate=5e-4, weight_decay=0.2, beta_1=0.9, beta_2=0.98, epsilon=1e-6, **kwargs):
        kwargs = {"name": "adamw"} | kwargs
        super().__init__(learning_rate, weight_decay, beta_1, beta_2, epsilon, **kwargs)
        _spare(self)


@keras.saving.register_keras_serializable(package="kzoo")
class Lion(AsCalled, AllAtOnce, SparesAll, keras.optimizers.Lion):
    """`keras.optimizers.Lion` with no decay on gains, biases and the similarity head; `"clip_lion"` by name.

    It keeps one number for each weight where Adam keeps two. Its steps are signs, so its learning rate is 3 to 10 times
    smaller than that of AdamW, and its decay as much larger.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: decoupled decay of weight matrices and embeddings.
        beta_1, beta_2: as in the paper for contrastive training.
        **kwargs: any other argument of `keras.optimizers.Lion`.

    Example:
        >>> model.compile(kzoo.training.Lion(1e-4, weight_decay=1.0))

    Reference:
        Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, arXiv 2302.06675.
    """

    @takes(learning_rate=RATE, weight_decay=NOT_NEGATIVE, beta_1=SHARE, beta_2=SHARE)
    def __init__(self, learning_rate=1e-4, weight_decay=1.0, beta_1=0.9, beta_2=0.99, **kwargs):
        kwargs = {"name": "lion"} | kwargs
        super().__init__(learning_rate, beta_1, beta_2, weight_decay=weight_decay, **kwargs)
        _spare(self)


@keras.saving.register_keras_serializable(package="kzoo")
class Lamb(AsCalled, SparesAll, keras.optimizers.Lamb):
    """`keras.optimizers.Lamb` with no decay on gains, biases and the similarity head; `"clip_lamb"` by name.

    It scales the step of each weight by the length of that weight, for batches of many thousand pairs.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: decoupled decay of weight matrices and embeddings.
        beta_1, beta_2, epsilon: of Adam.
        **kwargs: any other argument of `keras.optimizers.Lamb`.

    Example:
        >>> model.compile(kzoo.training.Lamb(2e-3, weight_decay=0.02))

    Reference:
        You et al., Large Batch Optimization for Deep Learning, 2019, arXiv 1904.00962.
    """

    @takes(learning_rate=RATE, weight_decay=NOT_NEGATIVE, beta_1=SHARE, beta_2=SHARE, epsilon=POSITIVE)
    def __init__(self, learning_rate=2e-3, weight_decay=0.02, beta_1=0.9, beta_2=0.999, epsilon=1e-6, **kwargs):
        kwargs = {"name": "lamb"} | kwargs
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay, **kwargs)
        _spare(self)


@keras.saving.register_keras_serializable(package="kzoo")
class Muon(AsCalled, SparesAll, keras.optimizers.Muon):
    """`keras.optimizers.Muon` with no decay on gains, biases and the similarity head; `"clip_muon"` by name.

    Weight matrices take orthogonal steps, all else those of Adam, with the same learning rate and decay as AdamW.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: decoupled decay of weight matrices and embeddings.
        **kwargs: any other argument of `keras.optimizers.Muon`.

    Example:
        >>> model.compile(kzoo.training.Muon(2e-3, weight_decay=0.3))

    Reference:
        Liu et al., Muon is Scalable for LLM Training, 2025, arXiv 2502.16982.
    """

    @takes(learning_rate=RATE, weight_decay=NOT_NEGATIVE)
    def __init__(self, learning_rate=1e-3, weight_decay=0.1, **kwargs):
        kwargs = {"name": "muon", "adam_weight_decay": weight_decay} | kwargs  # that of what takes Adam's steps
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        _spare(self)


def _spare(optimizer):
    # TensorFlow asks with its own variables, whose names are paths that end in ":0"
    optimizer.exclude_from_weight_decay(var_names=[rf"(^|/){name}(:\d+)?$" for name in UNDECAYED])


OWN = {"clip_adamw": AdamW, "clip_lion": Lion, "clip_lamb": Lamb, "clip_muon": Muon}


def resolve_optimizer(optimizer) -> Any:
    """The optimizer itself, or what `compile` is to make of a name: those of `OWN` are the ones above."""
    if isinstance(optimizer, str):
        names = [each.lower() for each, cls in vars(keras.optimizers).items() if _is_optimizer(cls)]
        of_kzoo = ", ".join(map(repr, OWN))
        known = one_of(*OWN, *names).said(f"{of_kzoo}, or the name of one of keras.optimizers, such as 'adamw'")
        known("optimizer", optimizer.lower())
    elif not isinstance(optimizer, (keras.optimizers.Optimizer, dict)):
        raise TypeError(f"optimizer is {shown(optimizer, typed=True)}; give an optimizer of Keras, or the name of one.")
    return OWN[optimizer.lower()]() if isinstance(optimizer, str) and optimizer.lower() in OWN else optimizer


def _is_optimizer(cls):
    return isinstance(cls, type) and issubclass(cls, keras.optimizers.Optimizer)
