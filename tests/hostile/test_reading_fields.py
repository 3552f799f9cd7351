"""Fields of configs that are not of their kind: each is named, with the file, the value and what was expected."""

import json

import pytest
from reading import LACKING, change_config, outcome, refused, replaced, wrong_fields
from shared_case import TESTS

import kzoo
from kzoo.presets import schema
from kzoo.presets.table import flat

pytestmark = pytest.mark.once
LIBRARIES = ["oc_clip_vit_tiny", "oc_coca_tiny", "oc_clip_rn_tiny", "hf_align_tiny", "hf_blip_itm_tiny"]


def shown(value):
    """A name of a case: the path of its field."""
    return ".".join(value) if isinstance(value, tuple) else ""


def test_wrong_fields_of_a_kzoo_config(saved):
    """By the schema alone, which costs nothing: what it lets through builds, or is refused by the layers."""
    config = flat(json.loads((saved / "config.json").read_text()))
    assert not list(schema.problems(config, "config.json"))
    for path, wrong in wrong_fields(config):
        if wrong is not LACKING:
            list(schema.problems(replaced(config, path, wrong), "config.json"))


FIXED = {"kind": "vit", "image_size": 2**14, "patch_size": 1, "width": 2**18, "depth": 1, "num_heads": 1}
FIXED |= {"positions": "sin_cos"}
CASES = [
    (("image_encoder", "width"), "64", "image_encoder says width='64', but a whole number"),
    (("image_encoder", "width"), True, "image_encoder says width=True"),
    (("image_encoder", "patch_size"), 0, "image_encoder says patch_size=0"),
    (("image_encoder", "num_heads"), 0, "image_encoder says num_heads=0"),
    (("image_encoder", "image_size"), [16, "16"], r"image_encoder says image_size=[16, '16']"),
    (("image_encoder", "image_size"), 10**9, "image_encoder says image_size=1000000000"),
    (("image_encoder", "std"), [0.0, 1.0, 1.0], "image_encoder says std=[0.0, 1.0, 1.0]"),
    (("image_encoder", "mean"), [0.5], "image_encoder says mean=[0.5]"),
    (("image_encoder", "epsilon"), -1e-5, "image_encoder says epsilon=-1e-05"),
    (("image_encoder",), FIXED, "positions of width 262,144 are 70,368,744,439,808 numbers"),
    (("image_encoder", "kind"), 7, "image_encoder says kind=7"),
    (("image_encoder", "kind"), "vat", "is of kind 'vat'; this version knows"),
    (("image_encoder",), [], "image_encoder holds [], but an object is expected"),
    (("image_encoder", "registers"), 4, "does not know the argument 'registers'"),
    (("image_encoder", "depth"), LACKING, "cannot be built"),
    (("image_encoder", "depth"), 4000, "image_encoder depth=4000, but the file holds"),
    (("text_encoder", "depth"), 2, "do not fit the model of config.json"),
    (("image_encoder", "mlp_dim"), 100, "must match. variable.shape=("),
    (("text_encoder", "vocab_size"), 4_000_000, "do not fit the model of config.json"),
    (("text_encoder", "vocab_size"), 40_000_000, "text_encoder says vocab_size=40000000"),
    (("text_encoder", "dropout"), 1.0, "text_encoder says dropout=1.0"),
    (("similarity", "scale"), 1e300, "similarity says scale=1e+300"),
    (("similarity", "scale"), 0, "similarity says scale=0"),
    (("similarity", "form"), "log", "similarity says form='log'"),
    (("loss",), "InfoNCE", "says loss='InfoNCE', but a list is expected"),
    (("loss",), [{"weight": 1}], "loss, item 0 lacks loss"),
    (("model",), "triple_encoder", "says model='triple_encoder', but one of"),
    (("preprocessor",), {}, "preprocessor lacks images, tokenizer, vocabulary"),
    (("preprocessor", "images", "resize"), "shrink", "images says resize='shrink'"),
    (("preprocessor", "images", "image_size"), [0, 0], "images says image_size=[0, 0]"),
    (("preprocessor", "images", "sharpen"), 1, "has a key 'sharpen' that is not known"),
    (("preprocessor", "tokenizer", "context_length"), 10**12, "tokenizer says context_length=1000000000000"),
    (("preprocessor", "tokenizer", "pad_id"), -1, "tokenizer says pad_id=-1"),
    (("quantised",), {"1": "int8"}, "1 holds"),
    (("preset",), "a\n\x1b[2J", r"says preset='a\n\x1b[2J', but a name is expected"),
    (("source",), "hf://owner/name", "says source='hf://owner/name', but hf://owner/name@commit or null is expected"),
    (("trainings",), [{"data": "a"}], "trainings, item 0 lacks epochs, results"),
    (("trainings",), [{"data": "a", "epochs": 1, "rows": 1, "results": {}}], "item 0 lacks batch_size"),
    (("trainings",), [{"data": "a", "epochs": 1, "results": {"loss": "b"}}], "results says loss='b'"),
    (("fingerprints",), {"../../elsewhere": "0"}, "fingerprints has a key '../../elsewhere'"),
    (("heads",), 3, "cannot be built"),
    (("image_encodr",), {"kind": "vit"}, "has a key 'image_encodr' that is not known"),
    (("image_encoder", "dtype"), "float8", "image_encoder says dtype='float8', but no such key is expected"),
    (("image_encoder", "name"), "text_encoder", "image_encoder says name='text_encoder', but no such key is expected"),
    (("preset",), "a" * 2000, "but a name is expected"),
    (("preprocessor", "vocabulary", "trian"), 300, "vocabulary has a key 'trian' that is not known"),
    (("quantised",), {"-1": {"mode": "int8", "config": None}}, "layer '-1' is quantised there, but the model has"),
    (("compile",), {"epochs_made": -1}, "compile says epochs_made=-1"),
    (("image_encoder", "num_heads"), 7, "cannot be built"),
    (("a\n\x1b[2J_encoder",), {}, r"config.json, a \x1b[2J_encoder lacks kind"),
    (("compile",), {"optimizer": {"class_name": "os.system", "config": {}}}, "cannot be done"),
]


