"""A teacher that is trained already: another model, which stays as it is."""

import keras

from kzoo.layers.configured import Configured


@keras.saving.register_keras_serializable(package="kzoo")
class FixedTeacher(Configured, keras.layers.Layer):
    """A model whose outputs a loss reads under `teacher_`, for distillation: no gradient, no training, no dropout.

    It reads the same batch as its student; where it needs arrays of its own (pictures of another size, ids of another
    vocabulary) the batch has them after `teacher_`: `teacher_images`, `teacher_token_ids`. Its weights are saved with
    the student's.

    Args:
        model: a kzoo model.

    Raises:
        TypeError: no kzoo model.

    Example:
        >>> teacher = kzoo.training.FixedTeacher(kzoo.from_preset("clip_large"))
        >>> model = kzoo.DualEncoder(image_encoder, text_encoder, teacher=teacher)
        >>> model.compile("clip_adamw", loss=kzoo.losses.EmbeddingDistillation())

    Reference:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531.
    """

    def __init__(self, model, **kwargs):
        super().__init__(**kwargs)
        self.model = model
        self.model.trainable = False
        self.built = True

    def follow(self, **layers) -> None:
        """Nothing: it is trained already."""

    def update(self) -> None:
        """Nothing: it stays as it is."""

    @property
    def trainable(self) -> bool:
        """False: it is locked for good."""
        return False

    @trainable.setter
    def trainable(self, value) -> None:
        self.model.trainable = False

    @property
    def metrics(self) -> list:
        """None: what was measured when the teacher was trained is no part of what its student logs."""
        return []

    def gives(self, world) -> tuple:
        """Names of the model's outputs for a batch; `world` is a `kzoo.models.answers.World`."""
        return self.model.gives(self._batch(world))

    def answer(self, names, world) -> dict:
        """The model's outputs by name, dict of tensors."""
        return self.model(self._batch(world), training=False, only=tuple(names))

    @staticmethod
    def _batch(world):
        own = {name.removeprefix("teacher_"): each for name, each in world.batch.items() if name.startswith("teacher_")}
        return world.batch | own
