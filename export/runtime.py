"""Runs an exported model with numpy, onnxruntime, tokenizers and Pillow: Keras is never imported.

Example:
    >>> from kzoo.export import runtime
    >>> model = runtime.load("my_clip_onnx")
    >>> model.classify(["cat.jpg"], ["cat", "dog"])
"""

from pathlib import Path

from kzoo.export.manifest import MEMORY, read_manifest
from kzoo.export.onnx_decoder import OnnxDecoder
from kzoo.extras import require
from kzoo.inference.caption import Writer
from kzoo.inference.embed import BATCH_SIZE, Embedder
from kzoo.preprocessing import Preprocessor
from kzoo.types import Array


def load(folder, providers=None, threads=None, session_options=None) -> "Runtime":
    """Open a folder that `model.export(folder, format="onnx")` wrote.

    Args:
        folder: path of the export.
        providers: onnxruntime execution providers; default the CPU.
        threads: most threads that a graph runs on, such as the cores of a container; default all cores of the machine.
        session_options: dict of attributes of `onnxruntime.SessionOptions`, such as `{"enable_mem_pattern": False}`, or
            such an object.

    Returns:
        `Runtime` with `encode_image`, `encode_text`, `classify` and `similarity`, as on the model; of a captioner a
        `CaptionRuntime`, with `caption` and `generate` too.

    Raises:
        ValueError: no export, an export of another format, or one with files missing; `threads` that is no number of
            threads, an option that onnxruntime does not have.

    A runtime can be pickled: the process that gets it opens the folder anew.
    """
    folder = Path(folder).absolute()
    manifest = read_manifest(folder)
    return (CaptionRuntime if "captions" in manifest else Runtime)(
        folder, manifest, providers, threads, session_options
    )


def _options(onnxruntime, threads, given):
    """The `onnxruntime.SessionOptions` of what `load` was given."""
    options = given if isinstance(given, onnxruntime.SessionOptions) else onnxruntime.SessionOptions()
    if threads is not None:
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads is {threads!r}, but a number of at least 1 is expected; None takes all cores.")
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    for name, value in ({} if options is given or given is None else dict(given)).items():
        if name not in dir(options):
            raise ValueError(f"onnxruntime has no session option {name!r}; see onnxruntime.SessionOptions.")
        setattr(options, name, value)
    return options


class Runtime(Embedder):
    """An exported dual encoder; made by `load`.

    Attributes:
        manifest: the content of manifest.json.
        preprocessor: the `kzoo.preprocessing.Preprocessor` of the model.
    """

    def __init__(self, folder, manifest, providers=None, threads=None, session_options=None):
        self.manifest = manifest
        self.opened_with = folder, providers, threads, session_options
        if self.manifest["format"] != "onnx":
            raise ValueError(
                f"{folder} is an export of format {self.manifest['format']}, which this runtime does not run; open "
                "it with tf.saved_model.load, or export with format='onnx'."
            )
        onnxruntime = require("onnxruntime", "runtime", "Running an exported model")
        self.embed_dim = self.manifest["embed_dim"]
        made = self.manifest["preprocessor"]
        self.preprocessor = None if made is None else Preprocessor.load(folder, made)
        options, self.sessions = _options(onnxruntime, threads, session_options), {}
        for name, graph in self.manifest["graphs"].items():
            path = folder / graph["file"]
            if not path.is_file():
                raise ValueError(f"{folder} lacks {graph['file']}; the export is incomplete.")
            self.sessions[name] = onnxruntime.InferenceSession(
                str(path), options, providers=providers or ["CPUExecutionProvider"]
            )

    def __reduce__(self) -> tuple:
        if not isinstance(self.opened_with[-1], dict | None):
            raise TypeError(
                "a runtime with an onnxruntime.SessionOptions object cannot be sent to another process; give load() "
                "threads=, or the options as a dict."
            )
        return load, self.opened_with

    def __repr__(self) -> str:
        graphs, dtype = ", ".join(self.manifest["graphs"]), self.manifest.get("dtype", "float32")
        return f"<{type(self).__name__} of {self.manifest['preset']}: {graphs}; {dtype}, from {self.opened_with[0]}>"

    def run_graph(self, name, arrays, outputs) -> list:
        """What a graph gives for a dict that holds its inputs: a list of arrays, those called `outputs`."""
        inputs = [each["name"] for each in self.manifest["graphs"][name]["inputs"]]
        return self.sessions[name].run(outputs, {key: arrays[key] for key in inputs})

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
        return self.run_graph(name, arrays, [f"{modality}_embeddings"])[0]

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

    def open_decoder(self, batch) -> OnnxDecoder:
        (tokens,) = self.run_graph("image_encoder", batch, ["image_tokens"])
        memory = dict(zip(MEMORY, self.run_graph("caption_memory", {"image_tokens": tokens}, list(MEMORY))))
        known = self.manifest["captions"]
        return OnnxDecoder(self.sessions["caption_step"], memory, known["context_length"], known["pad_id"])
