"""Models pushed to a hub in a thread, and opened from it."""

import numpy as np
import pytest
from hub_server import TOKEN, Repository
from huggingface_hub import constants
from shared_case import TESTS, numpy, tiny_model
from typer.testing import CliRunner

import kzoo
from kzoo import cli

pytestmark = pytest.mark.once
IDS = np.array([[510, 7, 8, 511] + [0] * 12])
CLIP = TESTS / "fixtures" / "hf_clip_tiny"


def embed(model):
    return numpy(model({"token_ids": IDS})["text_embeddings"])


@pytest.mark.parametrize("format", ["kzoo", "transformers", "open_clip"])
def test_a_pushed_model_opens(server, token, format):
    model = kzoo.from_preset(CLIP)
    url = model.push_to_hub("me/my-clip", format=format)
    repository = server.repositories["me/my-clip"]
    assert url == f"{server.url}/me/my-clip/commit/{repository.revisions['main']}" and not repository.private
    assert repository.messages[-1] == "hf_clip_tiny, written by kzoo"
    assert b'kzoo.from_preset("hf://me/my-clip")' in repository.files("main")["README.md"]
    assert np.array_equal(embed(kzoo.from_preset("hf://me/my-clip")), embed(model))


def test_a_push_to_a_branch_of_a_private_repository(server, token):
    model = tiny_model()
    for message in ("a first model", "a second model"):
        model.push_to_hub("me/my-clip", private=True, revision="v2", message=message)
    repository = server.repositories["me/my-clip"]
    assert repository.private and repository.messages == ["initial commit", "a first model", "a second model"]
    assert list(repository.files("main")) == [".gitattributes"]
    assert b'kzoo.from_preset("hf://me/my-clip@v2")' in repository.files("v2")["README.md"]
    again = kzoo.from_preset("hf://me/my-clip@v2")
    assert np.array_equal(again.encode_text(["a red circle"]), model.encode_text(["a red circle"]))


def test_a_card_of_somebody_stays_on_the_hub(server, token):
    repository = server.repositories["me/my-clip"] = Repository()
    repository.commit({"README.md": b"# My own words", "photo.png": b"pixels"})
    tiny_model().push_to_hub("me/my-clip")
    files = repository.files("main")
    assert files["README.md"] == b"# My own words" and files["photo.png"] == b"pixels" and "config.json" in files
    repository.commit({"README.md": b"<!-- Written by kzoo, long ago -->"})
    tiny_model().push_to_hub("me/my-clip")
    assert b"# my-clip" in repository.files("main")["README.md"]


@pytest.mark.parametrize("before", ["kzoo", "transformers", "open_clip"])
@pytest.mark.parametrize("after", ["kzoo", "transformers", "open_clip"])
def test_a_push_leaves_nothing_of_the_model_that_was_there(server, token, tmp_path, before, after):
    model = kzoo.from_preset(CLIP)
    model.save_to_preset(tmp_path, format=after)
    own = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    model.push_to_hub("me/my-clip", format=before)
    server.repositories["me/my-clip"].commit({"photo.png": b"pixels", "model-00001-of-00002.safetensors": b"a shard"})
    model.push_to_hub("me/my-clip", format=after)
    assert set(server.repositories["me/my-clip"].files("main")) == own | {"photo.png", ".gitattributes"}
    assert np.array_equal(embed(kzoo.from_preset("hf://me/my-clip")), embed(model))


def test_pushes_that_cannot_be(server, monkeypatch):
    model = tiny_model()
    with pytest.raises(
        PermissionError, match="me/my-clip cannot be pushed to: there is no token; log in with `hf auth"
    ):
        model.push_to_hub("me/my-clip")
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    with pytest.raises(
        PermissionError, match="does not let this token write to me/my-clip .*; take a token with write"
    ):
        model.push_to_hub("me/my-clip")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(PermissionError, match="write to you/my-clip .You don't have the required permissions.; take"):
        model.push_to_hub("you/my-clip")
    server.repositories["you/my-clip"] = Repository()  # one that may be read
    with pytest.raises(PermissionError, match="the hub does not let this token write to you/my-clip"):
        model.push_to_hub("you/my-clip")
    for name in ("my-clip", "hf://me/my-clip", "me/my clip", "me/my-clip@v2"):
        with pytest.raises(
            ValueError, match=f"{name} is no name on the hub that can be pushed to; expected owner/name"
        ):
            model.push_to_hub(name)
    with pytest.raises(ValueError, match="clip has no text_encoder with eot_id=2"):
        model.push_to_hub("me/my-clip", format="transformers")
    assert "me/my-clip" not in server.repositories
    server.stop()
    with pytest.raises(ConnectionError, match=f"pushing to me/my-clip on {server.url} failed .*refused.*; try again"):
        model.push_to_hub("me/my-clip")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="me/my-clip cannot be pushed to: HF_HUB_OFFLINE keeps .*; unset it, or"):
        model.push_to_hub("me/my-clip")


def test_convert_pushes(server, token, tmp_path):
    arguments = ["convert", str(CLIP), str(tmp_path / "out"), "--format", "open_clip", "--push", "me/my-clip"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    repository = server.repositories["me/my-clip"]
    assert f"pushed {server.url}/me/my-clip/commit/{repository.revisions['main']}" in result.output
    pushed, written = repository.files("main"), {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert pushed.keys() - {".gitattributes"} == written.keys()
    assert pushed["open_clip_model.safetensors"] == written["open_clip_model.safetensors"]
    result = CliRunner().invoke(cli.app, [*arguments[:2], str(tmp_path / "nothing"), "--push", "my-clip"])
    assert isinstance(result.exception, ValueError) and not (tmp_path / "nothing").exists()
