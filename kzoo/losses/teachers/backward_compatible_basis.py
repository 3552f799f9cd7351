"""BT^2: backward-compatible training with a transformation of the basis."""

import keras
from keras import ops

from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import Loss, weighted_mean
from kzoo.losses.parts.candidates import paired_cosines
from kzoo.losses.parts.linear_cross_entropy import cross_entropy
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class BackwardCompatibleBasis(Loss):
    """Trains a longer embedding whose first dimensions, in a learned basis, still match those of an old model.

    With the whole new feature `f`, its part `p` for the old model and frozen targets:
    `L = CE(logits, y) + w_1 (1 - cos(f, new_target)) + w_2 CE(n(p) W_old^T, y) + w_3 (1 - cos(p, old_target))`.
    Targets and the old classifier `W_old` get no gradient. The change of basis, an orthogonal map, belongs to the
    model.

    Args:
        new_weight, influence_weight, old_weight: `w_1`, `w_2` and `w_3` above.
        inputs: names of the tensors to read; default `("basis_features", "old_part")`.

    Inputs:
        feature: float tensor `(batch, new dim)`.
        old_part: float tensor `(batch, old dim)`, the first dimensions after the change of basis.
        logits: float tensor `(batch, classes)`, of the new model's classifier.
        labels: int tensor `(batch,)`.
        new_target: float tensor `(batch, new dim)`, of a model trained without regard to the old one.
        old_target: float tensor `(batch, old dim)` (`teacher_image_embeddings`), of the old model.
        old_classifier: float tensor `(old classes, old dim)`; labels must be among its classes.
        sample_weight: float tensor `(batch,)`.

    Feeding:
        `DualEncoder(..., teacher=kzoo.training.FixedTeacher(old_model), heads=[Head(OrthogonalBasis(old_dim),
        "image_features", ("basis_features", "old_part")), Head(Classifier(classes), "basis_features", "logits")])`,
        `constants={"old_classifier": matrix}` and `kzoo.data.pairs(source, preprocessor, columns=("labels",
        "new_target"))`.

    Returns:
        float32 scalar.

    Recommendations:
        When embeddings of the old model stay in the index; they are compared after padding them with zeros to the
        new length. `HigherOrderCompatibility` where both models have the same length.

    Example:
        >>> zeros, labels = np.zeros((2, 3)), np.array([0, 2])
        >>> BackwardCompatibleBasis()(np.eye(2), np.eye(2), logits=zeros, labels=labels, new_target=np.eye(2),
        ...                           old_target=np.eye(2), old_classifier=np.zeros((3, 2)))
        2.1972

    Reference:
        Zhou et al., BT^2: Backward-compatible Training with Basis Transformation, 2022, arXiv 2211.03989.
    """

    default_inputs = ("basis_features", "old_part")
    required_inputs = ("logits", "labels", "new_target", "old_target", "old_classifier")
    optional_inputs = Loss.optional_inputs | {name: name for name in required_inputs}
    optional_inputs["old_target"] = "teacher_image_embeddings"
    shapes = Loss.shapes | {
        "feature": "batch dim",
        "old_part": "batch old_dim",
        "logits": "batch classes",
        "labels": "batch",
        "new_target": "batch dim",
        "old_target": "batch old_dim",
        "old_classifier": "old_classes old_dim",
    }
    numbers = Loss.numbers | {"labels": "index of old_classes"}

    def __init__(self, new_weight=1.0, influence_weight=1.0, old_weight=1.0, inputs=None, **kwargs):
        super().__init__(inputs=inputs, **kwargs)
        self.new_weight, self.influence_weight, self.old_weight = new_weight, influence_weight, old_weight

    def call(
        self, feature, old_part, logits, labels, new_target, old_target, old_classifier, sample_weight=None
    ) -> Tensor:
        labels = ops.cast(labels, "int32")
        old_classes = ops.stop_gradient(ops.cast(old_classifier, "float32"))
        old_logits = ops.matmul(l2_normalize(old_part), ops.transpose(old_classes))
        values = cross_entropy(logits, labels) + self.new_weight * _apart(feature, new_target)
        values += self.influence_weight * cross_entropy(old_logits, labels)
        return weighted_mean(values + self.old_weight * _apart(old_part, old_target), sample_weight)


def _apart(x, target):
    return 1.0 - paired_cosines(x, ops.stop_gradient(target))
