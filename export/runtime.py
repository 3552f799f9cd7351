"""Runs an exported model with numpy, onnxruntime (or OpenVINO, or LiteRT), tokenizers and Pillow: never with Keras.

Example:
    >>> from kzoo.export import runtime
    >>> model = runtime.load("my_clip_onnx")
    >>> model.classify(["cat.jpg"], ["cat", "dog"])
"""

from pathlib import Path

import numpy as np

from kzoo.arguments import FLAG, NAME, PATH, able, instance, sequence, takes, whole
from kzoo.export.decoder import GraphDecoder
from kzoo.export.formats import FORMATS
from kzoo.export.manifest import MANIFEST_FILE, names, read_manifest, shared_inputs
from kzoo.export.sessions import Sessions
from kzoo.files.opening import check_inside, check_regular, home_of
from kzoo.files.words import said_by
from kzoo.files.writing import readable
from kzoo.inference.caption import Writer
from kzoo.inference.embed import BATCH_SIZE, Embedder
from kzoo.preprocessing import Preprocessor
from kzoo.types import Array

MOST_THREADS = 1024  # which are all started as a graph is opened


@takes(
    folder=PATH,
    providers=sequence(NAME | instance(tuple, "a pair"), "a list of the names of providers, or of devices"),
    threads=whole(1, MOST_THREADS),
    session_options=able("items", "a dict") | able("intra_op_num_threads", "an onnxruntime.SessionOptions"),
    verify=FLAG,
)
def load(folder, providers=None, threads=None, session_options=None, verify=True) -> "Runtime":
    """Open a folder that `model.export(folder)` wrote, of format `"onnx"`, `"openvino"` or `"litert"`.

    Args:
        folder: path of the export.
        providers: onnxruntime execution providers, or devices of OpenVINO, such as `["GPU"]`; default the CPU.
        threads: most threads that a graph runs on, such as the cores of a container; default all cores of the machine.
        session_options: dict of attributes of `onnxruntime.SessionOptions`, such as `{"enable_mem_pattern": False}`, or
            such an object; for OpenVINO dict of its properties, such as `{"INFERENCE_PRECISION_HINT": "bf16"}`.
        verify: whether graphs and vocabulary must be those that the manifest was written with, by their fingerprints.
            False takes them as they are, for those who have put another file there.

    Returns:
        `Runtime` with `encode_image`, `encode_text`, `classify` and `similarity`, as on the model; of a captioner a
        `CaptionRuntime`, with `caption` and `generate` too.

    Raises:
        ImportError: what runs the format is not installed; the sentence names the extra.
        ValueError: no export, an export of another format, one with files missing or of another export; `threads` that
            is no number of threads, an option that the library does not have.

    Each graph is opened when it is first used, by whichever thread; its files must still be there then, unchanged. A
    runtime can be pickled: the process that gets it opens the folder anew.
    """
    folder = readable(Path(folder).absolute())
    manifest = read_manifest(folder)
    opened_by = FORMATS[manifest["format"]].opened_by
    if opened_by is not None:
        raise ValueError(
            f"{folder} is an export of format {manifest['format']}, which this runtime does not run; open it with "
            f"{opened_by}, or export with format='onnx'."
        )
    return opened(folder, manifest, providers, threads, session_options, verify)


def opened(folder, manifest, *options) -> "Runtime":
    """`load` for an export whose manifest is known, or not written yet."""
    return (CaptionRuntime if "captions" in manifest else Runtime)(folder, manifest, *options)


def check_places(folder) -> None:
    """Stops at links out of an export, and at pipes and devices: the weights of a large graph lie in files beside it,
    or below, which onnxruntime opens by the names that the graph gives, and OpenVINO by the graph's own."""
    home = home_of(folder)
    for path in folder.rglob("*"):
        if path.is_symlink():
            check_inside(path, home)
        if path.exists() and not path.is_dir():
            check_regular(path)


def _check_embeddings(name, found, shape):
    """A graph may be of any model, and give anything under the names that its manifest says."""
    if found.dtype.kind != "f" or found.shape != shape:
        raise ValueError(
            f"{name} gives {found.dtype} of shape {found.shape}, but {MANIFEST_FILE} says embeddings of shape {shape}; "
            "it is the graph of another model."
        )
    if not np.isfinite(np.vdot(found, found)):
        raise ValueError(f"{name} gives embeddings that are not finite.")


