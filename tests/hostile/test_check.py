"""`kzoo check`: what is wrong with a folder, all of it at once."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from reading import refused
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, batch_of, tiny_model
from typer.testing import CliRunner

import kzoo
from kzoo import cli
from kzoo.files.fingerprint import fingerprint_of
from kzoo.presets import checking
from kzoo.training import Resume
from kzoo.weights import adapter_checking

pytestmark = pytest.mark.once
FIXTURES = sorted(path.name for path in (TESTS / "fixtures").iterdir())


def run(folder, *options):
    return CliRunner().invoke(cli.app, ["check", str(folder), *options])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    tiny_model(depth=1).save_to_preset(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


@pytest.mark.parametrize("name", FIXTURES)
def test_nothing_is_wrong_with_checkpoints(name):
    layout, problems = checking.problems(TESTS / "fixtures" / name)
    assert problems == [] and layout == {"hf": "transformers", "oc": "open_clip", "bv": "big_vision"}[name[:2]]


def test_nothing_is_wrong_with_what_kzoo_wrote(folder):
    assert checking.problems(folder) == ("kzoo", [])
    assert checking.problems(TESTS / "presets" / "saved_by_0_1") == ("kzoo", [])
    result = run(folder)
    assert result.exit_code == 0 and "kzoo, nothing is wrong" in result.output


def test_nothing_is_wrong_with_adapters():
    for case in sorted((TESTS / "adaptation" / "peft").glob("*_*")):
        assert adapter_checking.problems(case) == ("adapter", []), case


def test_everything_that_is_wrong_with_an_adapter_comes_at_once(tmp_path):
    folder = shutil.copytree(TESTS / "adaptation" / "peft" / "clip_lora", tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text()) | {"lora_dropout": 2, "bias": "all", "use_x": 1}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    found = load_file(folder / "adapter_model.safetensors")
    not_finite, large, whole, lacking = list(found)[:4]
    found |= {
        not_finite: found[not_finite] * np.nan,
        large: np.full_like(found[large], 1e30),
        whole: found[whole].astype("int8"),
    }
    del found[lacking]
    save_file(found | {"other": np.ones(2)}, folder / "adapter_model.safetensors")
    result = run(folder, "--json")
    report = json.loads(result.output)
    assert result.exit_code == 1 and report["layout"] == "adapter"
    wanted = [
        *("says bias='all'", "says lora_dropout=2", "says use_x=1", "the tensor other, which is none of LoRA"),
        *(f"{not_finite} in .* holds nan", f"{large} in .* holds 1e.30", f"{whole} in .* is of int8"),
        f"lacks {lacking[-13:]} of {lacking.removeprefix('base_model.model.')[:-14]}",
    ]
    for said in wanted:
        assert sum(re.search(said, sentence) is not None for sentence in report["problems"]) == 1, said
    assert len(report["problems"]) == len(wanted)
    shutil.copy(TESTS / "adaptation" / "peft" / "clip_dora" / "adapter_model.safetensors", folder)
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"lora_dropout": 0, "bias": "none", "use_x": 0} | {"r": 5})
    )
    problems = adapter_checking.problems(folder)[1]
    assert any("use_dora=False, but its tensors" in each for each in problems) and any(
        "r=5" in each for each in problems
    )


def test_everything_comes_at_once(folder):
    config = json.loads((folder / "config.json").read_text())
    config["image_encoder"] |= {"width": "8", "std": [0.0, 0.2, 0.2]}
    config["similarity"]["scale"] = -1
    del config["fingerprints"]
    (folder / "config.json").write_text(json.dumps(config))
    result = run(folder, "--json")
    told = json.loads(result.output)
    assert result.exit_code == 1 and told["layout"] == "kzoo"
    said = "\n".join(told["problems"])
    for part in ("image_encoder says width='8'", "image_encoder says std=[0.0, 0.2, 0.2]", "similarity says scale=-1"):
        assert part in said


def test_what_a_config_asks_for_is_tried(tmp_path):
    model = tiny_model(depth=1)
    model.compile("adamw", loss="InfoNCE")
    model.save_to_preset(tmp_path, optimizer=True)
    assert checking.problems(tmp_path) == ("kzoo", [])
    config = json.loads((tmp_path / "config.json").read_text())
    config["loss"][0]["loss"] = "InfoMCE"
    config["compile"]["optimizer"]["config"]["beta_9"] = 0.9
    config["quantised"] = {"1": {"mode": "int3", "config": None}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    _, problems = checking.problems(tmp_path)
    said = "\n".join(problems)
    for part in (
        "under 'loss' what cannot be done: kzoo.losses has no 'InfoMCE'; did you mean InfoNCE",
        "under 'compile'",
    ):
        assert part in said, said
    assert len(problems) == 3 and "under 'quantised'" in said


def test_weights_and_vocabulary_are_looked_into(folder):
    tensors = load_file(folder / "model.safetensors")
    names = [name for name, tensor in tensors.items() if tensor.ndim == 2]
    tensors[names[0]][0, 0] = np.nan
    tensors[names[1]][1, 0] = np.inf
    tensors["similarity/vars/0"] = np.array(1000, "float32")
    save_file(tensors, folder / "model.safetensors")
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("<pad>", "<pat>"))
    result = run(folder)
    said = result.output.replace("\n", " ")
    assert result.exit_code == 1
    for part in (
        f"{names[0]} in {folder}/model.safetensors holds nan at [0, 0], and 1 of",
        f"{names[1]} in {folder}/model.safetensors holds inf at [1, 0]",
        "similarity/vars/0 in",
        "tokenizer.json is not the one that the model was saved with",
        "model.safetensors is not the file that config.json was saved with",
        f"5 problems in {folder}",
    ):
        assert part in said, said


def test_tensors_that_nothing_reads_are_found(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"backdoor/vars/0": np.zeros((3, 5), "float32")}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    del config["fingerprints"]
    (folder / "config.json").write_text(json.dumps(config))
    (said,) = checking.problems(folder)[1]
    assert "has 1 tensors that nothing of its config reads, backdoor/vars/0." in said


LAST = "optimizer/vars/93"
OF_TRAININGS = {
    "lacks": (lambda tensors: tensors.pop(LAST), f"lacks 1 tensors of the model of its config, {LAST}."),
    "more": (lambda tensors: tensors.update({"optimizer/vars/94": np.zeros(3, "float32")}), "config reads, optimizer/"),
    "other": (
        lambda tensors: tensors.update({LAST: np.zeros(3, "float32")}),
        f"{LAST} of shape (3,) in place of (",
    ),
    "none": (
        lambda tensors: [tensors.pop(name) for name in [*tensors] if name.startswith("optimizer/")],
        "lacks the state of the optimizer",
    ),
}


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A model whose training goes on, with its checkpoints."""
    folder, model = tmp_path_factory.mktemp("training") / "training", tiny_model(depth=1)
    model.compile("adamw", loss="InfoNCE")
    model.save_to_preset(folder, optimizer=True)  # before its first step
    run = Resume(folder / "checkpoints", every=1, keep=1)
    model.fit(batch_of(model, 8), epochs=1, batch_size=8, verbose=0, callbacks=[run])
    config = json.loads((folder / "config.json").read_text())
    del config["fingerprints"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("what", OF_TRAININGS)
def test_tensors_of_an_optimizer_are_what_opening_wants(training, tmp_path, what):
    folder = shutil.copytree(training, tmp_path / "training")
    assert checking.problems(folder) == ("kzoo", []) and kzoo.from_preset(folder).optimizer.built
    tensors, (change, sentence) = load_file(folder / "model.safetensors"), OF_TRAININGS[what]
    assert LAST in tensors
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    (said,) = checking.problems(folder)[1]
    assert sentence in said
    refused(lambda: kzoo.from_preset(folder))


@pytest.mark.parametrize("name, array, sentence", [
    ("optimizer/00093", None, "for adam.* it has none"),
    ("optimizer/00007", None, "has optimizer/00008, but lacks optimizer/00007"),
    ("optimizer/00094", np.zeros(3, "float32"), "it has optimizer/00094 of shape .3,., of which this one"),
    ("trained/00003", np.zeros(3, "float32"), "it has one of shape"),
    ("trained/00000", np.full((1,), np.nan, "float32"), "trained/00000 in .* holds nan"),
])  # fmt: skip
def test_tensors_of_a_checkpoint_are_what_going_on_wants(training, tmp_path, name, array, sentence):
    folder = shutil.copytree(training, tmp_path / "model" / "training")
    (last,) = (folder / "checkpoints").iterdir()
    tensors = load_file(last / "tensors.safetensors")
    changed = (
        tensors | {name: array} if array is not None else {each: tensors[each] for each in tensors if each != name}
    )
    save_file(changed, last / "tensors.safetensors")
    of_file = {"tensors.safetensors": fingerprint_of(last / "tensors.safetensors")}
    recorded = json.loads((last / "fingerprints.json").read_text())
    (last / "fingerprints.json").write_text(json.dumps(recorded | of_file))
    (said,) = checking.problems(folder)[1]
    assert re.search(sentence, said)
    model = tiny_model(depth=1)
    model.compile("adamw", loss="InfoNCE")
    again = Resume(folder / "checkpoints", every=1, keep=1)
    said = refused(lambda: model.fit(batch_of(model, 8), epochs=2, batch_size=8, verbose=0, callbacks=[again]))
    assert re.search(sentence, said)
    state = {"options": {}, "history": 5, "best": None}
    (folder / "state.json").write_text(json.dumps(state))
    told = run(folder.parent, "--json")  # a folder of `kzoo train`, which has no model before an epoch is done
    problems = json.loads(told.output)["problems"]
    assert told.exit_code == 1 and len(problems) == 2 and re.search(sentence, problems[0])
    assert "history is 5, but a list is expected" in problems[1] or "says history=5" in problems[1]


def test_checkpoints_alone(training, tmp_path):
    folder = shutil.copytree(training / "checkpoints", tmp_path / "run")
    assert checking.problems(folder) == ("training", [])
    (last,) = folder.iterdir()
    (last / "tensors.safetensors").write_bytes(b"x")
    (said,) = checking.problems(folder)[1]
    assert "tensors.safetensors is not as it was written" in said


def test_files_that_are_none(folder):
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    (folder / "vocab.txt").symlink_to("/etc/hostname")
    (folder / "config.json").write_text("{")
    _, problems = checking.problems(folder)
    said = " ".join(problems)
    assert len(problems) == 3
    assert all(part in said for part in ("is a pipe", "is a link to /etc/hostname", "is not JSON"))


def test_a_checkpoint_of_another_library(tmp_path):
    folder = shutil.copytree(TESTS / "fixtures" / "hf_clip_tiny", tmp_path / "clip")
    tensors = load_file(folder / "model.safetensors")
    tensors["logit_scale"] = np.array(4)
    tensors["text_projection.weight"][0, 0] = np.nan
    save_file(tensors, folder / "model.safetensors")
    _, problems = checking.problems(folder)
    said = " ".join(problems)
    assert "1 no floats: logit_scale is of I64" in said and "text_projection.weight in" in said
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["hidden_size"], config["text_config"]["layer_norm_eps"] = 1.5, -1
    (folder / "config.json").write_text(json.dumps(config))
    said = " ".join(checking.problems(folder)[1])
    assert "vision_config says hidden_size=1.5" in said and "text_config says layer_norm_eps=-1" in said


def test_what_is_no_folder(tmp_path):
    layout, problems = checking.problems(tmp_path)
    assert layout is None and "declares no model" in problems[0]


def test_no_traceback_but_with_debug(tmp_path, monkeypatch, capsys):
    class PanicException(BaseException):
        """As that of tokenizers' Rust, which is no Exception."""

    def ended(error, *options):
        def stop(folder):
            raise error

        monkeypatch.setattr(checking, "problems", stop)
        monkeypatch.setattr(cli.sys, "argv", ["kzoo", "check", str(tmp_path), *options])
        with pytest.raises(BaseException) as caught:
            cli.main()
        return caught.value, " ".join(capsys.readouterr().err.split())

    for error in (KeyError("x"), PanicException("index out of bounds"), MemoryError()):
        end, said = ended(error)
        assert isinstance(end, SystemExit) and end.code == 1 and said.startswith("kzoo: ") and "Traceback" not in said
        assert ended(error, "--debug")[0] is error