@pytest.mark.parametrize("path, value, said", CASES, ids=shown)
def test_a_wrong_field_is_named(folder, path, value, said):
    change_config(folder, path, value)
    assert said in refused(lambda: kzoo.from_preset(folder))


FOREIGN = [
    (("vision_config", "patch_size"), 0, "vision_config says patch_size=0"),
    (("vision_config", "hidden_size"), "48", "vision_config says hidden_size='48'"),
    (("vision_config", "num_attention_heads"), 0, "vision_config says num_attention_heads=0"),
    (("vision_config", "hidden_act"), ["gelu"], "vision_config says hidden_act=['gelu']"),
    (("vision_config", "layer_norm_eps"), -1, "vision_config says layer_norm_eps=-1"),
    (("vision_config", "image_size"), [1, 2, 3], "vision_config says image_size=[1, 2, 3]"),
    (("vision_config", "num_channels"), 1, "vision_config says num_channels=1, which this version cannot build"),
    (("text_config", "vocab_size"), 1.5, "text_config says vocab_size=1.5"),
    (("text_config", "eos_token_id"), [1], "text_config says eos_token_id=[1]"),
    (("text_config", "max_position_embeddings"), -7, "max_position_embeddings=-7"),
    (("text_config",), [], "text_config holds [], but an object is expected"),
    (("projection_dim",), {}, "config.json says projection_dim={}"),
    (("model_type",), ["clip"], "declares a model of transformers with model_type ['clip']"),
]


@pytest.mark.parametrize("path, value, said", FOREIGN, ids=shown)
def test_a_wrong_field_of_another_library_is_named(clip, path, value, said):
    change_config(clip, path, value)
    assert said in refused(lambda: kzoo.from_preset(clip))


@pytest.mark.parametrize("steps, said", [
    ({"image_std": [0, 0, 0]}, "says image_std=[0, 0, 0]"),
    ({"image_mean": "0.5"}, "says image_mean='0.5'"),
    ({"image_mean": [float("nan")] * 3}, "says image_mean=[nan, nan, nan]"),
    ({"size": []}, "says size=[]"),
    ({"size": {"shortest_edge": -1}}, "says size={'shortest_edge': -1}"),
    ({"resample": {}}, "says resample={}"),
    ({"do_center_crop": 1}, "says do_center_crop=1"),
    ({"do_normalize": False}, "says do_normalize=False, which this version cannot build"),
    ({"do_resize": False}, "says do_resize=False, which this version cannot build"),
    ({"do_rescale": False}, "says do_rescale=False, which this version cannot build"),
    ({"rescale_factor": 1 / 127.5}, "says rescale_factor=0.00784313725490196, which this version cannot build"),
    ({"rescale_factor": "x"}, "says rescale_factor='x'"),
])  # fmt: skip
def test_wrong_steps_of_another_library(clip, steps, said):
    (clip / "preprocessor_config.json").write_text(json.dumps({"crop_size": 32} | {"size": 64} | steps))
    assert said in refused(lambda: kzoo.from_preset(clip))


@pytest.mark.parametrize("name", LIBRARIES)
def test_any_field_of_any_library(name):
    """Every field of a config replaced by everything it may not be: read as a row, or a sentence."""
    from kzoo.presets.foreign import Checkpoint, recognise

    found = recognise(TESTS / "fixtures" / name)
    for path, wrong in wrong_fields(found.config):
        changed = Checkpoint(found.folder, found.title, found.format, replaced(found.config, path, wrong))
        outcome(lambda changed=changed: changed.row())
