"""Checkpoints of other libraries in a local folder, recognised by what their own files declare."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kzoo.files.strict_json import check_content, read_object
from kzoo.files.words import on_one_line
from kzoo.preprocessing import Preprocessor
from kzoo.preprocessing.decoding import AS_TRAINED
from kzoo.preprocessing.vocabularies import KINDS
from kzoo.presets import schema
from kzoo.presets.build import complete, image_steps, parts_of, vocabulary_of
from kzoo.weights import TensorFiles, check_links, check_tensors, has_weights, load_tensors, open_clip, single_tower
from kzoo.weights.format import STEPS_FILE, Format
from kzoo.weights.formats import FORMATS
from kzoo.weights.other_files import check_adapter
from kzoo.weights.transformers_layout import CONFIG_FILE

PROCESSOR_FILE = "processor_config.json"  # of transformers 5: what tokenizer and image processor are made of
PIPELINE_FILE, MODULES_FILE = "model_index.json", "modules.json"
OTHER_LAYOUTS = {  # fields of a config.json -> what it is then
    ("audio_cfg",): "of CLAP (sound and text), which this version does not read",
    ("genlip_cfg",): "of GenLIP (texts written from pictures), which this version does not read",
    ("embed_dim", "vision_cfg", "text_cfg"): "the model_cfg of open_clip alone; write it, with the mean and std of its "
    'pixels, as open_clip_config.json: {"model_cfg": {...}, "preprocess_cfg": {"mean": [...], "std": [...]}}',
    ("architecture", "pretrained_cfg"): "of a tower of timm alone; this version opens those in models of open_clip",
}
UNREAD = {
    "eot_id": {"pool": ("end_of_text",)}
}  # what changes numbers only where another option has one of these values


@dataclass
class Checkpoint:
    """A folder of another library: its format and its config."""

    folder: Path
    title: str
    format: Format
    config: dict

    def row(self) -> dict:
        """The complete row that its config describes."""
        try:
            row = self.format.row(self.config, *steps_of(self.folder))
        except ValueError:
            raise
        except Exception as error:  # of what the fields say one by one, each rightly, but not together
            raise ValueError(f"the config in {self.folder} cannot be read: {on_one_line(repr(error))}.") from error
        row["images"] = {"decoding": AS_TRAINED} | row["images"]
        row |= {"preset": re.sub(r"\W+", "_", self.title)}  # Keras takes no other signs in names
        schema.check(row, f"the config in {self.folder}", whole_row=True)
        return row

    def check(self, row) -> None:
        """Stops where a row of a table and the checkpoint's own config describe different towers."""
        own, chosen = self.row(), row["weights"].get("overrides", {})
        for name in (name for name in parts_of(row) if name in own):
            theirs, ours = complete(own[name]), complete(row[name])
            # a config need not say of which pixels it is
            silent = {key for key in ("mean", "std") if key not in own[name]} | unread(row[name])
            for key in sorted(
                (theirs.keys() | ours.keys()) - silent - set(chosen), key=lambda key: (key != "kind", key)
            ):
                if plain(theirs.get(key)) != plain(ours.get(key)):
                    raise ValueError(
                        f"{row['preset']} has {name} {key}={ours.get(key)!r}, but the checkpoint in {self.folder} "
                        f"says {theirs.get(key)!r}; open the folder itself to go by its config."
                    )

    def images(self, row) -> dict:
        """The image steps of a row of a table, with what the repository itself says of them over it."""
        own = self.row()["images"]
        if self.format is open_clip.FORMAT:  # which may say one of them and not another
            said = open_clip.said_of_images(self.config)
            return row["images"] | {name: own[name] for name in said if name in own}
        return own if steps_of(self.folder)[0] else row["images"]

    def preprocessor(self, row) -> Preprocessor:
        """Image steps of its config, vocabulary of its files, if they are there."""
        rules, token_tower = row["tokenizer"], row.get("text_encoder") or row["text_decoder"]
        preprocessor = Preprocessor(image_steps(row), vocabulary=vocabulary_of(row) | {"source": self.title})
        if rules["kind"] in KINDS:
            try:
                preprocessor.open_vocabulary(self.folder)
            except FileNotFoundError:
                return preprocessor  # said when a text is to be read: token ids need no vocabulary
            check_end_of_text(preprocessor.tokenizer, token_tower, self.folder)
        return preprocessor

    def tensors(self) -> TensorFiles:
        """Its weights."""
        format = self.format
        return TensorFiles(self.folder, format.stem_in(self.folder), format.renames(self.config), format.endings)

    def check_tensors(self, tensors, model) -> None:
        """Stops with one report unless the weights fit a model of `row()`, which may be one of shapes only."""
        check_tensors(self.format.entries(self.config, tensors), self.format.drop, model, tensors, self.folder)

    def fill(self, tensors, model, adapt) -> None:
        """Put the weights into a model that they fit."""
        load_tensors(self.format.entries(self.config, tensors), model, tensors, adapt)


