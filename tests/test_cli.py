"""Every command, its output and its exit codes."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from shared_case import TESTS, toy_pairs
from typer.testing import CliRunner

import kzoo
from kzoo import cli

PAIRS = toy_pairs(12)


def run(*arguments):
    """Exit code and output of a command, ended as `main` ends it."""
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def fails(capsys, monkeypatch, *arguments):
    """Exit code of `kzoo ARGUMENTS` and the sentence that it leaves on standard error."""
    monkeypatch.setattr(cli.sys, "argv", ["kzoo", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code, capsys.readouterr().err


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder of pairs and a model that `kzoo train` made of them."""
    folder = tmp_path_factory.mktemp("workshop")
    lines = ["image,caption"]
    for index, (image, caption) in enumerate(zip(PAIRS["images"], PAIRS["captions"])):
        Image.fromarray(image).save(folder / f"{index}.png")
        lines.append(f"{index}.png,{caption}")
    (folder / "pairs.csv").write_text("\n".join(lines))
    result = run(
        *("train", folder / "pairs.csv", "--output", folder / "model", "--validation", folder / "pairs.csv"),
        *("--epochs", 1, "--batch-size", 6, "--learning-rate", 1e-3),
    )
    assert result.exit_code == 0, result.output
    assert f"saved the model in {folder / 'model'}" in result.output.replace("\n", "")
    return folder


@pytest.mark.once
def test_help_names_every_command():
    result = run("--help")
    assert result.exit_code == 0
    for command in ("presets", "describe", "demo", "train", "evaluate", "embed", "classify", "caption", "export"):
        assert command in result.output
        assert run(command, "--help").exit_code == 0


@pytest.mark.once
def test_presets_and_describe():
    assert "clip_nano" in run("presets", "--family", "clip").output
    described = run("describe", "clip_base").output
    assert "total 151,277,313" in described and "timm/vit_base_patch32_clip_224.openai" in described


def test_train_goes_on_from_a_folder(workshop, tmp_path):
    result = run(
        *("train", workshop / "pairs.csv", "--preset", workshop / "model", "--output", tmp_path / "more"),
        *("--epochs", 1, "--batch-size", 6),
    )
    assert result.exit_code == 0 and (tmp_path / "more" / "config.json").is_file()


def test_evaluate(workshop):
    results = json.loads(run("evaluate", workshop / "model", workshop / "pairs.csv", "--json").output.splitlines()[-1])
    assert {"loss", "info_nce", "in_batch_accuracy", "text_to_image_recall@10"} <= set(results)
    assert "image_to_text_recall@1" in run("evaluate", workshop / "model", workshop / "pairs.csv").output


def test_export_embed_and_classify(workshop, tmp_path):
    result = run("export", workshop / "model", tmp_path / "onnx")
    assert result.exit_code == 0 and re.search(
        r"image_encoder: worst difference to the model \d\.\de-\d\d", result.output
    )
    (tmp_path / "texts.txt").write_text("a red circle\n\na blue square\n")
    for model in (workshop / "model", tmp_path / "onnx"):
        output = tmp_path / f"{model.name}.npz"
        result = run(
            *("embed", model, "--output", output, "--images", workshop, "--texts", tmp_path / "texts.txt"),
            *("--batch-size", 5),
        )
        assert result.exit_code == 0, result.output
    model, onnx = (np.load(tmp_path / f"{name}.npz") for name in ("model", "onnx"))
    assert model["image_embeddings"].shape[0] == 12 and model["texts"].tolist() == ["a red circle", "a blue square"]
    for name in ("image_embeddings", "text_embeddings"):
        np.testing.assert_allclose(onnx[name], model[name], atol=2e-6)

    arguments = ("--labels", "red circle, blue square", "--template", "a big {}", "--json")
    for place in (workshop / "model", tmp_path / "onnx"):
        rows = [json.loads(line) for line in run("classify", place, workshop, *arguments).output.splitlines()]
        assert len(rows) == 12 and rows[0]["red circle"] + rows[0]["blue square"] == pytest.approx(1.0)
    assert "probability" in run("classify", workshop / "model", workshop / "0.png", "--labels", "red,blue").output


def test_caption(workshop, tmp_path):
    model = kzoo.from_preset("coca_nano", load_weights=False)
    model.preprocessor.adapt(PAIRS["captions"])
    model.save_to_preset(tmp_path / "coca")
    files = sorted(workshop.glob("*.png"))[:3]
    arguments = ("caption", *files, "--preset", tmp_path / "coca", "--batch-size", 2)
    result = run(*arguments, "--strategy", "beam", "--max-length", 6, "--json")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]
    captions, scores = model.caption(files, "beam", max_length=6, return_scores=True)
    assert [row["image"] for row in rows] == [str(path) for path in files]
    assert [row["caption"] for row in rows] == captions
    assert [row["score"] for row in rows] == pytest.approx(scores.tolist(), rel=1e-4)
    several = run(*arguments, "--strategy", "sample", "--num-captions", 2, "--seed", 1, "--max-length", 6, "--json")
    rows = [json.loads(line) for line in several.output.splitlines() if line.startswith("{")]
    assert [len(row["captions"]) for row in rows] == [len(row["scores"]) for row in rows] == [2, 2, 2]
    assert "caption" in run(*arguments, "--max-length", 6).output


def test_a_model_that_writes_no_captions(capsys, monkeypatch, workshop):
    code, output = fails(capsys, monkeypatch, "caption", workshop, "--preset", workshop / "model")
    assert code == 1 and "writes no captions: it has no decoder; take a captioner, such as coca_base" in output


def test_convert(tmp_path):
    checkpoint = TESTS / "fixtures" / "oc_clip_vit_tiny"
    result = run("convert", checkpoint, tmp_path / "out", "--format", "transformers")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert run("convert", tmp_path / "out", tmp_path / "back").exit_code == 0
    assert (tmp_path / "back" / "model.weights.h5").is_file()


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("describe", "clip_bse"), "there is no preset 'clip_bse'"),
        (("evaluate", "nowhere", "nothing.csv"), "there is no preset 'nowhere', and no folder of that name"),
        (("train", "nothing.csv", "--output", "x"), "nothing.csv is no source of pairs"),
        (("embed", "nowhere", "--output", "x.npz"), "there is nothing to embed"),
        (("export", "clip_nano", "x"), "clip_nano has no released weights"),
        (("presets", "--family", "clap"), "there is no family 'clap'"),
    ],
)
def test_bad_input_ends_with_one_sentence_and_code_1(capsys, monkeypatch, arguments, sentence):
    code, output = fails(capsys, monkeypatch, *arguments)
    assert code == 1 and f"kzoo: {sentence}" in output
    assert "Traceback" not in output


@pytest.mark.once
def test_wrong_usage_ends_with_code_2(capsys, monkeypatch):
    code, output = fails(capsys, monkeypatch, "train")
    assert code == 2 and "Missing argument" in output
    assert fails(capsys, monkeypatch, "demo", "--backend", "mxnet")[0] == 2
