"""One tower, trained by what its views have in common."""

import re
from typing import Self

import keras
import numpy as np
from keras import ops

from kzoo.arguments import COUNT, takes
from kzoo.encoders.as_tower import as_tower
from kzoo.inference.embed import BATCH_SIZE, in_batches
from kzoo.layers.numerics import l2_normalize
from kzoo.layers.projector import Projector
from kzoo.models.answers import Rule, as_it_is
from kzoo.models.checks import check_rows, contents
from kzoo.models.embedding_model import EmbeddingModel
from kzoo.models.slots import Slot
from kzoo.types import Array

MIXED = "mixed_view"  # a view that is made of several pictures
VIEW = re.compile(rf"(view|local)_\d+|{MIXED}")
ALIASES = {"query": "view_1", "key": "teacher_view_2"}  # what MoCo calls them


@keras.saving.register_keras_serializable(package="kzoo")
class SelfSupervised(EmbeddingModel):
    """An encoder and a projector that any self-supervised loss trains from augmented views (SimCLR, MoCo, DINO).

    The projector serves the loss alone: what one keeps is the encoder, `model.encoder`, and its embeddings, `encode`.
    There is no similarity head: a temperature is that of its loss. `model.save("model.keras")` keeps all of it.

    Args:
        encoder: a tower of kzoo, of pictures or texts, or what `kzoo.encoders.as_tower` makes one of, such as a keras
            model or layer from one array to a tensor `(batch, width)`, built.
        projector: layer from the embedding to the space of the loss; default `Projector((512, 128))`; False for none.
        teacher: an `EMATeacher` for losses that read a momentum teacher, a `FixedTeacher`, or None. The first copies
            encoder, projector and heads.
        loss: list of terms as in a preset row; what `compile` takes when it is given none. Default `NTXent`.
        preprocessor: a `Preprocessor`, for `encode_image`, presets and export, or None to work with arrays only.
        heads: list of `kzoo.layers.Head`, as in `DualEncoder`; `*` stands for each view.

    Inputs:
        dict with the views `view_1`, `view_2`, ..., each as the encoder takes it, perhaps a `mixed_view`, and for
        multi-crop `local_1`, ..., pictures of another size: a ViT resamples its positions for them, towers that average
        a feature map take them as they are. What a text tower reads beside ids is called `view_1_padding_mask`. Views
        of one shape go through the encoder together, so batch norms see them all. `view_1_masked` bool
        `(batch, patches)` hides patches from the student, `view_1_kept` int `(batch, kept)` says which it sees. Other
        entries, such as `labels`, are there for heads and the loss.

    Returns:
        dict of float32 tensors `(batch, dim)`, not normalised: projections `view_1`, `view_2`, ..., `local_1`, ....
        By request (`outputs=("student",)`), and in training what the loss reads: `student` `(views, batch, dim)`, all
        of these in one tensor, the local ones last; all that `ContrastiveModel` lists, such as `view_1_tokens`. With a
        teacher its projections of the same views `teacher_view_1`, ..., and `teacher` `(global views, batch, dim)`; and
        for the losses of queues `query`, which is `view_1`, and `key`, which is `teacher_view_2`. Where tokens are as
        wide as the embedding, `view_1_token_projections` `(batch, patches, dim)` is the projector on each of them but a
        class token: iBOT's shared head.

    Raises:
        ValueError: an encoder that does not say how wide its embedding is; batches that do not fit, see the sentence;
            at `compile` a loss that reads a teacher where there is none, or the other way around.

    Example:
        >>> model = kzoo.SelfSupervised(encoder)
        >>> model.compile("clip_adamw", loss=kzoo.losses.NTXent(temperature=0.5))
        >>> model.fit(kzoo.data.views(images, ImageSteps(32), batch_size=256), epochs=100)
        >>> features = model.encode(images)  # for a linear probe
        >>> moco = kzoo.SelfSupervised(encoder, teacher=kzoo.training.EMATeacher(0.999))
        >>> moco.compile("clip_adamw", loss=kzoo.losses.QueueContrastive(dim=128))

    Reference:
        Chen et al., SimCLR, 2020, arXiv 2002.05709; He et al., MoCo, 2019, arXiv 1911.05722; multi-crop: Caron et al.,
        SwAV, 2020, arXiv 2006.09882, and DINO, 2021, arXiv 2104.14294.
    """

    kind = "self_supervised"
    tower_names = {"view": "encoder"}
    batch_axes = {"student": 1, "teacher": 1}  # (views, batch, dim)

    def __init__(self, encoder, projector=None, teacher=None, loss=None, preprocessor=None, heads=(), **kwargs):
        super().__init__(autocast=False, **kwargs)
        # the second named behind the first: a file has weights under the first name that Keras meets them by
        self.encoder, self.tower = encoder, as_tower(encoder, called="the encoder")
        if projector is None:
            projector = Projector((512, 128), dtype=self.dtype_policy, name="projector")
        self.projector = projector or None
        if self.projector is not None and not self.projector.built:
            self.projector.build((None, self.tower.embed_dim))
        self.settle(None, heads, teacher, preprocessor, loss or ({"loss": "NTXent"},))

    @classmethod
    def from_parts(cls, towers, **options) -> Self:
        (encoder,) = towers.values()
        return cls(encoder, **options)

    def modalities(self) -> dict:
        return {"view": self.tower}

    def towers(self) -> dict:
        return {f"{self.tower.modality}_encoder": self.tower}

    def parts(self) -> dict:
        projector = {} if self.projector is None else {"projector": self.projector}
        return {"encoder": self.tower} | projector | super().parts()

    # -- forward --
    def wants(self, batch) -> str:
        return (
            f"a batch has {contents(batch)}, but a dict with views is expected: 'view_1', 'view_2', ... as the "
            "encoder takes them, 'local_1', ... for smaller crops; kzoo.data.views makes such batches."
        )

    def exported(self) -> list:
        return [self._slot("view_1")]

    def _slot(self, view, any_size=False):
        names = [each.name for each in self.tower.inputs]
        entries = (view, *(f"{view}_{name}" for name in names[1:]))
        return Slot(view, "view", dict(zip(names, entries)), any_size)

    def slots(self, batch) -> list:
        smaller = "any_size" in self.tower.options
        found = [self._slot(view) for view in _views(batch, "view")]
        found += [self._slot(view) for view in (MIXED,) if view in batch]
        found += [self._slot(view, smaller) for view in _views(batch, "local")]
        return found if any(slot.name.startswith("view") for slot in found) else []

    def rules(self, batch) -> list:
        whole, local = _views(batch, "view"), _views(batch, "local")
        projected = "{}" if self.projector is not None else "{}_features"
        of_student = tuple(map(projected.format, (*whole, *local)))
        of_teacher = tuple(f"teacher_{name}" for name in of_student[: len(whole)])
        rules = [Rule(of_student, ("student",), _stacked), Rule(of_teacher, ("teacher",), _stacked)]
        if self.projector is not None:
            rules.append(Rule(("*_features",), ("*",), self._projected, "projector"))
            rules += [Rule((of,), (name,), as_it_is) for name, of in ALIASES.items()]
            if self._projects_tokens():
                rules.append(Rule(("*_tokens",), ("*_token_projections",), self._projected_tokens, "projector"))
        return rules

    @staticmethod
    def _projected(projector, features, training):
        return (ops.cast(projector(features, training=training), "float32"),)

    def _projected_tokens(self, projector, tokens, training):
        return self._projected(projector, tokens[..., self.tower.prefix_tokens :, :], training)

    def find_shape(self, name, known) -> tuple:
        if self.projector is not None and (name == "*" or VIEW.fullmatch(name)):  # a projection has a view's own name
            return self.projector.compute_output_shape((None, self.tower.embed_dim))
        return super().find_shape(name, known)

    def shapes(self) -> dict:
        known = super().shapes()
        if self._projects_tokens():
            shape = (None, None, self.tower.token_dim)
            known["*_token_projections"] = self.projector.compute_output_shape(shape)
        return known

    def _projects_tokens(self):
        return self.projector is not None and self.tower.token_dim == self.tower.embed_dim

    def default_outputs(self, batch, slots) -> list:
        return [slot.name if self.projector is not None else f"{slot.name}_features" for slot in slots]

    def predicted(self, batch) -> list[str]:
        return self.default_outputs(batch, self.slots(batch))

    # -- train --
    def check_loss(self, loss) -> None:
        teachers = sorted(
            name for name in loss.may_read(self.any_number()) if name == "key" or name.split("_")[0] == "teacher"
        )
        if teachers and self.teacher is None:
            raise ValueError(
                f"the loss reads {teachers[0]!r}, but the model has no teacher; build it with one, such as "
                "teacher=kzoo.training.EMATeacher(0.996)."
            )
        super().check_loss(loss)

    # -- use --
    @takes(batch_size=COUNT)
    def encode(self, inputs, batch_size=BATCH_SIZE) -> Array:
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
        names = [each.name for each in self.tower.inputs]
        given = dict(zip(names, arrays))
        check_rows(given)
        self.tower.check(given, {names[0]: "inputs"} if names[0] not in ("images", "token_ids") else None)
        embed = self.compiled_once("embed", _features)
        return in_batches(
            len(arrays[0]),
            batch_size,
            lambda part: dict(enumerate(array[part] for array in arrays)),
            lambda batch: ops.convert_to_numpy(embed(*batch.values())),
        )

    def embed_batch(self, batch) -> Array:
        modality = "image" if "images" in batch else "text"
        if self.tower.modality != modality:
            raise ValueError(f"{self.name} has no {modality} tower: its encoder reads {self.tower.inputs[0].name}.")
        names = [each.name for each in self.tower.inputs]
        found = self.encode(tuple(batch[name] for name in names if name in batch), len(batch[names[0]]))
        return ops.convert_to_numpy(l2_normalize(found))


def _views(batch, kind):
    """Names `kind_1`, `kind_2`, ... of a batch, in the order of their numbers."""
    numbers = sorted(int(found[1]) for name in batch if (found := re.fullmatch(rf"{kind}_(\d+)", name)))
    return [f"{kind}_{number}" for number in numbers]


def _stacked(*views, training):
    return (ops.stack(views),)  # (views, batch, dim)


def _features(model):
    return lambda *arrays: ops.cast(model.tower(*arrays, training=False)["embedding"], "float32")
