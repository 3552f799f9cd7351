"""Every command, its output and its exit codes."""

import csv
import json
import os
import re
import signal

import numpy as np
import pytest
from cli_case import fails, run
from PIL import Image
from shared_case import TESTS, toy_pairs

import kzoo
from kzoo import cli
from kzoo.cli.progress import Watch

PAIRS = toy_pairs(12)


TWO_EPOCHS = ("--epochs", 2, "--batch-size", 6, "--learning-rate", 1e-3)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder of pairs and a model that `kzoo train` made of them."""
    folder = tmp_path_factory.mktemp("workshop") / "photos"
    folder.mkdir()
    lines = ["image,caption"]
    for index, (image, caption) in enumerate(zip(PAIRS["images"], PAIRS["captions"])):
        Image.fromarray(image).save(folder / f"{index}.png")
        lines.append(f"{index}.png,{caption}")
    (folder / "pairs.csv").write_text("\n".join(lines))
    result = run(
        *("train", folder / "pairs.csv", "--output", folder.parent / "model", *TWO_EPOCHS),
        *("--validation", folder / "pairs.csv", "--log", folder / "train.log"),
    )
    assert result.exit_code == 0, result.output
    assert f"saved the model in {folder.parent / 'model'}, as it was after epoch" in result.output.replace("\n", "")
    return folder


@pytest.mark.once
def test_help_names_every_command():
    result = run("--help")
    assert result.exit_code == 0
    assert result.output.strip().startswith("Image-text models for Keras 3")
    for command in cli.COMMANDS:
        assert command.__name__ in result.output
        told = run(command.__name__, "--help")
        assert told.exit_code == 0 and " ".join(told.output.split()).startswith(command.__doc__.split("\n")[0])


@pytest.mark.once
def test_version():
    assert run("--version").output.strip() == f"kzoo {kzoo.__version__}"


@pytest.mark.once
def test_presets_and_describe():
    listed = run("presets").output
    assert max(map(len, listed.splitlines())) <= 80
    assert all(f"{row['name']} " in listed for row in kzoo.list_presets())
    assert re.search(r"clip_base +151 M +224x224 +77 +MIT", run("presets", "--family", "clip").output)
    assert {row["name"] for row in json.loads(run("presets", "nano", "--json").output)} == {
        row["name"] for row in kzoo.list_presets() if "nano" in row["name"]
    }
    described = run("describe", "clip_base").output
    assert "total 151,277,313" in described and "timm/vit_base_patch32_clip_224.openai" in described
    described = run("describe", TESTS / "fixtures" / "oc_nllb_tiny").output
    assert (
        described.startswith("preset: oc_nllb_tiny\nlibrary: open_clip\n") and "text_encoder: kind m2m100" in described
    )


def test_train_goes_on_from_a_folder(workshop, tmp_path):
    result = run(
        *("train", workshop / "pairs.csv", "--preset", workshop.parent / "model", "--output", tmp_path / "more"),
        *(
            "--epochs",
            1,
            "--batch-size",
            6,
            "--freeze",
            "image",
            "--freeze",
            "text_encoder.blocks.*.mlp_{up,down}.bias",
            "--loss",
            "MultipleNegativesRanking",
            "--schedule",
            "linear",
        ),
    )
    assert result.exit_code == 0, result.output
    more, before = kzoo.from_preset(tmp_path / "more"), kzoo.from_preset(workshop.parent / "model")
    assert np.array_equal(more.encode_image(PAIRS["images"]), before.encode_image(PAIRS["images"]))
    assert not np.array_equal(more.encode_text(["red"]), before.encode_text(["red"]))
    up, was = (each.text_encoder.blocks[0].mlp_up for each in (more, before))
    assert np.array_equal(up.bias, was.bias) and not np.array_equal(up.kernel, was.kernel) and not up.bias.trainable
    assert more.loss_spec[0]["loss"] == "MultipleNegativesRanking" and len(more.trainings) == 2


@pytest.mark.once
def test_train_by_a_recipe(workshop, tmp_path):
    before = kzoo.from_preset(workshop.parent / "model")
    options = ("train", workshop / "pairs.csv", "--preset", workshop.parent / "model", "--epochs", 1)
    result = run(*options, "--output", tmp_path / "lit", "--recipe", "lit", "--learning-rate", 0.002)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "fine-tuned by lit)" in said and "learning rate 0.002 (cosine), weight decay 0.0001" in said  # 0.2 is usual
    assert "batches of 6," in said and "augmentation crop, word dropout 0, label smoothing 0" in said
    after = kzoo.from_preset(tmp_path / "lit")
    assert np.array_equal(after.encode_image(PAIRS["images"]), before.encode_image(PAIRS["images"]))  # is locked
    assert not np.array_equal(after.encode_text(["red"]), before.encode_text(["red"]))


@pytest.mark.once
def test_a_recipe_that_is_none(capsys, monkeypatch, workshop, tmp_path):
    arguments = ("train", workshop / "pairs.csv", "--output", tmp_path / "model", "--recipe", "clip_finetun")
    code, said = fails(capsys, monkeypatch, *arguments)
    assert code == 1 and "--recipe 'clip_finetun' is unknown" in said and "clip_finetune" in said
    assert not (tmp_path / "model").exists()


def history(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_what_a_training_leaves(workshop):
    names = {path.name for path in (workshop.parent / "model").iterdir()}
    assert names >= {"config.json", "model.safetensors", "README.md", "history.csv", "curves.png"}
    assert "training" not in names and not any(name.startswith(".") for name in names)
    rows = history(workshop.parent / "model")
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert list(rows[0])[:2] == ["epoch", "loss"] and Image.open(workshop.parent / "model" / "curves.png").width > 300
    log = (workshop / "train.log").read_text().splitlines()
    lines = [line for line in log if line.startswith("epoch ")]
    assert len(lines) == 2 and max(map(len, lines)) <= 80
    assert re.fullmatch(r"epoch 1/2  loss [\d.]+  accuracy \d+%  held out [\d.]+  recall@1/5/10 \d+/\d+/\d+%", lines[0])
    card = (workshop.parent / "model" / "README.md").read_text()
    assert "trained with kzoo on `pairs.csv` (12 rows, 6 a batch)" in card


@pytest.mark.one_other("jax")  # whose steps take the weights away
def test_an_interrupted_training_is_kept_and_resumed(workshop, tmp_path, monkeypatch, capsys):
    begin = Watch.on_epoch_begin

    def interrupt(self, epoch, logs=None):
        begin(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    arguments = ("train", workshop / "pairs.csv", "--output", tmp_path / "model")
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "on_epoch_begin", interrupt)
        result = run(*arguments, *TWO_EPOCHS, "--validation", workshop / "pairs.csv")
    said = " ".join(result.output.split())
    assert result.exit_code == 130 and "interrupted: the model of epoch 1, is in" in said and "--resume" in said
    assert kzoo.from_preset(tmp_path / "model").encode_text(["red"]).shape == (1, 24)
    code, said = fails(capsys, monkeypatch, *arguments)
    assert code == 1 and "holds a training that was interrupted, whose --validation was" in said
    assert "go on with it (--resume) or begin anew (--restart)" in said
    code, said = fails(capsys, monkeypatch, *arguments, "--resume", "--epochs", 3)
    assert code == 1 and "--epochs was 2 when this training began" in said
    # the same command again, on another machine
    result = run(*arguments, *TWO_EPOCHS, "--validation", workshop / "pairs.csv", "--micro-batch-size", 4)
    assert result.exit_code == 0, result.output
    assert f"going on with the training in {tmp_path / 'model'} at epoch 2, step 1" in result.output.replace("\n", "")
    resumed, whole = history(tmp_path / "model"), history(workshop.parent / "model")
    for name in ("loss", "val_loss"):
        values = [[float(row[name]) for row in rows] for rows in (resumed, whole)]
        assert values[0] == pytest.approx(values[1], rel=1e-5)  # in micro-batches
    code, said = fails(capsys, monkeypatch, *arguments)
    assert code == 1 and "holds a model; replace it (--overwrite)" in said


@pytest.mark.once
def test_a_training_goes_on_without_a_picture_that_turned_out_broken(workshop, tmp_path, monkeypatch, capsys):
    for path in workshop.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    number = np.random.default_rng((0, 0)).permutation(12)[-1]  # in the last batch: the first is tried before all else
    broken = tmp_path / f"{number}.png"
    broken.write_bytes(broken.read_bytes()[:-300])
    arguments = ("train", tmp_path / "pairs.csv", "--output", tmp_path / "model")
    code, said = fails(capsys, monkeypatch, *arguments, *TWO_EPOCHS)
    assert code == 1 and f"{number}.png cannot be read as an image" in said
    assert "go on without it: --skip-broken" in said
    with pytest.warns(UserWarning, match=f"{number}.png cannot be read as an image: .* It is left out"):
        result = run(*arguments, "--resume", "--skip-broken")
    assert result.exit_code == 0 and len(history(tmp_path / "model")) == 2


def test_evaluate(workshop):
    arguments = ("evaluate", workshop.parent / "model", workshop / "pairs.csv", "--batch-size", 6)
    results = json.loads(run(*arguments, "--json").output.splitlines()[-1])
    assert {"loss", "info_nce", "in_batch_accuracy", "text_to_image_recall@10"} <= set(results)
    assert (results["pairs"], results["images"], results["batch_size"]) == (12, 12, 6)
    assert results["chance"]["in_batch_accuracy"] == pytest.approx(1 / 6)
    assert results["chance"]["text_to_image_recall@5"] == results["chance"]["image_to_text_recall@5"]
    assert results["chance"]["image_to_text_recall@5"] == pytest.approx(5 / 12)
    printed = run(*arguments).output
    assert "12 pairs, in batches of 6" in printed and "info_nce" not in printed
    assert printed.index("recall@1 ") < printed.index("recall@5 ") < printed.index("recall@10")


def test_export_embed_and_classify(workshop, tmp_path):
    result = run("export", workshop.parent / "model", tmp_path / "onnx")
    assert result.exit_code == 0 and re.search(
        r"image_encoder: worst difference to the model \d\.\de-\d\d", result.output
    )
    (tmp_path / "texts.txt").write_text("a red circle\n\na blue square\n")
    for model in (workshop.parent / "model", tmp_path / "onnx"):
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
    for place in (workshop.parent / "model", tmp_path / "onnx"):
        rows = [json.loads(line) for line in run("classify", place, workshop, *arguments).output.splitlines()]
        assert len(rows) == 12 and rows[0]["red circle"] + rows[0]["blue square"] == pytest.approx(1.0)
    shown = run("classify", workshop / "0.png", "--preset", place, "--labels", "[red],:cat:").output
    assert "[red]" in shown or ":cat:" in shown
    for named in (
        ("classify", workshop.parent / "model", workshop / "0.png"),
        ("classify", workshop / "0.png", "--preset", workshop.parent / "model"),
    ):
        assert "probability" in run(*named, "--labels", "red,blue").output


@pytest.mark.once
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


@pytest.mark.once
def test_a_model_that_writes_no_captions(capsys, monkeypatch, workshop):
    code, output = fails(capsys, monkeypatch, "caption", workshop, "--preset", workshop.parent / "model")
    assert code == 1 and "writes no captions: it has no decoder; take a captioner, such as coca_base" in output


@pytest.mark.once
def test_convert(tmp_path):
    checkpoint = TESTS / "fixtures" / "oc_clip_vit_tiny"
    result = run("convert", checkpoint, tmp_path / "out", "--format", "transformers")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert run("convert", tmp_path / "out", tmp_path / "back").exit_code == 0
    assert (tmp_path / "back" / "model.safetensors").is_file()


@pytest.mark.once
def test_a_training_that_was_taken_away_goes_on_in_the_middle_of_an_epoch(workshop, tmp_path, monkeypatch):
    def terminate(self, batch, logs=None):
        if len(self.history) == 1 and batch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def command(name):
        return "train", workshop / "pairs.csv", "--output", tmp_path / name, "--epochs", 2, "--batch-size", 4

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "on_train_batch_begin", terminate)
        result = run(*command("model"))
    assert result.exit_code == 143 and "go on with the same command" in " ".join(result.output.split())
    result = run(*command("model"))
    assert result.exit_code == 0 and "at epoch 2, step 3" in result.output.replace("\n", ""), result.output
    assert run(*command("whole")).exit_code == 0
    for row, other in zip(history(tmp_path / "model"), history(tmp_path / "whole"), strict=True):
        assert row == other | {"seconds": row["seconds"]}


@pytest.mark.once
def test_shards_are_written_trained_measured_and_embedded(workshop, tmp_path, capsys, monkeypatch):
    shards, pattern = tmp_path / "shards", f"{tmp_path}/shards/data-{{00000..00002}}.tar"
    written = run("shards", workshop / "pairs.csv", shards, "--shard-size", 5)
    assert written.exit_code == 0 and "wrote 3 shards" in written.output.replace("\n", "")
    assert fails(capsys, monkeypatch, "shards", workshop / "pairs.csv", shards)[1].endswith("with --overwrite.\n")
    assert run("shards", workshop / "pairs.csv", shards, "--shard-size", 4, "--overwrite").exit_code == 0
    (shards / "index.json").unlink()
    assert run("shards", pattern).exit_code == 0 and (shards / "index.json").is_file()
    assert "of shards already" in fails(capsys, monkeypatch, "shards", pattern, tmp_path / "again")[1]
    assert run("shards", workshop / "pairs.csv").exit_code == 2
    trained = run("train", pattern, "--output", tmp_path / "model", *TWO_EPOCHS, "--validation", shards)
    assert trained.exit_code == 0, trained.output
    found = json.loads(run("evaluate", workshop.parent / "model", shards, "--json").output)
    expected = json.loads(run("evaluate", workshop.parent / "model", workshop / "pairs.csv", "--json").output)
    assert found["images"] == 12 and found["image_to_text_recall@5"] == expected["image_to_text_recall@5"]
    embedded = run(
        "embed", workshop.parent / "model", "--images", shards, "--texts", pattern, "--output", tmp_path / "e.npz"
    )
    assert embedded.exit_code == 0, embedded.output
    arrays = np.load(tmp_path / "e.npz")
    assert arrays["image_embeddings"].shape == arrays["text_embeddings"].shape == (12, 24)
    assert arrays["image_files"][0] == "data-00000.tar: 000000000"
    assert run("classify", workshop.parent / "model", pattern, "--labels", "a,b").exit_code == 0
    code, said = fails(capsys, monkeypatch, "train", "pipe:touch run", "--output", tmp_path / "other")
    assert code == 1 and "is a command, which a shell would run" in said
