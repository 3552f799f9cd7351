"""One way to give a teacher: data with what it says of each row beside them."""

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.adaptation.distillation.teacher_embeddings import TeacherEmbeddings
from kzoo.arguments import COUNT, shown, takes
from kzoo.evaluation.directions import directions
from kzoo.inference.embed import BATCH_SIZE, in_batches
from kzoo.inference.stored import SUFFIX
from kzoo.types import Array

READS = {"image": ("images",), "text": ("token_ids", "padding_mask")}  # what a batch calls the arrays of each
TEACHER = "teacher_"


@takes(batch_size=COUNT)
def with_teacher(data, teacher, batch_size=BATCH_SIZE) -> Any:
    """Data to distil with: the same batches, and `teacher_image_embeddings` and `teacher_text_embeddings` of each row.

    All losses that read a teacher read them, such as `LogitDistillation` (TinyCLIP's affinity mimicking, open_clip's
    distillation) and `EmbeddingDistillation` (DCLIP). The teacher is asked once for each picture and each text, now;
    it is no part of the student, so that nothing of it is trained, saved or exported, and it need not fit into memory
    beside it. It reads pictures without augmentation. One that sees what the student sees, at each step anew, is
    `kzoo.training.FixedTeacher`.

    Args:
        data: what `fit` of the student shall read: of `kzoo.data.pairs` or `kzoo.data.shards`, or a dict of arrays,
            `images`, `token_ids` and `padding_mask`. The arrays of a dict are read by the teacher as they are, so its
            pictures must have that size and its vocabulary be the same; what it reads of its own is `teacher_images`,
            `teacher_token_ids`.
        teacher: a model; an export opened by `kzoo.export.runtime`; the folder of either, or the name of a preset; or
            stored embeddings: `TeacherEmbeddings`, their file, such as `kzoo embed` writes, or a dict with
            `image_embeddings` and `text_embeddings`, a row for each of `data` in its order.
        batch_size: rows per forward pass of the teacher.

    Returns:
        a data set of the same class, or a dict. Losses read the teacher's embeddings at unit length, of any width; its
        temperature is `1 / teacher.scale_and_bias()[0]`.

    Raises:
        TypeError: data or a teacher of another kind.
        ValueError: embeddings of other rows, or a file or a folder of something else.

    Example:
        >>> data = kzoo.data.pairs("photos.csv", student.preprocessor, batch_size=256)
        >>> student.compile("clip_adamw", loss=InfoNCE() + LogitDistillation(teacher_temperature=0.01))
        >>> student.fit(kzoo.adaptation.with_teacher(data, "clip_large_onnx"), epochs=10)

    Reference:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531.
    """
    stored = teacher
    if isinstance(teacher, (str, os.PathLike)):
        stored = TeacherEmbeddings.load(teacher) if Path(teacher).suffix == SUFFIX else opened_teacher(teacher)
    if isinstance(data, dict):
        return data | _of_arrays(data, stored, batch_size)
    if not all(hasattr(data, each) for each in ("beside", "pair", "in_order")):
        raise TypeError(
            f"data is {shown(data, True)}; give what kzoo.data.pairs or kzoo.data.shards gives, or a dict of arrays."
        )
    if isinstance(stored, dict):
        stored = _in_order_of(data, stored)
    elif hasattr(stored, "encode_image"):
        stored = TeacherEmbeddings.of(stored, data, batch_size)
    if not isinstance(stored, TeacherEmbeddings):
        raise TypeError(no_teacher(stored))
    found = copy.copy(data)
    found.beside = stored.beside
    return found


def no_teacher(given) -> str:
    """The sentence for what is no teacher."""
    return f"teacher is {shown(given, True)}; give a model, an export or its folder, or stored embeddings."


def opened_teacher(place) -> Any:
    """An export in its runtime, or a model by its folder or name."""
    from kzoo.export.manifest import MANIFEST_FILE
    from kzoo.files.writing import readable

    if Path(place).is_dir():
        folder = readable(Path(place))
        if (folder / MANIFEST_FILE).exists() and not (folder / "config.json").exists():
            from kzoo.export import runtime

            return runtime.load(place)
    from kzoo.presets.loader import from_preset

    return from_preset(place)


def _of_arrays(data, teacher, batch_size) -> dict:
    """What a teacher says of arrays, a dict of arrays."""
    if not data:
        raise ValueError("data is empty; give a dict of arrays, such as images and token_ids.")
    if isinstance(teacher, dict):
        return {f"{TEACHER}{name}": rows for name, rows in _rows_of(teacher, _count(data)).items()}
    if not hasattr(teacher, "embed_batch"):
        raise TypeError(no_teacher(teacher))
    found = {}
    for modality, names in READS.items():
        own = {name: data.get(f"{TEACHER}{name}", data.get(name)) for name in names}
        own = {name: np.asarray(array) for name, array in own.items() if array is not None}
        if names[0] in own:
            count = len(own[names[0]])
            found[f"{TEACHER}{modality}_embeddings"] = in_batches(
                count,
                batch_size,
                lambda part, own=own: {name: each[part] for name, each in own.items()},
                teacher.embed_batch,
            )
    if not found:
        raise ValueError(f"data has {', '.join(data)}, of which a teacher reads nothing; give images or token_ids.")
    return found


def _count(data) -> int:
    return len(next(iter(data.values())))


def _rows_of(stored, count) -> dict[str, Array]:
    """Embeddings that a dict holds in the order of the rows, looked at."""
    known = [f"{modality}_embeddings" for modality in READS]
    unknown = next((name for name in stored if name not in known), None)
    if unknown is not None or not stored:
        raise ValueError(
            f"teacher is a dict of {', '.join(map(str, stored)) or 'nothing'}; give {' and '.join(known)}."
        )
    rows = {name: np.asarray(value) for name, value in stored.items()}
    for name, each in rows.items():
        if each.dtype.kind != "f" or each.ndim != 2 or len(each) != count:
            raise ValueError(
                f"the teacher's {name} are {each.dtype} of shape {each.shape}; give a float array (rows, dim) of the "
                f"{count} rows of the data."
            )
    return {name: directions(each.astype("float32"), f"the teacher's {name}") for name, each in rows.items()}


def _in_order_of(data, stored) -> TeacherEmbeddings:
    """Embeddings in the order of the pairs of a set, by the names of these."""
    from kzoo.adaptation.distillation.teacher_embeddings import name_of

    count = len(data.rows) if data.image_ids is None else len(data.image_ids)
    rows, options = _rows_of(stored, count), {}
    places = [data.pair(number) for number in range(count)]
    if "image_embeddings" in rows:
        names = [name_of(data.rows[place]) for place, _ in places]
        options |= {"image_embeddings": rows["image_embeddings"], "image_files": names}
    if "text_embeddings" in rows:
        texts = [data.rows[place].captions for place, _ in places]
        several = next((place for place, own in enumerate(texts) if len(own) > 1 and places[place][1] is None), None)
        if several is not None:
            raise ValueError(
                f"row {several} of the data has {len(texts[several])} captions, of which a dict has one embedding; "
                "give TeacherEmbeddings, which know texts by themselves, or make the data with every_caption=True."
            )
        own = [captions[place or 0] for captions, (_, place) in zip(texts, places)]
        options |= {"text_embeddings": rows["text_embeddings"], "texts": own}
    return TeacherEmbeddings(**options)
