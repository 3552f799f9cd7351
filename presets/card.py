"""The model card: the README.md that is written beside a saved model, for people and for the Hugging Face Hub."""

import logging
import re
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

import kzoo
from kzoo.files import disk
from kzoo.presets.table import read_row
from kzoo.presets.trained import kept_loss, loss_in_words, trainings_in_words
from kzoo.weights import hub

logger = logging.getLogger("kzoo")

MARKER = "<!-- Written by kzoo"  # by this a card is recognised; what follows it may change
NOTE = f"{MARKER}, which writes it anew when the model is saved. Delete this line to keep a text of your own. -->"
# the hub's identifiers of licences that weights come under; any other is "other" with a name
LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "openrail"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    *("creativeml-openrail-m", "gemma", "apple-ascl", "apple-amlr"),
)
DECODED = {
    "as_shown": "They are turned upright by their EXIF orientation, transparent ones lie over white, and more than 8 "
    "bits are scaled to 8.",
    "as_trained": "EXIF orientation and transparency are ignored, and values above 8 bits cut off, as in the library "
    "of the checkpoint.",
}
NOUNS = {"image": "images", "text": "texts"}  # of modalities, where another word than the modality's own is used
ROWS = {  # keys of a tower's config that its line in the table may have
    "width": ("width",),
    "blocks": ("depth", "depths"),
    "attention heads": ("num_heads",),
    "MLP width": ("mlp_dim",),
    "activation": ("activation",),
    "pooling": ("pool",),
    "embedding": ("embed_dim",),
}
LAYOUTS = {
    "transformers": " The files have the layout of transformers, whose `AutoModel.from_pretrained` opens them too.",
    "open_clip": " The files have the layout of open_clip, which opens them too.",
}


def write_card(model, place, format, repo=None, instead_of=None) -> None:
    """Write the card of a model as `README.md`, unless it would replace one that kzoo did not write, which stays.

    Args:
        model: a kzoo model.
        place: path of the folder that the card is written into.
        format: the layout of the files, `"kzoo"`, `"transformers"` or `"open_clip"`.
        repo: `"owner/name"` or `"owner/name@revision"` on the hub, if the folder goes there.
        instead_of: path of the folder whose files will be replaced by those in `place`.
    """
    path = None if instead_of is None else Path(instead_of) / hub.CARD
    if path is not None and path.is_file() and not is_own(path.read_text("utf-8", errors="replace")):
        logger.info("%s was not written by kzoo and stays as it is.", path)
        return
    disk.write(Path(place) / hub.CARD, render(model, format, repo).encode())


def is_own(text) -> bool:
    """Whether a card is one that kzoo wrote and may write anew."""
    return MARKER in text


