"""`kzoo adapt` on a folder of class folders, and `kzoo classify` with what it wrote."""

import json
import shutil

import numpy as np
import pytest
from cli_case import fails, run
from PIL import Image
from shared_case import spread, tiny_model, toy_pairs

import kzoo

pytestmark = pytest.mark.once
NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `photos`, those of three colours, and a model `tiny`."""
    place = tmp_path_factory.mktemp("adapt")
    for number, image in enumerate(toy_pairs(24)["images"]):
        if number % 4 < 3:
            folder = place / "photos" / ("red", "green", "blue")[number % 4]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number}.png")
    model = tiny_model(depth=1)
    spread(model.image_encoder)
    model.save_to_preset(place / "tiny")
    return place


def test_a_folder_of_class_folders_becomes_a_model(place):
    base = ("adapt", place / "photos", "--preset", place / "tiny", "--template", "a {}", "--shots", 4, "--seed", 3)
    result = run(*base, "--output", place / "adapted", "--method", "tip_adapter", "--setting", "alpha=2")
    assert result.exit_code == 0, result.output
    assert "accuracy after" in result.output and f"wrote {place / 'adapted'}" in result.output.replace("\n", "")
    adapted = kzoo.adaptation.AdaptedClassifier.load(place / "adapted")
    assert adapted.classes == NAMES and adapted.classifier.alpha == 2.0 and len(adapted.classifier.keys) == 12
    again = run(*base, "--output", place / "adapted", "--method", "class_mean", "--json")
    report = json.loads(again.output.splitlines()[-1])
    assert (report["method"], report["pictures"], report["held_out"], report["shots"]) == ("class_mean", 12, 6, 4)
    pictures = sorted((place / "photos" / "red").glob("*.png"))
    rows = [
        json.loads(line)
        for line in run(
            "classify", place / "photos" / "red", "--preset", place / "adapted", "--json"
        ).output.splitlines()
    ]
    wanted = kzoo.adaptation.AdaptedClassifier.load(place / "adapted").classify(pictures)
    np.testing.assert_allclose([[row[name] for name in NAMES] for row in rows], wanted, atol=1e-6)
    result = run("export", place / "adapted", place / "onnx")  # with its classes
    assert result.exit_code == 0 and "with the classifier beside the model" in result.output
    served = kzoo.adaptation.AdaptedClassifier.load(place / "onnx")
    assert served.classes == NAMES
    np.testing.assert_allclose(served.classify(pictures), wanted, atol=1e-4)


def test_what_is_trained_is_kept_and_what_cannot_be_read_is_left_out(place):
    photos = shutil.copytree(place / "photos", place / "broken")
    (photos / "red" / "0.png").write_bytes(b"none")
    base = ("adapt", photos, "--preset", place / "tiny", "--template", "a {}", "--method", "lora")
    settings = (
        "--setting",
        "rank=2",
        "--setting",
        "epochs=2",
        "--setting",
        "learning_rate=0.02",
        "--output",
        place / "lora",
    )
    result = run(*base, *settings)
    assert result.exit_code == 1 and not (place / "lora").exists()
    result = run(*base, *settings, "--skip-broken", "--shots", 5)
    said = " ".join(result.output.split())
    assert result.exit_code == 0, said
    assert (
        "red/0.png" in said
        and "It is left out." in said
        and "trained parameters 192" in " ".join(said.replace("│", "").split())
    )
    adapted = kzoo.adaptation.AdaptedClassifier.load(place / "lora")
    assert adapted.classes == NAMES and np.isfinite(adapted.logits(sorted((place / "photos" / "red").iterdir()))).all()
    result = run(*base, *settings, "--skip-broken", "--shots", 6)
    assert "class 'red' has 5 pictures, fewer than the 6 shots" in str(result.exception)


def test_what_is_refused_before_the_model_is_opened(place, capsys, monkeypatch):
    photos = place / "photos"
    (place / "file").write_text("")
    (place / "gappy" / "red").mkdir(parents=True)
    (place / "gappy" / "blue").mkdir()
    for source, output, more, sentence in (
        (photos, place / "x", ("--method", "gd"), "method 'gd' is unknown; choose one of"),
        (photos, place / "x", ("--setting", "alpha"), "--setting is 'alpha'; give NAME=VALUE"),
        (photos, place / "x", ("--setting", "k=3"), "the method 'gda' has no setting 'k'; it has alpha, covariance"),
        (photos, place / "x", ("--shots", 7), "class 'blue' has 6 pictures, fewer than the 7 shots"),
        (photos, photos / "x", (), f"--output is {photos / 'x'}, within {photos}, whose folders are classes"),
        (photos, place / "file", (), f"{place / 'file'} cannot be a folder"),
        (place / "gappy", place / "x", (), "class 'blue' has no picture"),
        (place / "nowhere", place / "x", (), "no such folder is there"),
    ):
        code, said = fails(capsys, monkeypatch, "adapt", source, "--preset", "nowhere", "--output", output, *more)
        assert code == 1 and sentence in " ".join(said.split()), said
    assert not (place / "x").exists()
    code, said = fails(capsys, monkeypatch, "classify", photos, "--preset", place / "tiny")
    assert code == 2 and "--labels is missing" in " ".join(said.split())
