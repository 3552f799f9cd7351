"""What is given by hand: names that no disk has, sizes beyond all bounds, numbers that a backend has not."""

import json
import shutil
import struct
import warnings

import keras
import numpy as np
import pytest
from reading import refused, within
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, batch_of, numpy, tiny_model

import kzoo
from kzoo import cli
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.presets import checking

pytestmark = pytest.mark.once


def test_names_and_sizes_beyond_all_bounds(saved):
    assert "no preset, and no folder, 'aaaa" in refused(lambda: kzoo.from_preset("a" * 5000))
    for options in ({"context_length": 10**9}, {"image_size": 2**15}):
        (name,) = options
        assert f"{name} is " in refused(lambda options=options: kzoo.from_preset(saved, **options))


@pytest.mark.parametrize("dtype, wrong", [("float128", ValueError), (5, TypeError), (["float32"], TypeError)])
def test_policies_that_are_none(saved, dtype, wrong):
    with pytest.raises(wrong, match="dtype is .*; give a policy such as 'float32'"):
        kzoo.from_preset(saved, dtype=dtype)


def test_a_folder_in_the_place_of_a_config_is_found(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    (said,) = checking.problems(folder)[1]
    assert "is a folder, but a file is expected" in said


def test_a_header_of_many_tensors_is_read_at_once(folder):
    """Whoever goes through all of them for each layer would take minutes."""
    names = [f"layers/x{number}/vars/0" for number in range(100_000)]
    entries = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * at, 4 * at + 4]} for at, name in enumerate(names)
    }
    content = json.dumps(entries).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content + bytes(4 * len(names)))
    with within(20):
        refused(lambda: kzoo.from_preset(folder))
        assert checking.problems(folder)[1]


