"""`kzoo index` and `kzoo search`: what they write, find and refuse."""

import json

import numpy as np
import pytest
from cli_case import fails, run
from PIL import Image
from shared_case import spread, tiny_model, toy_pairs

pytestmark = pytest.mark.once
PAIRS = toy_pairs(12)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, pictures, and what the model says of them."""
    folder, model = tmp_path_factory.mktemp("place"), tiny_model(depth=1)
    spread(model.image_encoder)
    spread(model.text_encoder)
    model.save_to_preset(folder / "model")
    files = [str(folder / f"{number}.png") for number in range(12)]
    for path, image in zip(files, PAIRS["images"]):
        Image.fromarray(image).save(path)
    np.savez(
        folder / "rows.npz",
        image_embeddings=model.encode_image(files),
        image_files=np.array(files),
        text_embeddings=model.encode_text(PAIRS["captions"]),
        texts=np.array(PAIRS["captions"]),
    )
    return folder


@pytest.mark.parametrize("options", [("exact",), ("binary",), ("product", "--parts", 6)])
def test_a_picture_is_found_by_itself(place, tmp_path, options):
    result = run("index", place / "rows.npz", "--output", tmp_path / "i.safetensors", "--kind", *options)
    assert result.exit_code == 0 and "Index of 12 rows, 12 channels" in result.output, result.output
    asked = ("--image", place / "3.png", "--top", 2, "--json")
    result = run("search", place / "model", tmp_path / "i.safetensors", *asked)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["query"] == str(place / "3.png") and len(found["scores"]) == 2
    assert str(place / "3.png") in found["found"]


def test_check_reads_an_index(place, tmp_path):
    run("index", place / "rows.npz", "--output", tmp_path / "i.safetensors", "--kind", "binary")
    assert "BinaryIndex, nothing is wrong" in run("check", tmp_path / "i.safetensors").output
    content = bytearray((tmp_path / "i.safetensors").read_bytes())
    (tmp_path / "i.safetensors").write_bytes(content[:-5])
    result = run("check", tmp_path / "i.safetensors")
    assert result.exit_code == 1 and "1 problem in" in result.output


def test_stored_embeddings_are_searched_as_they_are(place):
    asked = ("--text", PAIRS["captions"][5], "--text", PAIRS["captions"][0], "--of", "text", "--top", 50)
    result = run("search", place / "model", place / "rows.npz", *asked, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["found"][0] for line in lines] == [PAIRS["captions"][5], PAIRS["captions"][0]]
    assert len(lines[0]["found"]) == 12 and lines[0]["scores"][0] == pytest.approx(1.0, abs=1e-5)
    shown = run("search", place / "model", place / "rows.npz", "--text", "a red square").output
    assert "score" in shown and shown.count("a red square") == 5


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("search", "x", "rows.npz"), "there is nothing to search for"),
        (("search", "x", "i.safetensors", "--text", "a", "--of", "text"), "is an index already"),
        (("index", "rows.npz", "--output", "i.npz"), "ends in .safetensors"),
        (("index", "rows.npz", "--output", "i.safetensors", "--kind", "exact", "--parts", "2"), "of --kind product"),
        (("index", "rows.npz", "--output", "i.safetensors", "--parts", "5"), "does not divide 12"),
        (("index", "broken.npz", "--output", "i.safetensors"), "broken.npz is no file of embeddings"),
        (("index", "texts.npz", "--output", "i.safetensors", "--of", "image"), "has no image_embeddings"),
    ],
)
def test_bad_input_ends_with_one_sentence(place, capsys, monkeypatch, tmp_path, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.npz").write_bytes((place / "rows.npz").read_bytes())
    (tmp_path / "broken.npz").write_bytes(b"PK")
    np.savez(tmp_path / "texts.npz", text_embeddings=np.eye(3), texts=np.array(["a", "b", "c"]))
    code, output = fails(capsys, monkeypatch, *arguments)
    assert code == 1 and sentence in " ".join(output.split()), output
    assert not (tmp_path / "i.safetensors").exists()
