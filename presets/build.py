"""From a complete row to a model."""

import inspect
from typing import Any

import keras

from kzoo import encoders, keras_contact
from kzoo.keras_contact import layers_within
from kzoo.layers.adapted import adapted, names_in, updates_of
from kzoo.layers.changed import copy_weights
from kzoo.layers.locking import lock
from kzoo.layers.similarity import SimilarityHead
from kzoo.models import Captioner, DualEncoder, MatchingEncoder, MultiEncoder, SelfSupervised
from kzoo.paths import parameters
from kzoo.preprocessing import ImageSteps, PatchSteps, Preprocessor
from kzoo.presets import folder as preset_folder
from kzoo.presets.trained import kept_loss

TOWERS = {tower.kind: tower for tower in encoders.KINDS} | {"keras_hub": encoders.from_keras_hub}
MODELS = {model.kind: model for model in (DualEncoder, Captioner, MatchingEncoder, MultiEncoder, SelfSupervised)}
TOWER = "_encoder"  # ends the name of a tower; before it stands its modality
DECODER = "text_decoder"
OWN_VOCABULARY = {"pad_id": 0, "start_id": 1, "eot_id": 2}  # as `Tokenizer.train` numbers them
PARTS = (f"image{TOWER}", f"text{TOWER}", DECODER)  # of the models that other libraries know


def parts_of(row) -> dict:
    """Name of a tower or decoder -> its config, in the order of a row, the decoder last."""
    names = [name for name in row if name.endswith(TOWER)]
    return {name: row[name] for name in sorted([*names, DECODER], key=DECODER.__eq__) if row.get(name)}


def complete(config) -> dict:
    """The config of a tower with what its constructor takes for what is not said.

    Example:
        >>> complete({"kind": "vit", "image_size": 224, "patch_size": 32})["class_token"]
        True
    """
    parameters = inspect.signature(TOWERS[config["kind"]]).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty} | config


def token_tower_of(row) -> dict | None:
    """Config of what reads the ids of a text first; None in a row without texts."""
    return row.get(f"text{TOWER}") or row.get(DECODER)


def build(row, dtype=None, preprocessor=None, towers=None) -> Any:
    """The model of a complete row, with random weights.

    Args:
        row: complete row.
        dtype: as in `from_preset`.
        preprocessor: of the model; None for one without a vocabulary.
        towers: what `build_towers` gives, where it was asked before.
    """
    owner = MODELS[row.get("model", DualEncoder.kind)]
    towers = build_towers(row, dtype) if towers is None else towers
    given = {name: row[name] for name in preset_folder.LAYERS if row.get(name) or row.get(name) is False}
    options = {name: keras.saving.deserialize_keras_object(part) for name, part in given.items()}
    if row.get("similarity") is not None:
        options["similarity"] = _similarity(row["similarity"])
    if preprocessor is None:
        preprocessor = preprocessor_of(row)
    if preprocessor is not None:
        image, tokens = towers.get(f"image{TOWER}"), towers.get(f"text{TOWER}") or towers.get(DECODER)
        preprocessor.resize(
            None if image is None else image.image_size, None if tokens is None else tokens.context_length
        )
    model = owner.from_parts(
        towers, **options, preprocessor=preprocessor, loss=row["loss"], name=row["preset"], dtype=dtype
    )
    keras_contact.untracked(model, "layout", row.get("layout", {}))
    return model


def preprocessor_of(row) -> Preprocessor | None:
    """The preprocessor of a row, without a vocabulary; None where it has neither pictures nor texts."""
    image, tokens = row.get(f"image{TOWER}"), token_tower_of(row)
    if image is None and tokens is None:
        return None
    return Preprocessor(None if image is None else image_steps(row), vocabulary=tokens and vocabulary_of(row))


def image_steps(row) -> ImageSteps | PatchSteps:
    """The image steps of a row."""
    image = row["image_encoder"]
    options = {name: value for name, value in row["images"].items() if name != "kind"}
    if image["kind"] == "naflex_vit":
        return PatchSteps(image["patch_size"], image["max_patches"], **options)
    return ImageSteps(image["image_size"], **options)


def vocabulary_of(row) -> dict:
    """What a preprocessor without a tokenizer needs to know to get one, or to say where it is."""
    token_tower, rules = token_tower_of(row), row["tokenizer"]
    known = {name: token_tower[name] for name in ("context_length", "vocab_size")} | {"rules": rules}
    if rules["kind"] == "trained_bpe":
        return known | {"train": token_tower["vocab_size"]}
    return known | {"source": row["weights"]["repo"] if row.get("weights") else "its checkpoint"}