def test_numbers_of_the_other_order_of_bytes(tmp_path):
    folder = shutil.copytree(TESTS / "fixtures" / "bv_siglip_plain", tmp_path / "it")
    expected = kzoo.from_preset(folder)
    arrays = dict(np.load(folder / "model.npz"))
    np.savez(folder / "model.npz", **{name: each.astype(each.dtype.newbyteorder(">")) for name, each in arrays.items()})
    for one, other in zip(kzoo.from_preset(folder).weights, expected.weights, strict=True):
        assert np.array_equal(numpy(one), numpy(other))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "model"
    model = tiny_model(depth=1)
    model.compile("sgd", loss="InfoNCE")
    model.save_to_preset(folder, optimizer=True)
    config = json.loads((folder / "config.json").read_text())
    del config["fingerprints"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_training_without_its_optimizer_is_none(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    kept = {name: each for name, each in tensors.items() if not name.startswith("optimizer")}
    save_file(kept, folder / "model.safetensors")
    said = "lacks the state of the optimizer with which config.json says that the training goes on"
    assert said in refused(lambda: kzoo.from_preset(folder)) and said in " ".join(checking.problems(folder)[1])
    assert len(tensors) > len(kept)


@pytest.mark.parametrize("wrong", [{"metrics": ["os.system"]}, {"optimizer": None}, {"epochs_made": "x"}])
def test_what_a_training_was_asked_for_is_tried(trained, tmp_path, wrong):
    folder = shutil.copytree(trained, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["compile"] |= wrong
    (folder / "config.json").write_text(json.dumps(config))
    assert next(iter(wrong)) in refused(lambda: kzoo.from_preset(folder))
    assert next(iter(wrong)) in " ".join(checking.problems(folder)[1])


def test_files_that_are_no_model_of_keras(tmp_path):
    (tmp_path / "it.keras").write_text("none")
    assert "is no file that model.save wrote" in refused(lambda: kzoo.load_model(tmp_path / "it.keras"))
    for wrong in (5, None, b"it.keras"):
        with pytest.raises(TypeError, match="filepath is .*; give a path"):
            kzoo.load_model(wrong)


@pytest.mark.parametrize("given", ["captions.txt", pytest, None, 5, {"captions": ["a"]}])
def test_captions_that_are_none(given):
    preprocessor = Preprocessor(ImageSteps(8), vocabulary={"train": 300, "context_length": 8})
    with pytest.raises((TypeError, ValueError), match="captions are .*, but a list of strings is expected"):
        preprocessor.adapt(given)


@pytest.mark.parametrize("vocabulary", [{"train": "many"}, {"trian": 300}, {"train": 300, "context_length": -1}])
def test_a_vocabulary_to_come_is_looked_at(vocabulary):
    assert "the argument vocabulary " in refused(lambda: Preprocessor(ImageSteps(8), vocabulary=vocabulary))


def test_a_wrong_choice_is_a_wrong_value():
    with pytest.raises(ValueError, match="loss 'Nonsense' is unknown: kzoo.losses has no 'Nonsense'"):
        tiny_model(depth=1).compile(loss="Nonsense")


def test_numbers_that_a_backend_has_not():
    model = tiny_model(depth=1)
    model.compile("sgd", loss="InfoNCE")
    batch = batch_of(model, 4)
    batch["token_ids"] = batch["token_ids"].astype("uint64")
    batch["images"] = batch["images"].astype("longdouble")
    batch["labels"] = np.arange(4, dtype="uint64")
    assert np.isfinite(model.evaluate(batch, verbose=0, return_dict=True)["loss"])
    if keras.config.backend() == "torch":
        batch["labels"][0] = 2**64 - 1
        assert "more than int64 holds" in refused(lambda: model.evaluate(batch, verbose=0))


def test_weights_of_which_nothing_is_learnt():
    model = tiny_model(depth=1)
    model.compile("sgd", loss="InfoNCE")
    batch = batch_of(model, 4)
    with pytest.warns(UserWarning, match="each of the 4 sample_weight of a batch is 0: its loss is 0, and nothing"):
        model.evaluate(batch, sample_weight=np.zeros(4), verbose=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="each of the 4 sample_weight")
        model.evaluate(batch, sample_weight=np.array([0.0, 1.0, 1.0, 1.0]), verbose=0)


def test_names_in_a_table_do_not_steer_a_terminal(tmp_path):
    (tmp_path / "pairs.csv").write_text("image,caption\n\x1b[2Jx.png,a\n")
    (tmp_path / "pairs.jsonl").write_text('{"image": "a\\nb\\ud800.png", "caption": "a"}\n')
    preprocessor = tiny_model(depth=1).preprocessor
    for name in ("pairs.csv", "pairs.jsonl"):
        assert "there is no image file" in refused(lambda name=name: kzoo.data.pairs(tmp_path / name, preprocessor, 2))


def test_names_of_columns_that_steer_a_terminal(tmp_path):
    (tmp_path / "pairs.csv").write_text("im\x1b[2J," + "b" * 10_000 + "\n1,2\n")
    assert r"only im\x1b[2J, bbb" in refused(lambda: kzoo.data.pairs(tmp_path / "pairs.csv", tiny_model().preprocessor))


def test_a_model_without_a_preprocessor_says_so():
    model = tiny_model(depth=1)
    model.preprocessor = None
    for ask in (lambda: model.encode_text(["a"]), lambda: model.encode_image([np.zeros((8, 8, 3), "uint8")])):
        assert "there is no preprocessor that could read" in refused(ask)
    assert "more than the 178,956,970 pixels" in refused(
        lambda: tiny_model(depth=1).encode_image([np.broadcast_to(np.uint8(0), (100_000, 100_000, 3))])
    )
    assert "images is empty" in refused(lambda: tiny_model(depth=1).encode_image(np.zeros((0, 8, 8, 3), "uint8")))


def test_a_name_that_the_system_does_not_take(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kzoo", "check", "x" * 300])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert "cannot be opened: File name too long." in " ".join(said.split()) and "Errno" not in said
