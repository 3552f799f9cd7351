"""The whole table: counts of every architecture, descriptions, names."""

import json
import math

import numpy as np
import pytest
from shared_case import TESTS

import kzoo
from kzoo.layers.initializers import without_values
from kzoo.presets.build import build
from kzoo.presets.table import TABLES, read_row

NAMES = [row["name"] for row in kzoo.list_presets()]
FAMILIES = {path.stem: json.loads(path.read_text()) for path in sorted(TABLES.glob("*.json"))}
ARCHITECTURES = {  # of each the first preset
    (family, row["architecture"]): name
    for family, table in FAMILIES.items()
    for name, row in reversed(table["presets"].items())
}
CATALOGUE = json.loads((TESTS / "golden" / "catalogue.json").read_text())  # counted in the libraries of origin
ENTRIES_OF_VIEWS = ("view_1", "view_2", "view_1_masked", "view_2_masked", "view_1_kept", "view_1_dropped")
OF_CAPTIONS = ("caption_logits", "caption_labels")  # made of parts that a captioner gives
UNREAD = {"align_base": 590592, "align_nano": 1056}  # parameters of a pooler that ALIGN stores and never reads


def counts_of(model):
    """Parameters of each part, and of the running statistics of batch norms, which torch does not count."""

    def count(layer, statistics=False):
        weights = [each for each in layer.weights if "seed_generator" not in each.path]
        return sum(math.prod(each.shape) for each in weights if ("/moving_" in each.path) == statistics)

    counts = {name: count(tower) for name, tower in model.towers().items()}
    for name in ("matching_head", "projector", "teacher"):
        if getattr(model, name, None) is not None:
            counts[name] = count(getattr(model, name))
    if model.heads:
        counts["heads"] = sum(map(count, model.heads))
    statistics = count(model, statistics=True)
    return counts | {"total": count(model)} | ({"statistics": statistics} if statistics else {})


@pytest.mark.once
@pytest.mark.parametrize("family, architecture", ARCHITECTURES)
def test_built_towers_have_the_parameters_of_the_table(family, architecture, once_each):
    row = read_row(ARCHITECTURES[family, architecture])
    model = without_values(build, row)  # the giants fit into no memory
    assert counts_of(model) == row["parameters"]
    assert model.preprocessor.images.image_size == getattr(model.towers()["image_encoder"], "image_size", None)
    loss = kzoo.losses.from_spec(row["loss"])
    model.check_loss(loss)
    if row.get("model") == "self_supervised":
        batch = dict.fromkeys(ENTRIES_OF_VIEWS, np.empty(0))
        assert {term["dim"] for term in row["loss"] if "dim" in term} <= {getattr(model.projector, "prototypes", None)}
    else:
        batch = dict.fromkeys(("images", "token_ids", "depth", "thermal"), np.empty(0))
    assert set(loss.reads) <= {*model.gives(batch), *batch, *OF_CAPTIONS}


@pytest.mark.once
@pytest.mark.parametrize("name", CATALOGUE)
def test_every_row_of_the_catalogue_is_there(name):
    row, wanted = read_row(name), CATALOGUE[name]
    assert row["preset"] == name and row["family"] == wanted["family"]
    counted = dict(row["parameters"])
    counted["decoder"] = counted.pop("text_decoder", counted.pop("matching_head", None))
    if name in UNREAD:
        counted["total"] += UNREAD[name]
        counted["text_encoder"] += UNREAD[name]
    assert wanted["parameters"] == {key: counted[key] for key in wanted["parameters"]}
    said = repr(kzoo.describe(name))
    if "config_source" in wanted["from_memory"]:
        assert "from memory" in row["config_source"] and row["config_source"] in said
    if "licence" in wanted["from_memory"] and row["licence"]:
        assert row["licence"]["status"] in said


@pytest.mark.once
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_nano_preset_that_learns_its_vocabulary(family):
    row = read_row(f"{family}_nano")
    assert row["family"] == family and row["parameters"]["total"] < 400_000
    token_tower = row.get("text_encoder") or row.get("text_decoder")
    if token_tower is None:  # of pictures alone
        assert "tokenizer" not in row
        return
    assert row["tokenizer"] == {"kind": "trained_bpe", "clean": "none", "pad_id": 0, "start_id": 1, "eot_id": 2}
    assert token_tower.get("pad_id", 0) == 0 and token_tower.get("eot_id", 2) in (0, 1, 2)


@pytest.mark.once
@pytest.mark.parametrize("name", NAMES)
def test_rows_say_where_weights_come_from_and_under_which_licence(name):
    row = read_row(name)
    assert row["paper"] and "arXiv" in row["paper"] and row["images"].get("resize", "squash") in ("shortest", "squash")
    if "text_encoder" in row or "text_decoder" in row:
        assert row["tokenizer"].keys() >= {"kind", "clean", "pad_id", "start_id", "eot_id"}
    if row["weights"]:
        assert row["weights"]["repo"].count("/") == 1 and row["config_source"]
        assert row["weights"]["format"] in ("open_clip", "transformers")
        assert row["licence"]["name"] and row["licence"]["status"]
    else:
        assert row["notes"] and ("unread" not in row or "from memory" in row["config_source"])


@pytest.mark.once
def test_describe_and_list_print():
    text = repr(kzoo.describe("clip_large"))
    assert "preset: clip_large_patch14\n" in text and "from memory" in text and "427,616,513" in text
    lines = repr(kzoo.list_presets("clip")).splitlines()
    assert lines[0].split()[:2] == ["name", "parameters"] and len(lines) == len(FAMILIES["clip"]["presets"]) + 1
    assert len(NAMES) == len(set(NAMES)) == sum(len(table["presets"]) for table in FAMILIES.values()) >= len(CATALOGUE)
    assert "256 patches" in repr(kzoo.list_presets("siglip2"))


@pytest.mark.once
def test_unknown_names_offer_the_nearest():
    for call in (kzoo.describe, kzoo.from_preset):
        with pytest.raises(ValueError, match="no preset 'clip_bse', .* did you mean clip_base"):
            call("clip_bse")
    with pytest.raises(ValueError, match="there is no family 'clap'; the families are align, altclip, blip"):
        kzoo.list_presets("clap")
