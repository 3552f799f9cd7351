"""What commands refuse: one sentence, an exit code, and nothing written."""

import re

import pytest
from cli_case import fails
from PIL import Image
from shared_case import toy_pairs

PAIRS = toy_pairs(12)


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("describe", "clip_bse"), "there is no preset 'clip_bse'"),
        (("evaluate", "nowhere", "nothing.csv"), "there is no preset 'nowhere', and no folder of that name"),
        (("train", "nothing.csv", "--output", "x"), "nothing.csv is no source of pairs"),
        (("embed", "nowhere", "--output", "x.npz"), "there is nothing to embed"),
        (("export", "clip_nano", "x"), "clip_nano has no released weights; build it untrained with kzoo train --from"),
        (("train", "x.csv", "--output", __file__), f"{__file__} cannot be a folder"),
        (("train", "x.csv", "--output", "x", "--resume"), "the training in x has not begun"),
        (
            ("train", "x.csv", "--output", "x", "--preset", "clip_base"),
            "clip_base has its weights in timm/vit_base_patch32",
        ),
        (
            ("train", "x.csv", "--output", "x", "--preset", "dino_nano"),
            "kzoo train learns from pictures with captions, but",
        ),
        (("train", "x.csv", "--output", "x", "--preset", "languagebind_nano"), "kzoo train learns from pictures with"),
        (("classify", "x.png", "--labels", "a,b"), "there is no model, only images"),
        (("classify", __file__, "x.png", "--labels", "a,b"), "there is no model, only images"),
        (("classify", "x.png", "--preset", "x", "--labels", "a,b, a"), "--labels has 'a' twice; give each class once"),
        (("presets", "nothing"), "no preset has 'nothing' in its name"),
        (("presets", "--family", "clap"), "there is no family 'clap'"),
    ],
)
def test_bad_input_ends_with_one_sentence_and_code_1(capsys, monkeypatch, arguments, sentence):
    code, output = fails(capsys, monkeypatch, *arguments)
    assert code == 1 and f"kzoo: {sentence}" in output
    assert "Traceback" not in output


@pytest.mark.once
def test_a_model_is_not_written_among_its_pictures(capsys, monkeypatch, tmp_path):
    Image.fromarray(PAIRS["images"][0]).save(tmp_path / "0.png")
    (tmp_path / "0.txt").write_text("a dog")
    for arguments in ((tmp_path, "--output"), ("x.csv", "--validation", tmp_path, "--output")):
        for output in (tmp_path, tmp_path / "new" / "model"):
            code, said = fails(capsys, monkeypatch, "train", *arguments, output)
            assert code == 1 and f"--output is {output}, within {tmp_path}, of which every picture is read" in said
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.once
def test_wrong_usage_ends_with_code_2(capsys, monkeypatch):
    code, output = fails(capsys, monkeypatch, "train")
    assert code == 2 and "Missing argument" in output
    assert fails(capsys, monkeypatch, "demo", "--backend", "mxnet")[0] == 2


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "x.csv", "--output", "TARGET"),
        ("train", "x.csv", "--output", "new", "--log", "TARGET"),
        ("embed", "nowhere", "--output", "TARGET.npz", "--images", "x.png"),
        ("export", "nowhere", "TARGET"),
        ("convert", "nowhere", "TARGET"),
        ("convert", "nowhere", "TARGET", "--format", "open_clip"),
    ],
)
def test_targets_are_tried_before_the_work(capsys, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    for target in ("a" * 300, "file/below"):
        (tmp_path / "file").touch()
        code, output = fails(capsys, monkeypatch, *(each.replace("TARGET", target) for each in arguments))
        assert code == 1 and re.search("cannot be written|cannot be a folder", output) and "nowhere" not in output
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    if arguments[0] in ("export", "convert"):
        code, output = fails(capsys, monkeypatch, *(each.replace("TARGET", ".") for each in arguments))
        assert code == 1 and re.search("holds a model of transformers|is not an export", output)
        assert "--overwrite" in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "file"]


TRAIN = ("train", "x.csv", "--output", "x")


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ((*TRAIN, "--epochs", 0), "'--epochs': it is 0; give a whole number of at least 1."),
        ((*TRAIN, "--epochs", -1), "'--epochs': it is -1; give a whole number of at least 1."),
        ((*TRAIN, "--epochs", 10**30), "'--epochs': it is 1000000000"),
        ((*TRAIN, "--batch-size", 1), "'--batch-size': it is 1; give a whole number of at least 2."),
        ((*TRAIN, "--learning-rate", 0), "'--learning-rate': it is 0.0; give a positive number."),
        ((*TRAIN, "--learning-rate", "nan"), "'--learning-rate': it is nan; give a positive number."),
        ((*TRAIN, "--weight-decay", -0.1), "'--weight-decay': it is -0.1; give a number of at least 0."),
        ((*TRAIN, "--word-dropout", 1), "'--word-dropout': it is 1.0; give a number in [0, 0.9]."),
        ((*TRAIN, "--image-size", 0), "'--image-size': it is 0; give a whole number from 1 to 65536."),
        ((*TRAIN, "--patience", 0), "'--patience': it is 0; give a whole number of at least 1."),
        (
            (*TRAIN, "--patience", 2),
            "--patience waits for better numbers on held-out pairs; give them as --validation.",
        ),
        ((*TRAIN, "--seed", -1), "'--seed': it is -1; give a whole number of at least 0."),
        (("evaluate", "m", "x.csv", "--batch-size", 0), "'--batch-size': it is 0; give a whole number of at least 1."),
        (("embed", "m", "--output", "x", "--batch-size", -2), "'--batch-size': it is -2; give a whole number of at "),
        (("demo", "--minutes", 0), "'--minutes': it is 0.0; give a number in (0, 1440]."),
        (("caption", "x.png", "--preset", "m", "--batch-size", 0), "'--batch-size': it is 0; give a whole number of "),
        (
            ("caption", "x.png", "--preset", "m", "--strategy", "beams"),
            "'--strategy': it is 'beams'; choose one of gre",
        ),
        (("caption", "x.png", "--preset", "m", "--top-p", 2), "'--top-p': it is 2.0; give a number in (0, 1]."),
        (("export", "m", "x", "--opset", 3), "'--opset': it is 3; give a whole number of at least 13."),
        (
            ("export", "m", "x", "--format", "tf_saved_model", "--opset", 18),
            "--opset is of onnx; leave it out, or take",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_opened(capsys, monkeypatch, arguments, sentence):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("kzoo.cli.parts.needs_keras", lambda: pytest.fail("Keras was imported"))
    code, output = fails(capsys, monkeypatch, *arguments)
    assert code == 2 and sentence in output, output
