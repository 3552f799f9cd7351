"""A graph is compared with the model before it is left on disk."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from kzoo.export.formats import FORMATS
from kzoo.export.manifest import describe_towers
from kzoo.export.rounding import differences, lazily
from kzoo.files import disk
from kzoo.files.words import said_by

logger = logging.getLogger("kzoo")

# of several shapes and lengths, one of them longer than a context
PICTURES = [
    np.random.default_rng(side).integers(0, 256, (side, 2 * side // 3, 3), dtype="uint8") for side in (40, 64, 97)
]
TEXTS = ["", "a", "a photo of a red circle", "the small green square lies between two large blue triangles"]


class ExportError(RuntimeError):
    """The exporter failed, or the graph does not give the model's numbers. Nothing is left on disk."""


def reference(tower) -> Iterator:
    """What the running model gives on the tower's samples, one after the other: output name -> array."""
    return tower.run(tower.ask)


def run_by(format, folder, graphs, tower) -> Iterator:
    """What the engine of a format gives on the tower's samples, in the form of `reference`.

    Args:
        format: a name of `kzoo.export.formats.FORMATS`.
        folder: path of the graphs.
        graphs: of the manifest, as far as it goes.
        tower: the graph's.
    """
    own = {"graphs": {tower.name: graphs[tower.name]}}  # others may not be written yet
    session, names = FORMATS[format].run_by(folder, own).open(tower.name), list(tower.outputs)
    return tower.run(lambda inputs: dict(zip(names, session.run(names, inputs))))


@contextmanager
def exporting(name) -> Iterator:
    """Around the writing of a graph: what an exporter raises is an `ExportError`, but what is no fault of the graph,
    such as a package that is missing or a full disk.

    Args:
        name: of the graph, for the sentence.
    """
    try:
        yield
    except (ImportError, ExportError):
        raise
    except Exception as error:  # exporters raise anything at all
        if disk.number_of(error) is not None:
            raise
        raise ExportError(f"{name} could not be exported: {said_by(error)}.") from error


def written_together(format, model, towers, folder, write, verified) -> dict:
    """All graphs of a format whose files are written at once, each verified then.

    Args:
        format: a name of `kzoo.export.formats.FORMATS`.
        model, folder, verified: see `kzoo.export.onnx_graphs.write_onnx_graphs`.
        towers: of the model.
        write: function of model, towers and folder, which writes and gives the name of the exporter.

    Returns:
        dict: the `graphs` of the manifest.
    """
    graphs = describe_towers(towers, format)
    with exporting("the model"):
        exporter = write(model, towers, folder)
    for tower in towers:
        graphs[tower.name] |= verified(tower, exporter, run_by(format, folder, graphs, tower))
    return graphs


def asked_as_a_user(model, served, tolerance, rounding=None) -> dict:
    """The largest difference between what a model and its export make of pictures and texts as they are.

    Graphs may agree on arrays that the other half of the way never makes of a text: here the whole way is compared.

    Args:
        model: the model.
        served: the export, opened by `kzoo.export.runtime`.
        tolerance: bound on the difference.
        rounding: dtype whose rounding a model is forgiven, as in `worst_difference`; None forgives none.

    Returns:
        dict: `"encode_image"` and `"encode_text"`, where the model has them -> difference.

    Raises:
        ExportError: a difference above the bound.
    """
    preprocessor, asked, found = model.preprocessor, {}, {}
    if preprocessor is not None and preprocessor.images is not None and "image_encoder" in served.sessions:
        asked["encode_image"] = ("image_embeddings", PICTURES, preprocessor.encode_images)
    if preprocessor is not None and preprocessor.tokenizer is not None and "text_encoder" in served.sessions:
        asked["encode_text"] = ("text_embeddings", TEXTS, preprocessor.encode_texts)
    for method, (output, given, encode) in asked.items():

        def once(method=method, output=output, given=given, encode=encode):
            found = model.call(encode(given), training=False, only=(output,))
            return [{method: keras.ops.convert_to_numpy(found[output])}]

        with warnings.catch_warnings():  # texts may be longer than the context
            warnings.simplefilter("ignore")
            wanted, got = ([{method: getattr(each, method)(given)}] for each in (model, served))
            out = rounding and lazily(model, once, tolerance, rounding)
            found[method] = worst_difference(wanted, got, tolerance, "asked as a user asks", out)
    return found


def worst_difference(expected, got, tolerance, what, out=None) -> Any:
    """The largest difference over all batches and outputs: absolute, and relative to the largest value above 1.

    Args:
        expected, got: as `reference` gives them.
        tolerance: bound on the difference.
        what: the graph and the exporter, for the sentence.
        out: function of `kzoo.export.rounding.lazily`, asked where a difference is above the bound: rows that rounding
            decides are left out, if they are at most half of all; None: every row counts.

    Raises:
        ExportError: another shape, a value that is not finite, or a difference above the bound.
    """
    worst, rows, forgiven, problem = 0.0, 0, [], None
    for number, (wanted, found) in enumerate(zip(expected, got, strict=True)):
        for name, values in wanted.items():
            batch = len(values)
            if found[name].shape != values.shape:
                raise ExportError(
                    f"{what}: at batch {batch} the output {name} has shape {found[name].shape}, not {values.shape}."
                )
            apart = differences(values, found[name])
            beyond = ~(apart <= tolerance)  # also catches NaN
            if beyond.any():
                problem = problem or ExportError(
                    f"{what}: at batch {batch} the output {name} differs from the model by {float(np.max(apart)):.2e}, "
                    f"more than the bound {tolerance:.0e}."
                )
                excused = np.zeros(batch, bool) if out is None or not np.isfinite(apart).all() else out()[number][name]
                if (beyond & ~excused).any():
                    raise problem
                forgiven += [*apart[beyond]]
            rows, worst = rows + batch, max([worst, *apart[~beyond].tolist()])
    if 2 * len(forgiven) > rows:
        raise problem
    if forgiven:
        logger.warning(
            "%s: %d of %d rows, which differ by up to %.1e, were left out of the comparison: the last bits of the "
            "weights decide what the model itself gives there.",
            *(what, len(forgiven), rows, max(forgiven)),
        )
    return worst