def render(model, format, repo=None) -> str:
    """The text of a card: facts of the model itself, and of the preset's row where the model is one of the table.

    Example:
        >>> print(render(model, "kzoo", "me/my-clip"))
    """
    row, source = _row(model), model.source and hub.split_name(model.source)[0]
    released = row is not None and row["weights"] is not None and row["weights"]["repo"] == source
    licence = row["licence"] if released else None
    data = ModelCardData(
        library_name="keras",
        pipeline_tag=_task(model),
        tags=["kzoo", *([row["family"]] if row else []), *([format] if format in LAYOUTS else []), *_tags(model)],
        base_model=source,
        **_licence_data(licence, source),
    )
    sections = (
        NOTE,
        f"# {repo.partition('@')[0].partition('/')[2] if repo else model.name}",
        _summary(model, row),
        f"## Use\n\n{_use(model, format, repo)}",
        f"## Architecture\n\n{_architecture(model)}",
        f"## Images and texts\n\n{_preprocessing(model)}",
        f"## {'Loss' if model.similarity is None else 'Similarity and loss'}\n\n{_similarity(model)}",
        f"## Origin\n\n{_origin(model, row, licence)}",
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n" + "\n\n".join(sections) + "\n"))


def _task(model):
    if {"image", "text"} <= set(model.modalities()):
        return "zero-shot-image-classification"
    return "image-to-text" if "text_decoder" in model.towers() else "feature-extraction"


def _tags(model):
    """The tag of models that relate pictures to words; one tower, trained by its views, does not."""
    return [] if len(model.towers()) == 1 else ["image-text"]


def _role(name):
    """What a tower or decoder is for, by its name in a row."""
    modality = name.removesuffix("_encoder")
    return "captions" if name == "text_decoder" else NOUNS.get(modality, modality)


def _row(model):
    """The row of the table that describes a model: that of its name, unless its towers are others."""
    try:
        row = read_row(model.name)
    except ValueError:
        return None
    for name, tower in model.towers().items():
        own, sizes = {"kind": tower.kind, **tower.get_config()}, ("image_size", "context_length", "mean", "std")
        others = {key for key, value in row.get(name, {"kind": None}).items() if _plain(own.get(key)) != _plain(value)}
        if others.difference(sizes):
            return None
    return row


def _plain(value):
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _is_of_weights(licence):
    """Whether a licence of the table is one that may be claimed for weights: a known one, and not of the code alone."""
    return licence is not None and licence["name"] != "unknown" and not licence["status"].startswith("of the code")


def _licence_data(licence, source):
    if not _is_of_weights(licence):
        return {}
    name = re.sub(r"\s+", "-", licence["name"].lower())
    if name in LICENCES:
        return {"license": name}
    return {"license": "other", "license_name": name, "license_link": f"https://huggingface.co/{source}"}


def _summary(model, row):
    family = f" of the `{row['family']}` family" if row else ""
    parts = [f"a {_kind(tower)} for {_role(name)}" for name, tower in model.towers().items()]
    what = "An image-text model" if {"image", "text"} <= set(map(_stem, model.towers())) else "A model"
    text = f"{what}{family}: {', '.join(parts[:-1])}{' and ' if parts[:-1] else ''}{parts[-1]}."
    if {"image", "text"} <= set(model.modalities()):
        text += (
            f" Embeddings of images and texts meet in one space of {model.embed_dim} dimensions: it classifies images "
            "by texts that name the classes (zero-shot), and finds images by text and texts by image."
        )
    if "text_decoder" in model.towers():
        text += " The decoder writes captions."
    if row:
        linked = re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", row["paper"])
        text += f"\n\nPaper: {linked}."
    return text


def _use(model, format, repo):
    name = f"hf://{repo}" if repo else "path/to/this/folder"
    call = 'classify(["photo.jpg"], ["cat", "dog"], templates="a photo of a {}.")'
    if model.preprocessor is None:
        call = "predict(batch)"
    elif model.preprocessor.tokenizer is None or not {"image", "text"} <= set(model.modalities()):
        call = 'encode_image(["photo.jpg"])' if model.preprocessor.images else 'encode_text(["a text"])'
    return (
        f'```python\nimport kzoo\n\nmodel = kzoo.from_preset("{name}")\nmodel.{call}\n```\n\n'
        f"It runs on JAX, TensorFlow and PyTorch, through Keras.{LAYOUTS.get(format, '')}"
    )


def _architecture(model):
    configs = [tower.get_config() | {"embed_dim": tower.embed_dim} for tower in model.towers().values()]
    for config in configs:
        if "mlp_dim" in config:
            config["mlp_dim"] = config["mlp_dim"] or 4 * config["width"]
    lines = [("", *(name.replace("_", " ") for name in model.towers())), ("---",) * (len(configs) + 1)]
    lines.append(("input", *map(_input, configs)))
    for title, keys in ROWS.items():
        cells = [_cell(next((config[key] for key in keys if config.get(key)), None)) for config in configs]
        if any(cells):
            lines.append((title, *cells))
    lines.append(("parameters", *(f"{tower.count_params():,}" for tower in model.towers().values())))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{model.count_params():,} parameters in all."


def _stem(name):
    return name.removesuffix("_encoder").removesuffix("_decoder")


def _kind(tower):
    return tower.title or tower.kind.replace("_", " ")


def _input(config):
    patch = config.get("patch_size")
    patches = f"patches of {patch} x {patch}" if patch else ""
    if config.get("image_size"):
        size = config["image_size"]
        height, width = (size, size) if isinstance(size, int) else size
        return ", ".join(filter(None, (f"{height} x {width} pixels", patches)))
    if "max_patches" in config:
        return f"up to {config['max_patches']} {patches} pixels"
    if "context_length" in config:
        return f"{config['context_length']} token ids, vocabulary of {config['vocab_size']:,}"
    return "tokens of the other towers"


def _cell(value):
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else f"`{value}`" if isinstance(value, str) else str(value)


def _preprocessing(model):
    preprocessor, said = model.preprocessor, []
    if preprocessor is None:
        return "The model takes arrays; how they are made is not among these files."
    if preprocessor.images is not None:
        tower = model.towers()["image_encoder"]
        said.append(
            f"Images are {_scaled(preprocessor.images)}. {DECODED[preprocessor.images.decoding]} "
            "The model takes pixels from 0 to 255 and normalises them "
            f"itself: mean {_numbers(tower.mean)}, standard deviation {_numbers(tower.std)}, in units of [0, 1] pixels."
        )
    tokenizer = preprocessor.tokenizer
    if tokenizer is not None:
        said.append(
            f"Texts become {tokenizer.context_length} ids of a vocabulary of {tokenizer.vocab_size:,}: shorter "
            f"ones are filled with id {tokenizer.pad_id}, longer ones are cut, and the end-of-text id is kept."
        )
    elif any(part.context_length for part in model.towers().values()):
        said.append("The vocabulary is not among these files: the model takes token ids.")
    return "\n\n".join(said)


def _scaled(images):
    if images.image_size is None:
        return f"scaled to as many whole patches as fit and keep their shape ({images.interpolation})"
    height, width = images.resize_size or images.image_size
    resize = {
        "shortest": "scaled until they cover {} x {} pixels",
        "squash": "scaled to {} x {} pixels, height and width apart",
        "longest": "scaled until they fit into {} x {} pixels",
    }[images.resize].format(height, width)
    rest = {"shortest": ", cropped to their centre", "squash": "", "longest": ", padded with black"}[images.resize]
    if images.resize_size:
        rest = ", cropped or padded to {} x {}".format(*images.image_size)
    return f"{resize}{rest} ({images.interpolation})"


def _similarity(model):
    trained = f"`model.compile()` trains it with {loss_in_words(kept_loss(model))}."
    if model.similarity is None:
        return trained
    scale, bias = model.similarity.numbers()
    formula = "scale * cosine" if model.similarity.bias is None else "scale * cosine + bias"
    values = f"scale {scale:.4f}" + ("" if model.similarity.bias is None else f" and bias {bias:.4f}")
    return f"The logit of an image and a text is `{formula}`, with {values}. {trained}"


def _origin(model, row, licence):
    items = []
    if row:
        items.append(f"Architecture: the preset `{row['preset']}` of kzoo.")
    since = trainings_in_words(model)
    if model.source:
        repo, commit = hub.split_name(model.source)
        page = f"[{repo}](https://huggingface.co/{repo}/tree/{commit})"
        known = since or "training since then is not recorded here"
        items.append(f"Weights: started from {page}, commit `{commit[:7]}`; {known}.")
    else:
        items.append(f"Weights: {since or 'where they come from is not recorded'}.")
    if licence:
        known = f"Licence: {licence['name']}, the one that kzoo's table gives"
        if not _is_of_weights(licence):
            known = f"Licence: none is stated; kzoo's table has {licence['name']}"
        items.append(f"{known} for {repo} ({licence['status']}); look it up there before you rely on it.")
    else:
        items.append("Licence: none is stated; kzoo knows of none for these weights.")
    items.append(f"Written by kzoo {kzoo.__version__}.")
    return "\n".join(f"- {item}" for item in items)


def _numbers(values):
    return ", ".join(f"{value:.4g}" for value in values)
