"""Every config of open_clip's wheel: a row, and a model with the names and shapes that open_clip has."""

import fnmatch
import json
import math

import pytest
from parity import FIXTURES
from wheel import CONFIGS, WHEEL, Shapes, config_of

from kzoo.layers.initializers import without_values
from kzoo.layers.patch_embedding import as_size
from kzoo.presets import build as building
from kzoo.presets.foreign import Checkpoint
from kzoo.weights import open_clip
from kzoo.weights.hf_texts.joined import TEXTS
from kzoo.weights.trunks.joined import TRUNKS

pytestmark = pytest.mark.once


def test_it_is_the_wheel_that_is_installed():
    assert CONFIGS.keys() == WHEEL.keys() and len(WHEEL) == 144


@pytest.mark.parametrize("name", WHEEL)
def test_names_shapes_and_count_of_a_config(name, once_each, tmp_path):
    made = WHEEL[name]
    checkpoint = Checkpoint(tmp_path, name, open_clip.FORMAT, config_of(name))
    row = checkpoint.row()
    assert as_size(row["image_encoder"]["image_size"]) == as_size(made["image_size"])
    model = without_values(building.build, row)
    checkpoint.check_tensors(Shapes(made["tensors"]), model)
    dropped = [each for each in made["tensors"] if any(fnmatch.fnmatchcase(each, drop) for drop in open_clip.DROP)]
    assert model_count(model) + parameters_among(dropped, made["tensors"]) == made["params"]


def test_every_kind_of_tower_of_the_wheel_has_a_fixture():
    """With the outputs of open_clip, which test_parity.py compares."""
    folders = FIXTURES.glob("oc_*/open_clip_config.json")
    fixtures = {kind for path in folders for kind in kinds(json.loads(path.read_text())["model_cfg"])}
    assert fixtures >= {kind for config in CONFIGS.values() for kind in kinds(config)}


def kinds(config):
    """What a config is made of: the image tower, of timm or its own, the text tower or its pool, the decoder."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    name = vision.get("timm_model_name")
    trunk = next((trunk.names for trunk in TRUNKS if name and trunk.row(name)), None)
    yield "image", trunk or ("resnet" if isinstance(vision.get("layers"), list) else "vit")
    model_types = (each.model_types for each in TEXTS if text.get("hf_model_name") in each.configs)
    yield "text", next(model_types, "class_token" if text.get("embed_cls") else text.get("pool_type", "argmax"))
    yield "decoder", "multimodal_cfg" in config, bool(vision.get("attentional_pool"))


def model_count(model):
    """Parameters, as torch counts them: without running statistics."""
    weights = (each for each in model.weights if "/moving_" not in each.path and "seed_generator" not in each.path)
    return sum(math.prod(each.shape) for each in weights)


def parameters_among(names, tensors):
    """Numbers of those tensors that torch counts: no buffers."""
    return sum(math.prod(tensors[name]) for name in names if not name.endswith(("_ids", "num_batches_tracked", "mask")))
