"""Rows that are no dual encoder: they train on what their notes say, are saved, opened, exported, and have cards."""

import keras
import numpy as np
import pytest
from shared_case import numpy, toy_pairs

import kzoo
from kzoo.data import views
from kzoo.export import runtime
from kzoo.preprocessing import BlockPatches, RandomPatches
from kzoo.presets import card

PAIRS = toy_pairs(8)
BLOCKS = BlockPatches((4, 4))
KEPT = RandomPatches((4, 4), 0.75, drop=True)
VIEWS = {  # what the notes of a row say that it is trained from
    "dino_nano": {"local_views": 4, "local_size": 16},
    "ibot_nano": {"masks": {"view_1": BLOCKS, "view_2": BLOCKS}},
    "moco_v3_nano": {},
    "mae_nano": {"views": 1, "masks": {"view_1": KEPT}},
}
NAMES = (*VIEWS, "languagebind_nano")


def opened(name):
    keras.utils.set_random_seed(0)
    model = kzoo.from_preset(name, load_weights=False)
    if "text" in model.modalities():
        model.preprocessor.adapt(PAIRS["captions"])
    return model


def data_of(model):
    if model.kind == "self_supervised":
        return views(PAIRS["images"], model.preprocessor, batch_size=4, **VIEWS[model.name])
    arrays = model.preprocessor(PAIRS["images"], PAIRS["captions"])
    return arrays | {"depth": arrays["images"][:, ::-1].copy(), "thermal": 255 - arrays["images"]}


def embedded(model):
    """Embeddings of every tower of a model, as arrays by its name."""
    images = model.preprocessor.encode_images(PAIRS["images"])["images"]
    if model.kind == "self_supervised":
        return {"view": model.encode(images)}
    return model.predict(data_of(model), verbose=0)


@pytest.fixture(scope="module", params=NAMES)
def trained(request, tmp_path_factory):
    """`(model, folder, weights before)` of a small version after two steps."""
    model = opened(request.param)
    before = [numpy(each).copy() for each in model.weights]
    model.compile(keras.optimizers.SGD(0.1))  # with the loss of its row
    history = model.fit(data_of(model), batch_size=4, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all() and history["loss"][0] > 0.0
    folder = tmp_path_factory.mktemp(request.param)
    model.save_to_preset(folder)
    return model, folder, before


def test_it_trains_and_what_is_fixed_stays(trained):
    model, _, before = trained
    moved = {each.path for old, each in zip(before, model.weights) if not np.array_equal(old, numpy(each))}
    kernels = {each.path for each in model.towers()["image_encoder"].weights if each.path.endswith("/kernel")}
    assert kernels and kernels <= moved
    fixed = [each for each in model.weights if "position_embedding" in each.path and not each.trainable]
    sines = model.name.startswith(("moco", "mae"))
    assert bool(fixed) or not sines
    assert not moved & {each.path for each in fixed if "teacher" not in each.path}
    if model.teacher is not None:
        assert any("teacher" in path for path in moved)
    if model.kind == "multi_encoder":  # the language tower is locked
        locked = {each.path for each in model.towers()["text_encoder"].weights}
        assert not moved & locked and all(any(name in path for path in moved) for name in ("depth", "thermal"))


def test_it_is_saved_and_opened(trained):
    model, folder, _ = trained
    again = kzoo.from_preset(folder)
    assert type(again) is type(model) and again.loss_spec == model.loss_spec
    of_loss = {id(each) for each in model.objective.weights}
    for old, new in zip([each for each in model.weights if id(each) not in of_loss], again.weights, strict=True):
        np.testing.assert_array_equal(numpy(new), numpy(old))
    for name, value in embedded(model).items():
        np.testing.assert_array_equal(embedded(again)[name], value)
    card_text = (folder / "README.md").read_text("utf-8")
    assert f"{model.count_params():,} parameters in all" in card_text
    assert f"the preset `{model.name}` of kzoo" in card_text and "trained with kzoo on" in card_text
    assert card_text == card.render(model, "kzoo")


@pytest.mark.one_other
def test_its_tower_leaves_as_a_graph(tmp_path):
    """With positions that are no trained weight; the other towers of these rows are those of CLIP."""
    model = opened("mae_nano")
    manifest = model.export(tmp_path / "graphs")
    assert set(manifest["graphs"]) == set(model.towers())
    served = runtime.load(tmp_path / "graphs")
    np.testing.assert_allclose(served.encode_image(PAIRS["images"]), model.encode_image(PAIRS["images"]), atol=2e-5)


@pytest.mark.once
def test_what_the_table_says_of_them():
    said = repr(kzoo.describe("dino_small_patch16"))
    for part in ("model: self_supervised", "projector 22,286,592", "teacher 43,952,256", "momentum 0.996"):
        assert part in said
    rows = {row["name"]: row for row in kzoo.list_presets()}
    assert (rows["mae_base_patch16"]["image size"], rows["mae_base_patch16"]["tokens"]) == ("224 x 224", "none")
    assert rows["languagebind_large_patch14"]["tokens"] == 77
    for name in ("dino_base_patch8", "languagebind_large_patch14"):
        with pytest.raises(FileNotFoundError, match=f"weights of {name} are in layouts that kzoo does not read; build"):
            kzoo.from_preset(name)
    with pytest.raises(FileNotFoundError, match="mae_nano has no released weights; build it untrained"):
        kzoo.from_preset("mae_nano")
    with pytest.raises(ValueError, match="the preset of this model is dino_small_patch16"):
        kzoo.describe("dino_vits16")


def test_a_decoder_of_another_size_refuses_to_train():
    """It embeds at any size, but draws the patches of its own."""
    model = kzoo.from_preset("mae_nano", load_weights=False, image_size=40)
    assert model.encode_image(PAIRS["images"][:2]).shape == (2, 48)
    model.compile()
    mask = RandomPatches((5, 5), 0.75, drop=True)
    with pytest.raises(ValueError, match="16.*25"):
        model.fit(views(PAIRS["images"], model.preprocessor, 4, views=1, masks={"view_1": mask}), verbose=0)
