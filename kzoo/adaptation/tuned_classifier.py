"""A dual encoder some weights of which are trained with the texts of classes as its classifier."""

from typing import NoReturn

import numpy as np
from keras import ops

from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.frozen import frozen_copy, opening
from kzoo.arguments import able, names
from kzoo.evaluation.zero_shot import fill_templates
from kzoo.layers.locking import unlock
from kzoo.layers.numerics import l2_normalize
from kzoo.paths import parameters
from kzoo.types import Tensor


class TunedClassifier(PromptedClassifier):
    """A copy of a dual encoder with weights that are trained, and texts of the classes.

    The loss is the cross-entropy of the cosines with these texts. Where all that is trained stands in the image tower,
    the texts are embedded once, and a step runs that tower alone; else it runs the text tower on all of them, too.

    Args:
        model: with towers of pictures and texts, a similarity and a vocabulary; the text tower may be any.
        class_names: names.
        rows: float array `(classes, embed_dim)`, what the model says of their texts.
        templates: list of texts with `{}`, of which the rows are.
        config: what opens weights: an object with `begin(model)`.

    Raises:
        ValueError: weights that are opened outside the towers; and what `config.begin` refuses.

    Reference:
        Zanella and Ben Ayed, Low-Rank Few-Shot Adaptation of Vision-Language Models, 2024, arXiv 2405.18541.
    """

    arguments = PromptedClassifier.arguments | {
        "rows": able("shape", "an array"),
        "templates": names("a list of templates"),
        "config": able("begin", "what opens weights, such as a kzoo.adaptation.LoRA"),
    }

    def __init__(self, model, class_names, rows, templates, config):
        copy = opened_copy(model, config)
        trained = [each.path for each in parameters(copy) if each.variable.trainable]
        away = next((each for each in trained if each.split(".")[0] not in ("image_encoder", "text_encoder")), None)
        if away is not None:
            raise ValueError(f"the targets name {away}, which no class depends on; name layers of the towers.")
        with opening():  # the copy is ours
            super().__init__(copy, class_names)
        unlock(copy, [each for each in parameters(copy) if each.path in set(trained)])
        self.rows, self.ids = np.asarray(rows, "float32"), None
        if any(each.startswith("text_encoder.") for each in trained):
            texts = fill_templates([each.replace("_", " ") for each in class_names], templates)
            arrays = copy.preprocessor.encode_texts(texts)
            self.ids = [arrays[each.name] for each in copy.text_encoder.inputs]
        self.settle_prompts()

    def get_config(self) -> NoReturn:
        """Refused: what was trained is kept as a model with a classifier beside it.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "a model that kzoo.adapt trains has no .keras file of its own; keep what came of it: "
            "adapted.model.save('FOLDER')."
        )

    def embed_classes(self, training=None) -> Tensor:
        if self.ids is None:
            return ops.convert_to_tensor(self.rows)
        found = self.model.text_encoder(*map(ops.convert_to_tensor, self.ids), training=training)["embedding"]
        found = l2_normalize(ops.reshape(found, (len(self.class_names), -1, found.shape[-1])))
        return l2_normalize(ops.mean(found, axis=1))


def opened_copy(model, config) -> PromptedClassifier:
    """A copy of a model's towers and similarity in which what a method opens is trained, and nothing else."""
    copy = frozen_copy(model, from_embeddings=False)
    copy.trainable = True
    unlock(copy, [each for each in parameters(copy) if each.trains])
    config.begin(copy)
    return copy
