"""The whole table: counts of every row, descriptions, names."""

import json

import keras
import pytest
from shared_case import TESTS

import kzoo
from kzoo.presets.build import build
from kzoo.presets.table import read_row

NAMES = [row["name"] for row in kzoo.list_presets()]
CATALOGUE = json.loads((TESTS / "golden" / "catalogue_clip.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_built_towers_have_the_parameters_of_the_table(name):
    row = read_row(name)
    with keras.StatelessScope(initialize_variables=False):  # shapes only: the giants take no memory
        model = build(row)
        counts = {
            "image_encoder": model.image_encoder.count_params(),
            "text_encoder": model.text_encoder.count_params(),
            "total": model.count_params(),
        }
    assert counts == row["parameters"]
    assert model.preprocessor.images.image_size == model.image_encoder.image_size
    loss = kzoo.losses.from_spec(row["loss"])
    assert loss.reads == ("image_embeddings", "text_embeddings")


def test_every_row_of_the_catalogue_is_there():
    assert {name: read_row(name)["parameters"] for name in CATALOGUE} == CATALOGUE
    assert set(NAMES) == set(CATALOGUE)


def test_rows_say_where_weights_come_from_and_under_which_licence():
    for name in NAMES:
        row = read_row(name)
        assert row["paper"] and row["images"]["resize"] in ("shortest", "squash")
        if row["weights"]:
            assert row["weights"]["repo"].count("/") == 1 and row["weights"]["format"] == "open_clip"
            assert row["licence"]["name"] and row["licence"]["status"]
        else:
            assert row["notes"]


def test_describe_and_list_print():
    text = repr(kzoo.describe("clip_large"))
    assert "preset: clip_large_patch14\n" in text and "from memory" in text and "427,616,513" in text
    lines = repr(kzoo.list_presets("clip")).splitlines()
    assert lines[0].split()[:2] == ["name", "parameters"] and len(lines) == len(NAMES) + 1


def test_unknown_names_offer_the_nearest():
    for call in (kzoo.describe, kzoo.from_preset):
        with pytest.raises(ValueError, match="no preset 'clip_bse', .* did you mean clip_base"):
            call("clip_bse")
    with pytest.raises(ValueError, match="there is no family 'clap'; the families are clip"):
        kzoo.list_presets("clap")
