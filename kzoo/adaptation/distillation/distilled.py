"""Distillation into a classifier of one's own classes: weights that learn what a teacher says of the pictures."""

from typing import ClassVar

from keras import ops

from kzoo.adaptation.fine_tuning import FineTuning
from kzoo.adaptation.tuned_classifier import TunedClassifier
from kzoo.arguments import POSITIVE, SHARE
from kzoo.losses import CrossEntropy
from kzoo.losses.base import Loss
from kzoo.models.answers import Rule

LOGITS = "teacher_logits"


class Distillation(FineTuning):
    """Train weights of a model to say of pictures what a teacher says of them.

    Of each picture the teacher gives scores of the classes `u`, and the model, by the texts of the classes, `z`. The
    loss is `(1 - alpha)` times the cross-entropy of the labels, and `alpha T^2` times the divergence
    `KL(softmax(u / T) || softmax(z / T))`. With a teacher of pictures and texts that is TinyCLIP's affinity mimicking,
    from pictures to the texts of the classes. `kzoo.adapt` takes it as `"distil"`.

    Args:
        teacher: a model, an export opened by `kzoo.export.runtime`, the folder of either, or the name of a preset,
            which read the names of the classes; a `kzoo.adaptation.AdaptedClassifier` of the same classes, or its
            folder; or what a model once said: `kzoo.adaptation.TeacherEmbeddings`, their file, or a dict of
            `image_embeddings`, a row for each picture of the data, and `text_embeddings`, one for each class, whose
            cosines are taken 100 times. It is asked once for each picture, before the training.
        alpha: share of the loss that is of the teacher; 1: labels are not read.
        temperature: `T` above.
        targets: patterns of weights or layers that are trained, see `kzoo.patterns`.

    Raises:
        TypeError: no teacher, or one of another kind.

    Hinton et al. take a `temperature` above 1; affinities have that of their own scale, and are taken as they are.

    Example:
        >>> adapted = kzoo.adapt(small, "photos/", "distil", teacher="clip_large_onnx", alpha=0.9)
        >>> teacher = kzoo.adapt(large, "photos/", "gda").model
        >>> adapted = kzoo.adapt(small, "photos/", "distil", teacher=teacher)

    Reference:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531; Wu et al., TinyCLIP, 2023,
        arXiv 2309.12314.
    """

    arguments: ClassVar[dict] = FineTuning.arguments | {"alpha": SHARE, "temperature": POSITIVE}

    def __init__(self, teacher=None, alpha=0.5, temperature=1.0, targets=("image_encoder",)):
        super().__init__(targets)
        if teacher is None:
            raise TypeError(
                "there is no teacher; give a model, an export or its folder, or stored embeddings: teacher=..."
            )
        self.teacher, self.alpha, self.temperature = teacher, alpha, temperature

    def loss(self) -> Loss:
        """What is left for the labels."""
        return (1.0 - self.alpha) * CrossEntropy()


class TaughtClassifier(TunedClassifier):
    """A `TunedClassifier` that reads `teacher_logits` `(batch, classes)` beside pictures and labels."""

    def __init__(self, model, class_names, rows, templates, config):
        super().__init__(model, class_names, rows, templates, config)
        self.alpha, self.temperature = config.alpha, config.temperature

    def rules(self, batch) -> list:
        if LOGITS not in batch:
            return super().rules(batch)
        return [Rule(("image_embeddings", LOGITS), ("logits",), self._logits_beside)]

    def _logits_beside(self, images, told, training):
        (logits,) = self._logits(images, training)
        theirs, own = (ops.log_softmax(ops.cast(each, "float32") / self.temperature) for each in (told, logits))
        divergence = ops.mean(ops.sum(ops.exp(theirs) * (theirs - own), axis=-1))
        self.add_loss(self.alpha * self.temperature**2 * divergence)
        return (logits,)
