"""One tower, trained by what its views have in common."""

import re

import keras
import numpy as np
from keras import ops

from kzoo.inference.embed import BATCH_SIZE, in_batches
from kzoo.layers.configured import Configured
from kzoo.layers.projector import Projector
from kzoo.models.any_tower import embed_dim_of, embedding_of, in_views, input_names, takes_any_size
from kzoo.models.checks import check_input, check_rows, contents
from kzoo.models.compiled import compiled
from kzoo.models.contrastive import ContrastiveModel

ALIASES = {"query": "view_1", "key": "teacher_view_2"}  # what MoCo calls them


@keras.saving.register_keras_serializable(package="kzoo")
class SelfSupervised(Configured, ContrastiveModel):
    """An encoder and a projector that any self-supervised loss trains from augmented views (SimCLR, MoCo, DINO).

    The projector serves the loss alone: what one keeps is the encoder, `model.encoder`, and its embeddings, `encode`.
    There is no similarity head: a temperature is that of its loss. `model.save("model.keras")` keeps all of it.

    Args:
        encoder: a tower of kzoo, of pictures or texts, or a keras model or layer from one array to a dict with
            `"embedding"` or to a tensor `(batch, width)`. Built, with its output's width in `output_shape` or
            `embed_dim`.
        projector: layer from the embedding to the space of the loss; default `Projector((512, 128))`.
        teacher: an `EMATeacher` for losses that read a momentum teacher, or None. It copies encoder and projector.
        loss: list of terms as in a preset row; what `compile` takes when it is given none. Default `NTXent`.

    Inputs:
        dict with the views `view_1`, `view_2`, ..., each as the encoder takes it, and for multi-crop `local_1`, ...,
        pictures of another size: a ViT resamples its positions for them, towers that average a feature map take them as
        they are. What a text tower reads beside ids is called `view_1_padding_mask`. Views of one shape go through the
        encoder together, so batch norms see them all. Other entries, such as `labels`, are there for the loss.

    Returns:
        dict of float32 tensors `(batch, dim)`, not normalised: projections `view_1`, `view_2`, ..., `local_1`, ....
        Where the loss reads them, or by request (`outputs=("student",)`): `student` `(views, batch, dim)`, all of these
        in one tensor, the local ones last. With a teacher, likewise, its projections of the same views
        `teacher_view_1`, ..., and `teacher` `(global views, batch, dim)`; and for the losses of queues `query`, which
        is `view_1`, and `key`, which is `teacher_view_2`.

    Raises:
        ValueError: an encoder that does not say how wide its embedding is; batches that do not fit, see the sentence;
            at `compile` a loss that reads a teacher where there is none, or the other way around.

    Example:
        >>> model = kzoo.SelfSupervised(encoder)
        >>> model.compile("adamw", loss=kzoo.losses.NTXent(temperature=0.5))
        >>> model.fit(kzoo.data.views(images, ImageSteps(32), batch_size=256), epochs=100)
        >>> features = model.encode(images)  # for a linear probe
        >>> moco = kzoo.SelfSupervised(encoder, teacher=kzoo.training.EMATeacher(0.999))
        >>> moco.compile("adamw", loss=kzoo.losses.QueueContrastive(dim=128))

    Reference:
        Chen et al., SimCLR, 2020, arXiv 2002.05709; He et al., MoCo, 2019, arXiv 1911.05722; multi-crop: Caron et al.,
        SwAV, 2020, arXiv 2006.09882, and DINO, 2021, arXiv 2104.14294.
    """

    similarity = None

    def __init__(self, encoder, projector=None, teacher=None, loss=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        width = embed_dim_of(encoder, "the encoder")

        # -- layers --
        self.encoder = encoder
        self.projector = projector or Projector((512, 128), dtype=self.dtype_policy, name="projector")
        if not self.projector.built:
            self.projector.build((None, width))
        if teacher is not None:
            teacher.follow(encoder=self.encoder, projector=self.projector)
        self.teacher = teacher
        self.loss_spec = tuple(loss or ({"loss": "NTXent"},))
        self.build()
        self._attach(embed=compiled(self, lambda *arrays: ops.cast(embedding_of(self.encoder, arrays), "float32")))

    # -- forward --
    def check_batch(self, batch):
        """Stops with a sentence where a batch holds no views, or views that do not fit the encoder."""
        if not isinstance(batch, dict) or not _views(batch, "view"):
            raise ValueError(
                f"a batch has {contents(batch)}, but a dict with views is expected: 'view_1', 'view_2', ... as the "
                "encoder takes them, 'local_1', ... for smaller crops; kzoo.data.views makes such batches."
            )
        check_rows(batch)
        for name in _views(batch, "view"):
            check_input(batch[name], self.encoder)
        for name in _views(batch, "local"):
            check_input(batch[name], self.encoder, any_size=takes_any_size(self.encoder))

    def call(self, batch, training=None, outputs=()):
        wanted, whole, local = self.wanted(outputs), _views(batch, "view"), _views(batch, "local")
        wanted |= {ALIASES[name] for name in wanted & ALIASES.keys()}
        of_student = [name for name in (*whole, *local) if not self._reads or {name, "student"} & wanted]
        of_teacher = [name for name in whole if {f"teacher_{name}", "teacher"} & wanted]
        results = self._projections(of_student, batch, self, training)
        if "student" in wanted:
            results["student"] = ops.stack([results[name] for name in of_student])  # (views, batch, dim)
        if of_teacher and self.teacher is not None:
            found = self._projections(of_teacher, batch, self.teacher, training=False)
            found = {f"teacher_{name}": ops.stop_gradient(value) for name, value in found.items()}
            if "teacher" in wanted:
                found["teacher"] = ops.stack(list(found.values()))  # (global views, batch, dim)
            results |= found
        return results | {name: results[of] for name, of in ALIASES.items() if name in wanted and of in results}

    def _projections(self, names, batch, layers, training):
        """View -> projection, by the encoder and projector of `layers`; views of one shape in one pass."""
        groups, found = {}, {}
        for name in names:
            groups.setdefault((name.partition("_")[0], *batch[name].shape[1:]), []).append(name)
        for (kind, *_), group in groups.items():
            arrays = [self._stacked(batch, each) for each in zip(*(input_names(self.encoder, name) for name in group))]
            embedding = embedding_of(layers.encoder, arrays, training, any_size=kind == "local")
            projected = layers.projector(embedding, training=training and layers.projector.trainable)
            found |= zip(group, in_views(projected, len(group)))
        return {name: found[name] for name in names}

    @staticmethod
    def _stacked(batch, names):
        there = [batch[name] for name in names if name in batch]
        if there and len(there) < len(names):
            lacking = next(name for name in names if name not in batch)
            raise ValueError(f"the batch has {next(name for name in names if name in batch)!r}, but no {lacking!r}.")
        return None if not there else there[0] if len(there) == 1 else ops.concatenate(there, axis=0)

    # -- train --
    def check_loss(self, loss):
        names = _may_read(loss)
        teachers = sorted(name for name in names if name == "key" or name.split("_")[0] == "teacher")
        if teachers and self.teacher is None:
            raise ValueError(
                f"the loss reads {teachers[0]!r}, but the model has no teacher; build it with one, such as "
                "teacher=kzoo.training.EMATeacher(0.996)."
            )
        if self.teacher is not None and not teachers:
            raise ValueError(
                f"the model has a teacher, but the loss reads only {', '.join(sorted(names))}; name what it shall read "
                "of the teacher, such as inputs=('view_1', 'teacher_view_2'), or build the model without one."
            )

    def _training(self):
        return self._reading(_may_read(self.objective) if self.compiled else ())

    # -- use --
    @property
    def embed_dim(self):
        """Width of the encoder's embedding."""
        return embed_dim_of(self.encoder, "the encoder")

    def encode(self, inputs, batch_size=BATCH_SIZE):
        """Embed with the encoder, without the projector: features for a probe, for k-NN, for a plot.

        Args:
            inputs: array that the encoder takes, `(n, height, width, 3)` or `(n, length)`; a tuple of arrays for a
                tower that reads several, such as `(token_ids, padding_mask)`.
            batch_size: rows per forward pass.

        Returns:
            float32 array `(n, embed_dim)`, not normalised.

        Raises:
            ValueError: no rows, or arrays that do not fit the encoder.

        Example:
            >>> model.encode(np.zeros((5, 32, 32, 3), "uint8")).shape
            (5, 64)
        """
        arrays = [np.asarray(each) for each in (inputs if isinstance(inputs, tuple) else (inputs,))]
        check_rows(dict(zip(input_names(self.encoder, "inputs"), arrays)))
        check_input(arrays[0], self.encoder)
        return in_batches(
            len(arrays[0]),
            batch_size,
            lambda part: dict(enumerate(array[part] for array in arrays)),
            lambda batch: ops.convert_to_numpy(self.embed(*batch.values())),
        )

    # -- config --
    def get_config(self):
        return super().get_config() | {"projector": self.projector, "loss": list(self.loss_spec)}


def _views(batch, kind):
    """Names `kind_1`, `kind_2`, ... of a batch, in the order of their numbers."""
    numbers = sorted(int(found[1]) for name in batch if (found := re.fullmatch(rf"{kind}_(\d+)", name)))
    return [f"{kind}_{number}" for number in numbers]


def _may_read(loss):
    """Names of all tensors that a loss or its terms read if they are there."""
    terms = getattr(loss, "terms", [])
    return {*loss.reads, *loss.optional_names.values()}.union(*map(_may_read, terms))
