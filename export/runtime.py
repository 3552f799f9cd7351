"""Runs an exported model with numpy, onnxruntime, tokenizers and Pillow: Keras is never imported.

Example:
    >>> from kzoo.export import runtime
    >>> model = runtime.load("my_clip_onnx")
    >>> model.classify(["cat.jpg"], ["cat", "dog"])
"""

from pathlib import Path

from kzoo.embedder import BATCH_SIZE, Embedder
from kzoo.export.manifest import read_manifest
from kzoo.extras import require
from kzoo.preprocessing import Preprocessor


def load(folder, providers=None):
    """Open a folder that `model.export(folder, format="onnx")` wrote.

    Args:
        folder: path of the export.
        providers: onnxruntime execution providers; default the CPU.

    Returns:
        `Runtime` with `encode_image`, `encode_text`, `classify` and `similarity`, as on the model.

    Raises:
        ValueError: no export, an export of another format, or one with files missing.
    """
    return Runtime(Path(folder), providers)


class Runtime(Embedder):
    """An exported dual encoder; made by `load`.

    Attributes:
        manifest: the content of manifest.json.
        preprocessor: the `kzoo.preprocessing.Preprocessor` of the model.
    """

    def __init__(self, folder, providers=None):
        self.manifest = read_manifest(folder)
        if self.manifest["format"] != "onnx":
            raise ValueError(
                f"{folder} is an export of format {self.manifest['format']}, which this runtime does not run; open "
                "it with tf.saved_model.load, or export with format='onnx'."
            )
        onnxruntime = require("onnxruntime", "runtime", "Running an exported model")
        self.embed_dim = self.manifest["embed_dim"]
        self.preprocessor = Preprocessor.load(folder, self.manifest["preprocessor"])
        self.sessions = {}  # name of the first input -> (session, names of the inputs, name of the output)
        for graph in self.manifest["graphs"].values():
            path = folder / graph["file"]
            if not path.is_file():
                raise ValueError(f"{folder} lacks {graph['file']}; the export is incomplete.")
            session = onnxruntime.InferenceSession(str(path), providers=providers or ["CPUExecutionProvider"])
            names = [each["name"] for each in graph["inputs"]]
            self.sessions[names[0]] = (session, names, graph["outputs"][0]["name"])

    def embed_batch(self, batch):
        (first,) = (name for name in batch if name in self.sessions)
        session, names, output = self.sessions[first]
        return session.run([output], {name: batch[name] for name in names})[0]

    def scale_and_bias(self):
        return self.manifest["similarity"]["scale"], self.manifest["similarity"]["bias"]

    def similarity(self, images, texts, batch_size=BATCH_SIZE):
        """`scale * cosine + bias` of every picture with every text: float32 array `(n, m)`."""
        return self.logits(images, texts, batch_size)
