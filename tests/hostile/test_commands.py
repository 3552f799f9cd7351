"""Commands that meet broken pictures, tables and losses that do not fit: what can be done is, and nothing is left."""

import numpy as np
import pytest
from cli_case import run
from PIL import Image
from shared_case import toy_pairs

from kzoo.adaptation import ZeroShot

pytestmark = pytest.mark.once


@pytest.fixture
def photos(tmp_path):
    folder, pairs = tmp_path / "photos", toy_pairs(8)
    folder.mkdir()
    lines = ["label,image,caption"]
    for number, (image, caption) in enumerate(zip(pairs["images"], pairs["captions"])):
        Image.fromarray(image).save(folder / f"{number}.png")
        lines.append(f"{number},{number}.png,{caption}")
    (folder / "pairs.csv").write_text("\n".join(lines))
    return folder


def test_embed_goes_on_without_what_is_broken(photos, saved, tmp_path):
    (photos / "3.png").write_bytes(b"none")
    arguments = ("embed", saved, "--output", tmp_path / "some.npz", "--images", photos)
    assert "3.png cannot be read as an image" in str(run(*arguments).exception)
    assert not (tmp_path / "some.npz").exists()
    result = run(*arguments, "--texts", photos / "pairs.csv", "--skip-broken")
    assert result.exit_code == 0 and "It is left out." in " ".join(result.output.split())
    found = np.load(tmp_path / "some.npz")
    assert found["image_files"].tolist() == [str(photos / f"{number}.png") for number in range(8) if number != 3]
    assert len(found["image_embeddings"]) == 7
    assert found["texts"].tolist() == toy_pairs(8)["captions"]  # of a table its captions, not its lines
    for path in photos.glob("*.png"):
        path.write_bytes(b"none")
    assert "none of the 8 images can be read" in str(run(*arguments, "--skip-broken").exception)


def test_what_cannot_be_trained_leaves_nothing(photos, tmp_path):
    arguments = (
        "train",
        photos / "pairs.csv",
        "--preset",
        "clip_nano",
        "--from-scratch",
        "--output",
        tmp_path / "model",
    )
    arguments = (*arguments, "--epochs", 1, "--batch-size", 4)
    assert "Captioning reads 'caption_" in str(run(*arguments, "--loss", "Captioning").exception)
    (tmp_path / "held.csv").write_text("image,caption\nphotos/1.png,a\nphotos/x.png,b\n")
    (photos / "x.png").write_bytes(b"none")
    said = str(run(*arguments, "--validation", tmp_path / "held.csv").exception)
    assert "x.png cannot be read as an image" in said and "go on without it" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["held.csv", "photos"]


def test_check_reads_the_file_of_a_classifier(tmp_path):
    path = tmp_path / "birds.safetensors"
    ZeroShot(np.eye(2), ("wren", "robin")).save(path)
    assert "ZeroShot, nothing is wrong" in " ".join(run("check", path).output.split())
    path.write_bytes(path.read_bytes()[:-1])
    found = run("check", path)
    assert found.exit_code == 1 and "cannot be read as safetensors" in " ".join(found.output.split())
    (tmp_path / "a.keras").write_bytes(b"a")
    assert "is a file, of which kzoo check reads those of classifiers and indexes alone" in str(
        run("check", tmp_path / "a.keras").exception
    )


def test_numbers_and_names_that_are_none(photos, saved, tmp_path):
    demo = run("demo", "--minutes", 1e26, "--output", tmp_path / "demo")
    assert demo.exit_code == 2 and "1440" in demo.output and not (tmp_path / "demo").exists()
    arguments = ("train", photos / "pairs.csv", "--preset", saved, "--epochs", 1, "--batch-size", 4)
    said = run(*arguments, "--output", tmp_path / "model", "--validation", "")
    assert "a source has the name ''" in str(said.exception)
    assert not (tmp_path / "model").exists()