def with_own_vocabulary(row, vocab_size) -> dict:
    """A row of the table whose vocabulary is learnt from captions, in place of its checkpoint's.

    Args:
        row: complete row.
        vocab_size: most ids.

    Raises:
        ValueError: a row without texts.

    Example:
        >>> with_own_vocabulary(read_row("clip_base"), 8192)["text_encoder"]["eot_id"]
        2
    """
    readers = [name for name in (f"text{TOWER}", DECODER) if row.get(name)]
    if not readers:
        raise ValueError(f"{row['preset']} reads no texts, so vocab_size={vocab_size} has no meaning.")
    own = OWN_VOCABULARY | {"vocab_size": vocab_size}
    towers = {name: row[name] | {key: own[key] for key in own if key in row[name]} for name in readers}
    return row | towers | {"tokenizer": {"kind": "trained_bpe", "clean": "none"} | OWN_VOCABULARY}


def as_float32(model) -> Any:
    """The model itself if it computes in float32, else a copy that does, with the same weights.

    LoRA and adapters are merged into the weights of a copy, but for those that no kernel can hold, which it has too if
    they are active; and what is quantised becomes plain again.
    """
    changed = any(layer.quantization_mode or updates_of(layer) for layer in layers_within(model))
    if not changed and all(tower.dtype_policy.name == "float32" for tower in model.towers().values()):
        return model
    return _copied(model, preset_folder.model_config(model), model.layers)


def as_exported(model) -> Any:
    """A model of float32 as it leaves in graphs: itself where its towers are what graphs hold, else a copy where they
    stand in the place of its own (see `Tower.for_export`), without a teacher, which no graph asks."""
    towers = model.towers()
    forms = {name: tower.for_export() for name, tower in towers.items() if isinstance(tower, encoders.Tower)}
    forms = {name: form for name, form in forms.items() if form is not towers[name]}
    if not forms:
        return model
    lost = next((path for path in adapted(model) if path.split(".")[0] in forms), None)
    if lost is not None:
        raise ValueError(
            f"{lost} has an adapter that no kernel can hold, and its tower leaves in another form than it has here, "
            "where that layer is not; remove the adapter, or take LoRA."
        )
    config = preset_folder.model_config(model, forms) | {"teacher": None}
    in_place = {id(towers[name]): form for name, form in forms.items()}
    layers = [in_place.get(id(layer), layer) for layer in model.layers if layer is not model.teacher]
    return _copied(model, config, layers)


def _copied(model, config, layers):
    """A model of this config in float32, with the weights of these layers in their order."""
    copy = build(config, dtype="float32", preprocessor=model.preprocessor)
    for old, new in zip(layers, copy.layers):  # behind its own layers a model has those of `compile`
        copy_weights(old, new)
    if names_in(copy):
        keras_contact.found_anew([copy])
        trained = {each.path: each.variable.trainable for each in parameters(model)}
        lock(copy, [each for each in parameters(copy) if each.trains and not trained.get(each.path, True)])
    copy.source, copy.loss_spec = model.source, tuple(kept_loss(model))
    keras_contact.untracked(copy, "trainings", model.trainings)
    return copy


def build_towers(row, dtype=None) -> dict:
    """Name -> tower or decoder of a complete row, with random weights."""
    return {name: build_tower(config, name, dtype) for name, config in parts_of(row).items()}


def build_tower(config, name, dtype=None) -> Any:
    """The tower or decoder of a part of a row, with random weights."""
    config = dict(config)
    kind, trainable = config.pop("kind"), config.pop("trainable", True)
    if kind not in TOWERS:
        raise ValueError(f"the {name} is of kind {kind!r}; this version knows {', '.join(TOWERS)}.")
    owner, config = TOWERS[kind], config | {"name": name, "dtype": dtype}
    return _locked(owner.from_config(config) if isinstance(owner, type) else owner(**config), trainable)


def _similarity(config):
    config = dict(config)
    trainable = config.pop("trainable", True)
    return _locked(SimilarityHead(name="similarity", **config), trainable)


def _locked(layer, trainable):
    """The layer, locked after it was built: of one that is made locked, Keras would leave the sub-layers open."""
    if not trainable:
        layer.trainable = False
    return layer
