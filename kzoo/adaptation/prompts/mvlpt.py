"""MVLPT: prompts of both towers that are mixed before they are used, learned on several tasks at once."""

from collections.abc import Mapping
from typing import Self

import keras
import numpy as np
from keras import ops

from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.context import Context
from kzoo.adaptation.prompts.coop import CoOp
from kzoo.adaptation.prompts.deep import CoupledTower
from kzoo.adaptation.prompts.frozen import needs
from kzoo.adaptation.prompts.vpt import encoder_with, spread_of
from kzoo.adaptation.texts import TEMPLATE
from kzoo.arguments import COUNT, FLAG, one_of
from kzoo.layers.numerics import NEGATIVE
from kzoo.layers.transformer import TransformerBlock
from kzoo.models.answers import Rule
from kzoo.models.dual_encoder import DualEncoder
from kzoo.types import Tensor

SHARED = ("transformer", "mlp", "identity")


@keras.saving.register_keras_serializable(package="kzoo")
class MVLPT(PromptedClassifier):
    """Multi-task prompts: CoOp's context and VPT's tokens, mixed by a small network, learned on one or several tasks.

    Both sets are brought to one width, go through one block of a transformer (or an MLP) as one sequence, and are
    brought back: the unified prompts of UPT. Learned on several tasks first, they are what the prompts of another begin
    as: `MVLPT(clip, names).start_from(several)`.

    Args:
        model: as of `CoOp`, with a transformer as its image tower.
        class_names: list of names; of several tasks a dict of the name of a task -> its list. All names are different,
            and labels are places among all of them, in that order.
        n_ctx: vectors of the texts; as of `CoOp`.
        n_ctx_visual: tokens before a block of the image tower.
        deep: tokens of their own for each block of the image tower; False: of the first alone.
        shared: what mixes them: `"transformer"`, `"mlp"`, or `"identity"`, nothing.
        project_dim: the width in which they are mixed.
        init, knowledge_weight, template: as of `CoOp`. Only with `"identity"` does the context begin as `init` is.

    Inputs:
        as `CoOp`, and of several tasks perhaps `tasks` int `(batch,)`, the place of each picture's task: the logits of
        classes of other tasks are then so low that the cross-entropy is over its own.

    Returns:
        as `CoOp`; `image_embeddings` are those with the prompts.

    Raises:
        ValueError: as `CoOp`; an image tower that takes no prompts.

    Parts and first numbers are those of the authors' code. It multiplies the logits of other tasks by 0, so that they
    count in the softmax; here they do not. All visual tokens are mixed as one sequence, which is our choice.

    Example:
        >>> tasks = {"birds": ["wren", "robin"], "trees": ["oak", "ash"]}
        >>> several = kzoo.adaptation.MVLPT(clip, tasks)
        >>> several.compile(keras.optimizers.SGD(0.002, momentum=0.9))
        >>> several.fit({"images": images, "labels": labels, "tasks": tasks_of_images})
        >>> fish = kzoo.adaptation.MVLPT(clip, ["carp", "pike"]).start_from(several)

    Reference:
        Shen et al., Multitask Vision-Language Prompt Tuning, 2022, arXiv 2211.11720; UPT: Zang et al., Unified Vision
        and Language Prompt Learning, 2022, arXiv 2210.07225.
    """

    arguments = PromptedClassifier.arguments | {
        "n_ctx": COUNT | None,
        "n_ctx_visual": COUNT,
        "deep": FLAG,
        "shared": one_of(*SHARED),
        "project_dim": COUNT,
        "init": CoOp.arguments["init"],
    }

    def __init__(
        self,
        model,
        class_names,
        n_ctx=None,
        n_ctx_visual=8,
        deep=True,
        shared="transformer",
        project_dim=128,
        init=None,
        knowledge_weight=0.0,
        template=TEMPLATE,
        **kwargs,
    ):
        tasks = tasks_of(class_names)
        names = class_names if tasks is None else [name for own in tasks.values() for name in own]
        super().__init__(model, names, knowledge_weight, template, **kwargs)
        if tasks is not None:
            self._arguments["class_names"] = tasks
        sizes = [len(self.class_names)] if tasks is None else [len(own) for own in tasks.values()]
        self.task_of_class = np.repeat(np.arange(len(sizes)), sizes).astype("int32")
        image = self.model.image_encoder
        needs(image, "prompts")
        blocks, spread = image.num_blocks if deep else 1, spread_of(image)
        self.context = Context(self.model, self.class_names, n_ctx, init=init)
        self.visual = self.add_weight(
            name="visual",
            shape=(blocks * n_ctx_visual, image.width),
            initializer=keras.initializers.RandomUniform(-spread, spread),
            autocast=False,
        )
        self.shared, self.mixer = shared, None
        if shared != "identity":
            widths = {"context": self.context.width, "visual": image.width}
            self.project_in = {name: _linear(f"{name}_in", width, project_dim) for name, width in widths.items()}
            self.project_out = {name: _linear(f"{name}_out", project_dim, width) for name, width in widths.items()}
            if shared == "transformer":
                self.mixer = TransformerBlock(project_dim, 1, 4 * project_dim, dtype="float32", name="mixer")
                self.mixer.build((None, None, project_dim))
            else:
                self.mixer = _linear("mixer", project_dim, project_dim, "gelu")
        self.blocks, self.n_ctx_visual = blocks, n_ctx_visual
        self.prompted = CoupledTower(image, self.visual_prompts, n_ctx_visual, blocks, name="prompted_image_encoder")
        self.settle_prompts()

    def modalities(self) -> dict:
        return {"image": self.prompted}

    def towers(self) -> dict:
        return {"image_encoder": self.prompted}

    # -- forward --
    def mixed(self) -> tuple[Tensor, Tensor]:
        """Context `(n_ctx, width)` and visual tokens `(blocks * n_ctx_visual, width)` as the towers get them."""
        context, visual = (ops.convert_to_tensor(each) for each in (self.context.vectors, self.visual))
        if self.mixer is None:
            return context, visual
        parts = [self.project_in["context"](context), self.project_in["visual"](visual)]
        x = self.mixer(ops.concatenate(parts, axis=0)[None])[0]  # (n_ctx + blocks * n_ctx_visual, project_dim)
        count = self.context.count
        return self.project_out["context"](x[:count]), self.project_out["visual"](x[count:])

    def visual_prompts(self) -> list[Tensor]:
        """The tokens before each block of the image tower, `(n_ctx_visual, width)` each."""
        _, visual = self.mixed()
        count = self.n_ctx_visual
        return [visual[number * count : (number + 1) * count] for number in range(self.blocks)]

    def embed_classes(self, training=None) -> Tensor:
        return self.context.embed(self.model.text_encoder, self.mixed()[0])

    def rules(self, batch) -> list:
        if "tasks" not in batch:
            return super().rules(batch)
        return [Rule(("image_embeddings", "tasks"), ("logits",), self._logits_of_tasks)]

    def _logits_of_tasks(self, images, tasks, training):
        (logits,) = self._logits(images, training)
        own = ops.equal(ops.cast(ops.reshape(tasks, (-1, 1)), "int32"), self.task_of_class)
        return (ops.where(own, logits, NEGATIVE),)

    # -- checks --
    def check_fed(self, batch, read) -> None:
        super().check_fed(batch, read)
        tasks, labels = (batch.get(name) for name in ("tasks", "labels"))
        if not (isinstance(tasks, np.ndarray) and isinstance(labels, np.ndarray)):
            return
        tasks, labels = tasks.reshape(-1), labels.reshape(-1)
        known = (labels >= 0) & (labels < len(self.task_of_class))  # of others the loss tells
        other = known & (self.task_of_class[np.where(known, labels, 0)] != tasks)
        if other.any():
            row = int(np.argmax(other))
            raise ValueError(
                f"row {row} is of task {tasks[row]}, but its label {labels[row]} is a class of task "
                f"{self.task_of_class[labels[row]]}; labels are places among the classes of all tasks."
            )

    # -- use --
    def start_from(self, other) -> Self:
        """Take over the prompts, and what mixes them, of a model of other classes.

        Args:
            other: `MVLPT` of the same sizes.

        Returns:
            this model.

        Raises:
            TypeError: no `MVLPT`.
            ValueError: one of other sizes; nothing is changed.
        """
        if not isinstance(other, MVLPT):
            raise TypeError(f"other is of type {type(other).__name__}; give an MVLPT.")
        pairs = list(zip(self.trainable_variables, other.trainable_variables))
        shapes = [[tuple(each.shape) for each in model.trainable_variables] for model in (self, other)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"the prompts of this model have the shapes {shapes[0]} and those of the other {shapes[1]}; make both "
                "with the same n_ctx, n_ctx_visual, deep, shared and project_dim, on models of one architecture."
            )
        for own, new in pairs:
            own.assign(ops.copy(new))  # a step of jax lets go of the arrays of its model
        return self

    def encoder(self) -> DualEncoder:
        """The dual encoder that embeds pictures as this model does, its prompts as they are now."""
        return encoder_with(self, self.prompted.baked())


def tasks_of(class_names) -> dict | None:
    """Task -> list of its classes; None of a list of names."""
    if not isinstance(class_names, Mapping):
        return None
    for task, own in class_names.items():
        if isinstance(own, (str, bytes)):
            raise TypeError(f"the classes of task {task!r} are {own!r}; give a list of names.")
    return {str(task): list(own) for task, own in class_names.items()}


def _linear(name, width, units, activation=None):
    layer = keras.layers.Dense(units, activation, dtype="float32", name=name)
    layer.build((None, width))
    return layer
