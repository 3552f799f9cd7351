"""What a step says of itself beside its losses, where a `Progress` asks for it."""

from typing import Any

import keras
from keras import ops

from kzoo.scale.engine import count


def is_shown(model) -> bool:
    """Whether steps of a model say how they go."""
    return vars(model).get("shows_progress", False)


def of_step(model, gradients, similarity) -> dict[str, Any]:
    """What a step says for `Progress`, a dict of float32 scalars; called before gradients are applied.

    Args:
        model: being trained.
        gradients: of its weights, None where a loss does not depend on one.
        similarity: its similarity head, or None.
    """
    if not is_shown(model):
        return {}
    found = {"learning_rate": ops.cast(model.optimizer.learning_rate, "float32")}
    if keras.config.backend() != "tensorflow" or count() == 1:
        dense = [ops.cast(ops.convert_to_tensor(each), "float32") for each in gradients if each is not None]
        square = sum((ops.sum(ops.square(each)) for each in dense), start=ops.zeros(()))
        found["gradient_norm"] = ops.sqrt(square) / ops.cast(model.optimizer.scale_loss(1.0), "float32")
    if similarity is not None:
        found["logit_scale"] = ops.cast(ops.stop_gradient(similarity.scale), "float32")
    return found
