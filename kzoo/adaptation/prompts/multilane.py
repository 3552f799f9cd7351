"""MULTI-LANE: a pathway through the image tower for each of several tasks, on a few summaries of the patches."""

from typing import NoReturn, Self

import keras
import numpy as np
from keras import ops

from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.counted import accuracy_of
from kzoo.adaptation.prompts.mvlpt import tasks_of
from kzoo.arguments import COUNT, NAME, takes
from kzoo.encoders.vit import VisionTransformer
from kzoo.inference.embed import BATCH_SIZE
from kzoo.layers.numerics import l2_normalize
from kzoo.models.answers import Rule
from kzoo.types import Array, Tensor

READS = ("presence_logits", "presence_labels")
BLOCKS = 5  # with prompts, of the authors' settings


class Lane(keras.layers.Layer):
    """What is learned of one task: selectors of patches, keys and values before the first blocks, a linear layer."""

    def __init__(self, count, width, num_selectors, num_prompts, prompted_blocks, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.sizes = count, width, num_selectors, num_prompts, prompted_blocks
        self.build()

    def build(self) -> None:
        count, width, num_selectors, num_prompts, blocks = self.sizes

        def vectors(name, number):
            return self.add_weight(name=name, shape=(number, width), initializer=keras.initializers.Orthogonal())

        self.selectors = vectors("selectors", num_selectors)
        names = [(f"key_{block}", f"value_{block}") for block in range(blocks)]
        self.prompts = [[vectors(name, num_prompts) for name in each] for each in names]
        self.kernel = self.add_weight(name="kernel", shape=(width, count))
        self.bias = self.add_weight(name="bias", shape=(count,), initializer="zeros")

    def taken_over(self, other) -> None:
        """Begin as another lane is, but for the linear layer, which is of other classes."""
        pairs = [(self.selectors, other.selectors)]
        pairs += [pair for own, known in zip(self.prompts, other.prompts) for pair in zip(own, known)]
        for own, known in pairs:
            own.assign(ops.copy(known))  # a step of jax lets go of the arrays of its model


@keras.saving.register_keras_serializable(package="kzoo")
class MultiLane(PromptedClassifier):
    """Classes that come task by task, several of them in a picture: each task has a pathway of its own through the
    image tower, which no later task changes.

    In each block the selectors of a task, in the place of all patches, make summaries of these, the softmax of their
    products; class token and summaries of the task go through the block's own attention, to which the first blocks add
    learned keys and values, and its MLP. A linear layer reads the class token of a task at unit length. The tower
    itself stays as it is, and runs once for all tasks.

    `begin_task` opens the lane of a task, which begins as the one before it, and locks all others; `compile` again
    then. The loss is the binary cross-entropy of each class that counts.

    Args:
        model: as of `VPT`; its image tower is a ViT of kzoo that pools its class token behind its last norm.
        class_names: list of names; of several tasks a dict of the name of a task -> its list. All names are different,
            and labels are places among all of them, in that order.
        num_selectors: summaries of the patches, for each task.
        num_prompts: learned keys and values of a block.
        prompted_blocks: how many blocks have them, from the first; default 5, or all of the tower with fewer.
        task: name of the task whose lane is trained; default the first.

    Inputs:
        dict with `images`, and for the loss `labels`: int or float `(batch, classes)`, 1 where a class is there, 0
        where it is not, and -1 where nobody looked, such as for the classes of other tasks; or int `(batch,)`, the one
        class of a picture: then the other classes of its task are not there, and those of other tasks do not count.

    Returns:
        dict: `logits` `(batch, classes)` float32.

    Raises:
        ValueError: another image tower; a task that is not there.

    Pathways, drop and replacement of summaries and first numbers are those of the authors' code. The class token of a
    lane begins as the tower's has it before its first block, with its position, which is our choice, and so is what -1
    says: the code sets logits and labels of other tasks to 0 and counts them.

    Example:
        >>> tasks = {"pets": ["cat", "dog"], "birds": ["wren", "robin"]}
        >>> model = kzoo.adaptation.MultiLane(clip, tasks)
        >>> for name, data in by_task.items():
        ...     model.begin_task(name).compile(keras.optimizers.Adam(0.03))
        ...     model.fit(data, epochs=20)
        >>> model.presence(["garden.jpg"])
        array([[0.9, 0.1, 0.8, 0.1]], dtype=float32)

    Reference:
        De Min et al., Less is more: Summarizing Patch Tokens for efficient Multi-Label Class-Incremental Learning,
        2024, arXiv 2405.15633.
    """

    arguments = PromptedClassifier.arguments | {
        "num_selectors": COUNT,
        "num_prompts": COUNT,
        "prompted_blocks": COUNT | None,
        "task": NAME | None,
    }

    def __init__(self, model, class_names, num_selectors=20, num_prompts=20, prompted_blocks=None, task=None, **kwargs):
        tasks = tasks_of(class_names)
        names = class_names if tasks is None else [name for own in tasks.values() for name in own]
        super().__init__(model, names, **kwargs)
        if tasks is not None:
            self._arguments["class_names"] = tasks
        tower = self.model.image_encoder
        _check_tower(tower)
        blocks = prompted_blocks or min(BLOCKS, tower.num_blocks)
        if blocks > tower.num_blocks:
            raise ValueError(
                f"prompted_blocks is {blocks}, but the tower has {tower.num_blocks} blocks; give at most as many."
            )
        self.tasks = ("all",) if tasks is None else tuple(tasks)
        sizes = [len(self.class_names)] if tasks is None else [len(own) for own in tasks.values()]
        self.task_of_class = np.repeat(np.arange(len(sizes)), sizes)
        given = tower.width, num_selectors, num_prompts, blocks
        self.lanes = [Lane(size, *given, name=f"lane_{number}") for number, size in enumerate(sizes)]
        loss = {"loss": "Captioning", "inputs": list(READS), "mask": "presence_mask"}
        self.settle(self.model.similarity, (), None, self.model.preprocessor, (loss,))
        self._open(0 if task is None else self._number(task))

    # -- tasks --
    @takes(task=NAME)
    def begin_task(self, task) -> Self:
        """Train the lane of a task from now on, and no other; unless it is the first, it begins as the one before it.

        Args:
            task: its name.

        Returns:
            this model; compile it again.

        Raises:
            ValueError: a task that is not there.
        """
        number = self._number(task)
        if number:
            self.lanes[number].taken_over(self.lanes[number - 1])
        self._open(number)
        return self

    def _number(self, task):
        if task not in self.tasks:
            raise ValueError(f"task is {task!r}, but the model has {', '.join(map(repr, self.tasks))}.")
        return self.tasks.index(task)

    def _open(self, number):
        self._arguments["task"] = self.tasks[number]
        for place, lane in enumerate(self.lanes):
            lane.trainable = place == number

    # -- forward --
    def shapes(self) -> dict:
        count = len(self.class_names)
        more = {"presence_labels": (None, count), "presence_mask": (None, count)}
        return super().shapes() | more | {"presence_logits": (None, count, 2)}

    def default_outputs(self, batch, slots) -> list:
        return ["logits"]

    def rules(self, batch) -> list:
        found = [Rule(("images",), ("logits", "presence_logits"), self._logits_of_lanes)]
        if "labels" in batch:
            found.append(Rule(("labels",), ("presence_labels", "presence_mask"), self._labelled))
        return found

    def _logits_of_lanes(self, images, training):
        tokens = self._through(images)  # (tasks, batch, width)
        logits = [ops.matmul(tokens[number], lane.kernel) + lane.bias for number, lane in enumerate(self.lanes)]
        logits = ops.concatenate(logits, axis=-1)
        return logits, ops.stack([ops.zeros_like(logits), logits], axis=-1)  # a softmax of both is a sigmoid

    def _through(self, images):
        """The class token of each lane at the end, at unit length, `(tasks, batch, width)`."""
        tower, count = self.model.image_encoder, len(self.lanes)
        given = tower(images, layers=tuple(range(tower.num_blocks)), training=False)["layer_tokens"]
        given = ops.stop_gradient(ops.cast(given, "float32"))  # (batch, blocks, tokens, width), before each block
        width = given.shape[-1]
        begin = given[:, 0, :1]  # (batch, 1, width)
        lanes = [ops.concatenate([begin, self._for_each(lane.selectors, begin)], axis=1) for lane in self.lanes]
        lanes = ops.concatenate(lanes)  # (tasks * batch, 1 + selectors, width)
        for number, block in enumerate(tower.blocks):
            patches, own = block.norm_1(given[:, number]), block.norm_1(lanes)
            parted = ops.reshape(own[:, 1:], (count, -1, own.shape[1] - 1, width))
            shares = ops.softmax(ops.einsum("tbsw,bnw->tbsn", parted, patches) * width**-0.5, axis=-1)
            summaries = ops.reshape(ops.einsum("tbsn,bnw->tbsw", shares, patches), (-1, *parted.shape[2:]))
            x = ops.concatenate([own[:, :1], summaries], axis=1)
            memory = [block.attention.key(x), block.attention.value(x)]
            if number < len(self.lanes[0].prompts):
                prompts = zip(*(lane.prompts[number] for lane in self.lanes))
                put = [ops.concatenate([self._for_each(each, begin) for each in of_lanes]) for of_lanes in prompts]
                memory = [ops.concatenate([each, known], axis=1) for each, known in zip(put, memory)]
            mixed = block.attention.read(x, block.attention.memory_of(*memory))
            # summaries are dropped, and selectors go on in their place
            lanes = block._after(lanes, ops.concatenate([mixed[:, :1], own[:, 1:]], axis=1))
        last = l2_normalize(tower.post_norm(lanes[:, 0]))
        return ops.reshape(last, (count, -1, width))

    def _for_each(self, vectors, like) -> Tensor:
        """Vectors `(count, width)` for each row of `like`, `(batch, count, width)`."""
        return ops.convert_to_tensor(vectors)[None] + ops.zeros_like(like)

    def _labelled(self, labels, training):
        if len(labels.shape) == 2:
            labels = ops.cast(ops.round(ops.cast(labels, "float32")), "int32")
            counts = ops.greater_equal(labels, 0)
            return ops.where(counts, labels, 0), counts
        labels = ops.cast(labels, "int32")
        tasks = ops.take(ops.convert_to_tensor(self.task_of_class, "int32"), labels)
        own = ops.equal(tasks[:, None], self.task_of_class.astype("int32"))
        return ops.cast(ops.equal(labels[:, None], np.arange(len(self.class_names), dtype="int32")), "int32"), own

    def measured(self, loss) -> dict:
        if {*READS} <= {*loss.reading()}:
            return {"presence_accuracy": accuracy_of(*READS, "presence_mask")}
        return super().measured(loss)

    # -- checks --
    def check_fed(self, batch, read) -> None:
        super().check_fed(batch, read)
        labels, count = batch.get("labels"), len(self.class_names)
        if not isinstance(labels, np.ndarray):
            return
        if labels.ndim == 2 and labels.shape[1] == count:
            if labels.size and not np.isin(labels, (-1, 0, 1)).all():
                raise ValueError("labels of each class are 1, 0, or -1 where nobody looked, but others came.")
        elif labels.ndim == 1:
            if labels.size and not (0 <= labels.min() and labels.max() < count):
                raise ValueError(f"labels are from {labels.min()} to {labels.max()}, but 0 to {count - 1} is expected.")
        else:
            raise ValueError(f"labels have shape {labels.shape}, but (batch,) or (batch, {count}) is expected.")

    # -- use --
    @takes(batch_size=COUNT)
    def presence(self, images, batch_size=BATCH_SIZE) -> Array:
        """How likely each class is to be in each picture, whatever else is.

        Args:
            images, batch_size: as in `DualEncoder.encode_image`.

        Returns:
            float32 array `(n, classes)`, each in [0, 1].

        Raises:
            ValueError: no pictures, or one that cannot be read.
        """
        return 1.0 / (1.0 + np.exp(-self._of_pictures(images, batch_size, "logits")))

    def encode_image(self, images, batch_size=BATCH_SIZE) -> NoReturn:
        """Refused: a picture has a vector for each task.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(NO_EMBEDDING)

    def bake(self) -> NoReturn:
        """Refused: classes are compared with a vector for each task.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(NO_EMBEDDING)


NO_EMBEDDING = (
    "MultiLane has a pathway through the image tower for each task, and no embedding that a classifier could take, so "
    "nothing is baked or exported; ask it for presence(images), and keep it with save('model.keras')."
)


def _check_tower(tower):
    fits = isinstance(tower, VisionTransformer) and tower.pool == "class_token" and tower.prefix_tokens == 1
    if not fits or tower.norm_first or tower.relative_positions or tower.blocks[0].res_post_norm:
        raise ValueError(
            f"this {type(tower).__name__} has no class token that goes through its blocks and a norm behind them; take "
            "a model with a ViT as CLIP has it."
        )
