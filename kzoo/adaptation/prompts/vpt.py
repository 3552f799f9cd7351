"""VPT: tokens in the image tower, learned."""

import keras

from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.frozen import needs
from kzoo.adaptation.texts import TEMPLATE
from kzoo.arguments import COUNT, FLAG
from kzoo.encoders.prompted import PromptedTower
from kzoo.models.dual_encoder import DualEncoder
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class VPT(PromptedClassifier):
    """Visual prompt tuning: tokens before the blocks of the image tower, trained on a few pictures of each class.

    The texts of the classes stay those of `template`, embedded once: a step runs the image tower alone, forward and
    backward. The tokens stand behind the class token, and after the norm before the blocks where the tower has one.

    Args:
        model: a dual encoder whose image tower takes prompts, a transformer of kzoo, with a vocabulary. It is copied,
            and stays what it is.
        class_names: list of names, all different; an underscore is read as a space.
        n_ctx: tokens before a block.
        deep: tokens of its own for each block; False: those of the first block go along through all.
        template: the text of a class.

    Inputs:
        as `CoOp`.

    Returns:
        as `CoOp`; `image_embeddings` are those with the prompts.

    Raises:
        ValueError: a model without towers of pictures and texts, or whose image tower takes no prompts.

    We know the paper, whose classifier is a linear layer; texts as classifier are those of the papers that compare
    prompts of both towers. The first numbers are uniform within `sqrt(6 / (3 p^2 + width))`, of patches of side `p`, as
    in the authors' code.

    Example:
        >>> model = kzoo.adaptation.VPT(clip, ["wren", "robin"])
        >>> model.compile(keras.optimizers.SGD(0.002, momentum=0.9))
        >>> model.fit({"images": images, "labels": labels}, batch_size=32, epochs=50)
        >>> model.export("birds_onnx")  # the tower with its prompts, and the texts of the classes

    Reference:
        Jia et al., Visual Prompt Tuning, 2022, arXiv 2203.12119.
    """

    arguments = PromptedClassifier.arguments | {"n_ctx": COUNT, "deep": FLAG}
    reads_template = True

    def __init__(self, model, class_names, n_ctx=8, deep=True, template=TEMPLATE, **kwargs):
        super().__init__(model, class_names, template=template, **kwargs)
        tower = self.model.image_encoder
        needs(tower, "prompts")
        self.prompted = PromptedTower(
            tower, n_ctx, tower.num_blocks if deep else 1, spread_of(tower), name="prompted_image_encoder"
        )
        self.settle_prompts()

    def modalities(self) -> dict:
        return {"image": self.prompted}

    def towers(self) -> dict:
        return {"image_encoder": self.prompted}

    def embed_classes(self, training=None) -> Tensor:
        return keras.ops.convert_to_tensor(self.zero_shot)

    def encoder(self) -> DualEncoder:
        return encoder_with(self, self.prompted)


def spread_of(tower) -> float:
    """What the numbers of visual prompts begin within: Xavier's bound of a patch and a token."""
    rows, columns = tower.grid or (1, 1)
    pixels = 1 if tower.image_size is None else tower.image_size[0] * tower.image_size[1] / (rows * columns)
    return float((6.0 / (3.0 * pixels + tower.width)) ** 0.5)


def encoder_with(classifier, tower) -> DualEncoder:
    """The dual encoder of a classifier with another image tower; weights are the classifier's own."""
    model = classifier.model
    encoder = DualEncoder(
        tower, model.text_encoder, model.similarity, model.preprocessor, name=model.name, dtype=model.dtype_policy
    )
    encoder.source = model.source
    return encoder
