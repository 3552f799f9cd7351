"""Every family, by its nano preset: trained for two steps, asked, saved and opened again."""

import keras
import numpy as np
import pytest
from shared_case import numpy, toy_pairs

import kzoo
from kzoo.presets.table import TABLES, read_row

FAMILIES = sorted(path.stem for path in TABLES.glob("*.json"))
OTHERS = ("self_supervised", "multi_encoder")  # which pairs do not train
OF_PAIRS = [each for each in FAMILIES if read_row(f"{each}_nano").get("model") not in OTHERS]
PAIRS = toy_pairs(8)


@pytest.mark.one_other
@pytest.mark.parametrize(
    "name", [*(f"{family}_nano" for family in OF_PAIRS), "siglip2_naflex_nano", "blip_caption_nano"]
)
def test_two_steps_and_a_round_trip(name, tmp_path):
    model = kzoo.from_preset(name, load_weights=False)
    model.preprocessor.adapt(PAIRS["captions"])
    before = {part: [numpy(each) for each in tower.weights] for part, tower in model.towers().items()}
    model.compile("clip_adamw")
    data = kzoo.data.pairs(PAIRS, model.preprocessor, batch_size=4)
    history = model.fit(data, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"][0]) and set(model.objective.term_names) <= set(history)
    for part, tower in model.towers().items():
        moved = any(not np.array_equal(numpy(new), old) for new, old in zip(tower.weights, before[part]))
        assert moved == tower.trainable, part
    model.save_to_preset(tmp_path)
    again = kzoo.from_preset(tmp_path)
    assert type(again) is type(model) and again.loss_spec == model.loss_spec
    for one, other in zip(again.weights, model.weights[: len(again.weights)], strict=True):
        assert np.array_equal(numpy(one), numpy(other)), one.path
    assert again.encode_image(PAIRS["images"][:2]).shape == (2, model.embed_dim)
    if "text" in model.modalities():
        assert again.encode_text(PAIRS["captions"][:2]).shape == (2, model.embed_dim)
    else:
        with pytest.raises(ValueError, match="has no text tower: it writes captions and embeds none"):
            again.encode_text(["a red circle"])


def test_a_locked_tower_stays_locked_in_every_file(tmp_path):
    model = kzoo.from_preset("lit_nano", load_weights=False)
    model.preprocessor.adapt(PAIRS["captions"])
    locked = len(model.trainable_variables)
    assert not model.image_encoder.trainable_variables and locked == len(model.text_encoder.trainable_variables) + 1
    model.save_to_preset(tmp_path / "preset")
    model.save(tmp_path / "model.keras")
    for again in (kzoo.from_preset(tmp_path / "preset"), keras.saving.load_model(tmp_path / "model.keras")):
        assert not again.image_encoder.trainable_variables and len(again.trainable_variables) == locked
