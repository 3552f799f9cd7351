"""Checkpoints of other libraries in a local folder, recognised by what their own files declare."""

import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from safetensors.numpy import save_file

from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.layers import SimilarityHead
from kzoo.layers.patch_embedding import as_size
from kzoo.preprocessing import ImageSteps, Preprocessor, Tokenizer
from kzoo.preprocessing.preprocessor import TOKENIZER_FILE
from kzoo.presets import folder as preset_folder
from kzoo.weights import TensorFiles, collect_tensors, load_tensors, open_clip, transformers_clip, transformers_siglip

# how a tower computes, and where the scale starts and ends: no other library's config says these
UNSTORED = ("name", "dtype", "trainable", "fused", "scale", "max_scale")
CLASSES = {
    "image_encoder": VisionTransformer,
    "text_encoder": TextTransformer,
    "similarity": SimilarityHead,
    "images": ImageSteps,
}
STEPS_FILE = "preprocessor_config.json"


@dataclass(frozen=True)
class Format:
    """One layout: the file that declares it, and the module of `kzoo.weights` that reads it."""

    name: str
    file: str
    key: str  # of the declaration
    value: object  # that the key has, or None for any
    module: ModuleType


FORMATS = (
    Format("transformers", "config.json", "model_type", "clip", transformers_clip),
    Format("transformers", "config.json", "model_type", "siglip", transformers_siglip),
    Format("open_clip", "open_clip_config.json", "model_cfg", None, open_clip),
)


@dataclass
class Checkpoint:
    """A folder of another library: its format and its config."""

    folder: Path
    title: str
    format: Format
    config: dict

    def row(self):
        """The complete row that its config describes."""
        row = self.format.module.read_row(self.config, _read_json(self.folder / STEPS_FILE))
        return row | {"preset": re.sub(r"\W+", "_", self.title)}  # Keras takes no other signs in names

    def check(self, row):
        """Stops where a row of a table and the checkpoint's own config describe different towers."""
        own = self.row()
        for tower in ("image_encoder", "text_encoder"):
            for key in own[tower].keys() & row[tower].keys():
                if _plain(own[tower][key]) != _plain(row[tower][key]):
                    raise ValueError(
                        f"{row['preset']} has {tower} {key}={row[tower][key]!r}, but the checkpoint in {self.folder} "
                        f"says {own[tower][key]!r}; open the folder itself to go by its config."
                    )

    def preprocessor(self, row):
        """Image steps of its config, vocabulary of its files, if they are there."""
        images = ImageSteps(row["image_encoder"]["image_size"], **row["images"])
        length, rules = row["text_encoder"]["context_length"], row["tokenizer"]
        tokenizer = None  # said when a text is to be read: token ids need no vocabulary
        if rules["kind"] == "clip_bpe":
            tokenizer = self._clip_tokenizer(length, rules)
        return Preprocessor(images, tokenizer, {"source": str(self.folder), "context_length": length})

    def _clip_tokenizer(self, length, rules):
        try:
            return Tokenizer.from_file(self.folder, length, rules["pad_id"], rules["clean"])
        except FileNotFoundError:
            return None

    def fill(self, model):
        """Put the weights of its file into a model of `row()`."""
        module = self.format.module
        tensors = TensorFiles(self.folder, module.STEM)
        load_tensors(module.entries(self.config), module.DROP, model, tensors, self.folder)


def recognise(folder, title=None):
    """The checkpoint of another library in a folder, or None.

    A folder may hold one model in two layouts; the first of `FORMATS` that has its weights there is taken.

    Args:
        folder: path.
        title: what to call the model; default the name of the folder.

    Raises:
        ValueError: the folder declares a model that this version does not read.
    """
    found = _declared(folder, title or folder.resolve().name)
    with_weights = [each for each in found if any(folder.glob(f"{each.format.module.STEM}.safetensors*"))]
    return next(iter(with_weights or found), None)


def weight_stems(folder):
    """Names, without endings, that the weights of the layouts declared in a folder have."""
    return [each.format.module.STEM for each in _declared(folder, folder.name)]


def _declared(folder, title):
    found, model_type = [], None
    for format in FORMATS:
        config = _read_json(folder / format.file)
        if format.key in config and format.value in (None, config[format.key]):
            found.append(Checkpoint(folder, title, format, config))
        model_type = config.get("model_type", model_type)
    if model_type and not found:
        known = [format.value for format in FORMATS if format.key == "model_type"]
        raise ValueError(
            f"{folder} declares a model of transformers with model_type {model_type!r}; this version reads "
            f"{', '.join(known)}, and CLIP of open_clip."
        )
    return found


def _plain(value):
    return list(value) if isinstance(value, (list, tuple)) else value


def _read_json(path):
    """Content of a JSON file; {} where there is none."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object.")
    return content


def save_checkpoint(model, folder, name):
    """Write a model as another library stores it: its config, `*.safetensors`, `tokenizer.json`.

    The config is read back before anything is written: where it would describe another model than this one,
    nothing is.

    Args:
        model: a `DualEncoder` with a preprocessor.
        folder: path; made if it is not there.
        name: `"transformers"` or `"open_clip"`.

    Raises:
        ValueError: a format that is not known, or that cannot hold this model; the sentence says why.
    """
    candidates = [format for format in FORMATS if format.name == name]
    if not candidates:
        known = dict.fromkeys(format.name for format in FORMATS)
        raise ValueError(f"format {name!r} is unknown; choose one of kzoo, {', '.join(known)}.")
    preset_folder.check_preprocessor(model)
    tokenizer = model.preprocessor.tokenizer
    row = preset_folder.model_config(model) | {
        "images": model.preprocessor.images.get_config(),
        "tokenizer": {"pad_id": tokenizer.pad_id if tokenizer else 0},
    }
    row |= {part: _complete(part, row[part]) for part in CLASSES}
    refusals = []
    for format in candidates:
        files, refusal = _described(format, row)
        if refusal is None:
            break
        refusals.append(refusal)
    else:
        raise ValueError(f"this model cannot be written in the format of {name}: {'; '.join(refusals)}.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = collect_tensors(format.module.entries(files[format.file]), model)
    save_file(tensors, folder / f"{format.module.STEM}.safetensors", metadata={"format": "pt"})
    if tokenizer is not None:
        (folder / TOKENIZER_FILE).write_text(tokenizer.to_json(), "utf-8")
    for file, content in files.items():
        (folder / file).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _described(format, row):
    """The config files of a row in a format, and what they do not say of it (None if they say all)."""
    try:
        files = format.module.write_config(row)
        again = format.module.read_row(files[format.file], files.get(STEPS_FILE, {}))
    except (ValueError, KeyError) as error:
        return None, f"{format.value or format.name}: {error}"
    for part in CLASSES:
        got = _complete(part, again[part])
        for key, value in row[part].items():
            if key not in UNSTORED and got[key] != value:
                return None, f"{format.value or format.name} has no {part} with {key}={value!r}, only {got[key]!r}"
    return files, None


def _complete(part, config):
    """A config with the defaults of its class, in one spelling."""
    parameters = inspect.signature(CLASSES[part].__init__).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    config = {key: _plain(value) for key, value in (defaults | config).items()}
    if "mlp_dim" in config:
        config["mlp_dim"] = config["mlp_dim"] or 4 * config["width"]
    if part == "images":
        config["image_size"] = None  # the tower's
    elif "image_size" in config:
        config["image_size"] = list(as_size(config["image_size"]))
    if config.get("pool") == "last":
        config["eot_id"] = None  # nobody reads it
    return config
