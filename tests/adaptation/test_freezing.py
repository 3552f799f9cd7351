"""Weights that are not trained: what moves, what the optimizer holds, what files say."""

import keras
import numpy as np
import pytest
from shared_case import batch_of, numpy, tiny_model

import kzoo
from kzoo.adaptation import freeze, trainable_report, unfreeze
from kzoo.encoders import ResNet
from kzoo.paths import parameters


def moved(model, before):
    return {path for path, value in values(model).items() if not np.array_equal(value, before[path])}


def values(model):
    return {each.path: numpy(each.variable).copy() for each in parameters(model)}


def trained(model):
    return {each.path for each in parameters(model) if each.variable.trainable}


def fitted(model):
    model.compile(kzoo.training.AdamW(1e-2))
    batch, before = batch_of(model, 8), values(model)
    model.fit(batch, batch_size=8, epochs=2, verbose=0)
    return moved(model, before)


def test_only_what_is_open_is_trained_and_has_a_state(model, tmp_path):
    freeze(model, "**")
    unfreeze(model, "**.bias", "similarity")
    wanted = {each.path for each in parameters(model) if each.path.endswith(("bias", "log_scale"))}
    assert trained(model) == wanted == {each.path for each in parameters(model) if id(each.variable) in ids(model)}
    still = {f"{name}_encoder.blocks.0.attention.key.bias" for name in ("image", "text")}  # which changes no softmax
    assert wanted - still <= fitted(model) <= wanted
    numbers = [each for each in model.optimizer.variables if len(each.shape)]
    assert len(numbers) == 2 * len([each for each in wanted if "log_scale" not in each])

    model.save_to_preset(tmp_path / "preset", optimizer=True)
    again = kzoo.from_preset(tmp_path / "preset")
    assert trained(again) == wanted and fitted(again) <= wanted
    model.save(tmp_path / "model.keras")
    assert trained(kzoo.load_model(tmp_path / "model.keras")) == wanted


def ids(model):
    return {id(each) for each in model.trainable_variables}


def test_what_was_locked_since_compile_is_not_trained_in_silence(model):
    fitted(model)
    freeze(model, "image_encoder.blocks.*.mlp_up")
    with pytest.raises(ValueError, match="2 were locked .* call compile again"):
        model.fit(batch_of(model, 8), verbose=0)
    left = fitted(model)
    assert left and not any("image_encoder.blocks.0.mlp_up" in path for path in left)
    unfreeze(model, "image_encoder.blocks.*.mlp_up.kernel")
    with pytest.raises(ValueError, match="1 were opened"):
        model.fit(batch_of(model, 8), verbose=0)


@pytest.mark.once
def test_a_locked_tower_is_opened_in_part(model, tmp_path):
    model.image_encoder.trainable = False
    unfreeze(model, "image_encoder.blocks.-1.attention.{query,value}")
    opened = {f"image_encoder.blocks.0.attention.{name}" for name in ("query", "value")}
    assert {path.rpartition(".")[0] for path in trained(model) if path.startswith("image")} == opened
    assert model.image_encoder.trainable and not model.image_encoder.embedding.trainable
    model.save_to_preset(tmp_path)
    assert trained(kzoo.from_preset(tmp_path)) == trained(model)
    freeze(model, "image_encoder")
    assert not model.image_encoder.trainable and not model.image_encoder.trainable_variables
    unfreeze(model, "**")
    assert trained(model) == {each.path for each in parameters(model) if each.trains}
    assert all(each.trainable for each in model.image_encoder.blocks)


@pytest.mark.parametrize(("pattern", "moves"), [("norm", False), ("norm.{gamma,beta}", False), ("norm.beta", True)])
def test_a_batch_norm_holds_its_statistics_where_all_of_it_is_frozen(pattern, moves):
    layer = keras.Sequential([keras.layers.Input((3,)), keras.layers.BatchNormalization(name="norm")])
    freeze(layer, pattern)
    before = values(layer)
    x = np.random.default_rng(0).normal(2.0, 1.0, (16, 3)).astype("float32")
    y = numpy(layer(x, training=True))
    assert ("norm.moving_mean" in moved(layer, before)) is moves
    assert np.allclose(y.mean(axis=0), 0.0, atol=1e-5) is moves


@pytest.mark.once
def test_statistics_alone_cannot_be_frozen_and_a_teacher_not_opened():
    tower = ResNet(32, depths=(1, 1, 1, 1), width=8, embed_dim=8)
    before = trained(tower)
    with pytest.raises(ValueError, match="names only what is never trained, such as .*moving_mean; name the layer"):
        freeze(tower, "**.bias", "**.moving_*")
    assert trained(tower) == before
    dino = kzoo.from_preset("dino_nano", load_weights=False)
    before = trained(dino)
    with pytest.raises(ValueError, match="teacher is locked for good"):
        unfreeze(dino, "**")
    assert trained(dino) == before


@pytest.mark.once
def test_what_is_wrong_is_said_and_changes_nothing(model, tmp_path):
    before = trained(model)
    for wrong, error in (((), ValueError), (("**.bias", "image"), ValueError), ((3,), TypeError), (([],), TypeError)):
        with pytest.raises(error):
            freeze(model, *wrong)
    with pytest.raises(TypeError, match="a model or a layer"):
        freeze("image_encoder", "**")
    assert trained(model) == before
    freeze(model, "**.beta")
    model.save_to_preset(tmp_path)
    config = (tmp_path / "config.json").read_text().replace("norm_1.beta", "norm_9.beta")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match="asks for what cannot be done: the model has no weights '.*norm_9.beta'"):
        kzoo.from_preset(tmp_path)


@pytest.mark.once
def test_the_report_counts_parameters_by_groups_of_paths():
    model = tiny_model(depth=2)
    freeze(model, "image_encoder", "**.bias")
    report = trainable_report(model)
    assert report.trained + report.frozen == model.count_params() == report.bytes // 4
    assert report.trained == sum(np.prod(each.shape, dtype=int) for each in model.trainable_variables)
    row = next(row for row in report if row["weights"] == "text_encoder.blocks.*.attention.query")
    assert row == {"weights": row["weights"], "trained": 2 * 24 * 24, "frozen": 2 * 24, "bytes": 4 * 2 * 25 * 24}
    lines = repr(report).splitlines()
    assert len(lines) == len(report) + 2 and lines[0].split()[0] == "weights" and lines[-1].startswith("all")
    assert f"{model.count_params() * 4:,}" in lines[-1] and "0.00%" in repr(report)
    assert "<table>" in report._repr_html_()
    freeze(model, *[row["weights"] for row in report])  # each is a pattern
    assert trainable_report(model).trained == 0