class Runtime(Embedder):
    """An exported dual encoder; made by `load`.

    Attributes:
        manifest: the content of manifest.json.
        preprocessor: the `kzoo.preprocessing.Preprocessor` of the model.
    """

    def __init__(self, folder, manifest, providers=None, threads=None, session_options=None, verify=True):
        self.manifest = manifest
        self.opened_with = folder, providers, threads, session_options, verify
        self.engine = FORMATS[manifest["format"]].run_by(folder, manifest, providers, threads, session_options)
        check_places(folder)
        self.embed_dim = self.manifest["embed_dim"]
        made = self.manifest["preprocessor"]
        self.preprocessor = None if made is None else Preprocessor.load(folder, made, verify)
        self.sessions = Sessions(self.engine, verify)

    def __reduce__(self) -> tuple:
        if not isinstance(self.opened_with[3], dict | None):
            raise TypeError(
                "a runtime with an onnxruntime.SessionOptions object cannot be sent to another process; give load() "
                "threads=, or the options as a dict."
            )
        return load, self.opened_with

    def __repr__(self) -> str:
        graphs, quantized = ", ".join(self.manifest["graphs"]), self.manifest.get("quantized") or {}
        dtype = quantized.get("to", self.manifest.get("dtype", "float32"))
        return f"<{type(self).__name__} of {self.manifest['preset']}: {graphs}; {dtype}, from {self.opened_with[0]}>"

    def run_graph(self, name, arrays, outputs) -> list:
        """What a graph gives for a dict that holds its inputs: a list of arrays, those called `outputs`."""
        inputs = names(self.manifest["graphs"][name]["inputs"])
        lacking = [key for key in inputs if key not in arrays]
        if lacking:
            raise ValueError(f"{name} reads {', '.join(inputs)}, but {', '.join(lacking)} is not given.")
        session = self.sessions[name]
        try:
            return session.run(outputs, {key: arrays[key] for key in inputs})
        except Exception as error:  # each library has classes of its own for all that can be wrong
            raise ValueError(f"{name} cannot be run on what it was given: {said_by(error)}") from error

    def embed_batch(self, batch) -> Array:
        """Embeddings `(rows, embed_dim)` of a batch of one modality."""
        return self.embed_arrays("text" if "token_ids" in batch else "image", batch)

    def embed_arrays(self, modality, arrays) -> Array:
        """Embed what needs no preprocessor: float32 `(rows, embed_dim)`, unit length.

        Args:
            modality: such as `"audio"`.
            arrays: dict of arrays by the names of the graph's inputs, see `manifest["graphs"]`.

        Raises:
            ValueError: a modality that the export has no graph for.

        Example:
            >>> served.embed_arrays("audio", {"audio": spectrograms}).shape
            (8, 512)
        """
        name = f"{modality}_encoder"
        if name not in self.sessions:
            towers = [each.removesuffix("_encoder") for each in self.sessions if each.endswith("_encoder")]
            raise ValueError(f"{self.manifest['preset']} has no {modality} tower: it embeds {', '.join(towers)} alone.")
        (found,) = self.run_graph(name, arrays, [f"{modality}_embeddings"])
        _check_embeddings(name, found, (len(next(iter(arrays.values()))), self.embed_dim))
        return found

    def scale_and_bias(self) -> tuple:
        return self.manifest["similarity"]["scale"], self.manifest["similarity"]["bias"]

    def similarity(self, images, texts, batch_size=BATCH_SIZE) -> Array:
        """`scale * cosine + bias` of every picture with every text: float32 array `(n, m)`."""
        return self.logits(images, texts, batch_size)


class CaptionRuntime(Writer, Runtime):
    """An exported captioner; made by `load`."""

    def embed_arrays(self, modality, arrays) -> Array:
        if f"{modality}_encoder" not in self.sessions:
            raise ValueError(f"{self.manifest['preset']} has no {modality} tower: it writes captions and embeds none.")
        return super().embed_arrays(modality, arrays)

    caption_vocab_size = property(lambda self: self.manifest["captions"]["vocab_size"])
    caption_start_id = property(lambda self: self.manifest["captions"]["start_id"])

    def open_decoder(self, batch) -> GraphDecoder:
        (tokens,) = self.run_graph("image_encoder", batch, ["image_tokens"])
        made = names(self.manifest["graphs"]["caption_memory"]["outputs"])
        memory = dict(zip(made, self.run_graph("caption_memory", {"image_tokens": tokens}, made)))
        known = self.manifest["captions"]
        session, run_into = self.sessions["caption_step"], self.engine.run_into
        shared = {*made} <= {*shared_inputs(self.manifest["graphs"]["caption_step"])}
        return GraphDecoder(session, run_into, memory, known["context_length"], known["pad_id"], shared)