def steps_of(folder) -> tuple:
    """What the library's image processor is made of, of either file that it writes, in its order; and where."""
    whole = read_json(folder / PROCESSOR_FILE).get("image_processor")
    if isinstance(whole, dict):
        return whole, f"{PROCESSOR_FILE}, image_processor"
    return read_json(folder / STEPS_FILE), STEPS_FILE


def unread(tower) -> set:
    """Options of a tower that change no number of it, beside its others: they may differ from those of a checkpoint.

    Args:
        tower: config of a tower, in full.
    """
    needs = {name: options.items() for name, options in UNREAD.items()}
    return {
        name for name, each in needs.items() if any(tower.get(key, values[0]) not in values for key, values in each)
    }


def check_end_of_text(tokenizer, token_tower, folder) -> None:
    """Stops where the vocabulary of a folder ends texts with another id than the tower pools at."""
    pooled = token_tower.get("eot_id") if token_tower.get("pool", "end_of_text") == "end_of_text" else None
    if pooled not in (None, tokenizer.eot_id):
        raise ValueError(
            f"the vocabulary in {folder} ends texts with id {tokenizer.eot_id}, but the model looks for id {pooled}; "
            "it belongs to another model."
        )


def recognise(folder, title=None) -> Any:
    """The checkpoint of another library in a folder, or None.

    A folder may hold one model in two layouts; the first of `FORMATS` that has its weights there is taken.

    Args:
        folder: path.
        title: what to call the model; default the name of the folder.

    Raises:
        ValueError: the folder declares a model that this version does not read, or holds links that leave it.
    """
    check_links(folder, {name for format in FORMATS for name in format.own_configs})
    alone = single_tower.class_of(read_json(folder / CONFIG_FILE))
    if alone is not None and not (folder / open_clip.CONFIG_FILE).exists():
        raise ValueError(
            f"{folder} holds a {alone}, one tower and no whole model; kzoo.encoders.from_checkpoint({str(folder)!r}) "
            "opens it."
        )
    found = _declared(folder, title or folder.resolve().name)
    with_weights = [each for each in found if has_weights(folder, each.format.stem_in(folder), each.format.endings)]
    if not with_weights:
        check_adapter(folder)
    return next(iter(with_weights or found), None)


def weight_files(folder) -> list:
    """Patterns of the names that files of weights have in the layouts declared in a folder, best first."""
    return [each.format.weight_file for each in _declared(folder, folder.name)]


def _declared(folder, title):
    found, model_type = [], None
    for format in FORMATS:
        config = read_json(folder / format.file)
        if format.key in config and format.value in (None, config[format.key]):
            check_content(config, folder / format.file)
            config = format.completed(config, lambda name: read_json(folder / name))
            found.append(Checkpoint(folder, title, format, config))
        model_type = config.get("model_type", model_type)
    if not found:
        _refuse_other_layouts(folder)
    if model_type and not found:
        known = [format.value for format in FORMATS if format.key == "model_type"]
        raise ValueError(
            f"{folder} declares a model of transformers with model_type {model_type!r}; this version reads "
            f"{', '.join(known)}, and models of open_clip."
        )
    return found


def _refuse_other_layouts(folder):
    """Stops at a config that is of none of `FORMATS` and of no kzoo folder, but is known."""
    config = read_json(folder / CONFIG_FILE)
    if config.keys() & {"kzoo", "model_type"}:
        return
    if isinstance(config.get("_class_name"), str):
        raise ValueError(
            f"{folder} holds a {on_one_line(config['_class_name'])} of diffusers, which is no model of pictures and "
            "texts."
        )
    for file in (CONFIG_FILE, open_clip.CONFIG_FILE):
        held = read_json(folder / file)
        for fields, what in OTHER_LAYOUTS.items():
            if set(fields) <= held.keys():
                raise ValueError(f"{folder / file} has {' and '.join(fields)}, so it is {what}.")
    if (folder / MODULES_FILE).exists() and not config:
        raise ValueError(
            f"{folder} holds a model of sentence-transformers ({MODULES_FILE}); give the folder of its module with the "
            "weights, such as 0_CLIPModel."
        )
    if (folder / PIPELINE_FILE).exists():
        raise ValueError(
            f"{folder} holds a pipeline of diffusers ({PIPELINE_FILE}); open a tower in a folder of it, such as "
            "text_encoder, with kzoo.encoders.from_checkpoint."
        )


def plain(value) -> Any:
    """A value of a config in one spelling, for comparison."""
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def read_json(path) -> dict:
    """Content of a JSON file; {} where there is none."""
    return read_object(path, finite=False) if path.exists() else {}
