"""Names on the hub: from a cache laid out as the hub's client leaves it, and from a hub in a thread."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hub_server import TOKEN, Repository
from huggingface_hub import constants
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, numpy, tiny_model

import kzoo
from kzoo.presets import table
from kzoo.weights import hub

pytestmark = pytest.mark.once
COMMIT = "0123456789abcdef0123456789abcdef01234567"
IDS = np.array([[510, 7, 8, 511] + [0] * 12])
CLIP = TESTS / "fixtures" / "hf_clip_tiny"
WEIGHTS = "model.safetensors"


def put(cache, repo, folder, revision="main"):
    """Lay a folder into the cache: blobs, a snapshot of links to them, a reference."""
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    for made in (home / "blobs", home / "refs", snapshot):
        made.mkdir(parents=True, exist_ok=True)
    for index, path in enumerate(sorted(folder.iterdir())):
        blob = home / "blobs" / f"{index:040x}"
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")
    (home / "refs" / revision).write_text(COMMIT)
    return snapshot


def embed(model):
    return numpy(model({"token_ids": IDS})["text_embeddings"])


@pytest.mark.parametrize("fixture", ["hf_clip_tiny", "hf_siglip_tiny", "oc_clip_vit_tiny"])
def test_checkpoints_open_by_name(cache, fixture):
    put(cache, "owner/some.model-1", TESTS / "fixtures" / fixture)
    local = kzoo.from_preset(TESTS / "fixtures" / fixture)
    model = kzoo.from_preset("hf://owner/some.model-1")
    assert np.array_equal(embed(model), embed(local))
    assert model.name == "some_model_1"


def test_a_model_of_kzoo_opens_by_name(cache, tmp_path):
    model = tiny_model()
    model.save_to_preset(tmp_path / "mine")
    put(cache, "me/mine", tmp_path / "mine")
    again = kzoo.from_preset("hf://me/mine")
    assert np.array_equal(again.encode_text(["a red circle"]), model.encode_text(["a red circle"]))


def test_a_revision_is_pinned(cache):
    put(cache, "owner/model", CLIP, revision="v1")
    for revision in ("v1", COMMIT):
        model = kzoo.from_preset(f"hf://owner/model@{revision}")
        assert model.count_params() == 84161 and model.source == f"hf://owner/model@{COMMIT}"
    with pytest.raises(FileNotFoundError, match="hf://owner/model@v2: owner/model is neither in the hub's cache"):
        kzoo.from_preset("hf://owner/model@v2")


@pytest.mark.parametrize("name", ["model", "a/b/c", "a--b/c", "owner/name.git", "owner/name@", "owner/name@v 1"])
def test_a_name_that_is_none(name):
    with pytest.raises(ValueError, match=f"hf://{name} is no name on the hub; expected hf://owner/name"):
        kzoo.from_preset(f"hf://{name}")


@pytest.fixture
def preset_of_a_fixture(monkeypatch):
    """A table whose preset `small` has its weights in the repository owner/small, which holds oc_clip_vit_tiny."""
    family = json.loads((table.TABLES / "clip.json").read_text())
    family["presets"] = {
        "small": family["presets"]["clip_nano"]
        | {
            "text_encoder": {"activation": "quick_gelu", "eot_id": 511},
            "tokenizer": {"kind": "clip_bpe", "clean": "openai", "pad_id": 0},
            "weights": {"repo": "owner/small"},
        }
    }
    family["defaults"]["towers"]["image"] |= {"mean": [0.5] * 3, "std": [0.5] * 3}
    monkeypatch.setattr(table, "_families", lambda: {"clip": family})
    table._places.cache_clear()
    yield family
    monkeypatch.undo()
    table._places.cache_clear()


def test_a_preset_opens_its_weights(cache, preset_of_a_fixture):
    config = json.loads((TESTS / "fixtures" / "oc_clip_vit_tiny" / "open_clip_config.json").read_text())
    statistics = config["preprocess_cfg"]
    preset_of_a_fixture["defaults"]["towers"]["image"] |= {key: statistics[key] for key in ("mean", "std")}
    put(cache, "owner/small", TESTS / "fixtures" / "oc_clip_vit_tiny")
    model = kzoo.from_preset("small")
    assert model.name == "small" and model.source == f"hf://owner/small@{COMMIT}"
    assert np.array_equal(embed(model), embed(kzoo.from_preset(TESTS / "fixtures" / "oc_clip_vit_tiny")))


def test_a_checkpoint_that_is_not_what_the_table_says(cache, preset_of_a_fixture):
    put(cache, "owner/small", TESTS / "fixtures" / "oc_clip_vit_tiny")
    preset_of_a_fixture["presets"]["small"]["towers"] = {"image": {"activation": "gelu"}}
    with pytest.raises(ValueError, match=r"small has image_encoder \w+=.*, but the checkpoint in .* says"):
        kzoo.from_preset("small")


# -- caches that hold a part --
def lose_weights(snapshot):
    (snapshot / WEIGHTS).resolve().unlink()
    (snapshot / WEIGHTS).unlink()


def interrupt(snapshot):
    blob = (snapshot / WEIGHTS).resolve()
    blob.rename(blob.with_name(f"{blob.name}.1a2b3c4d.incomplete"))
    (snapshot / WEIGHTS).unlink()


def lose_the_blob(snapshot, name=WEIGHTS):
    (snapshot / name).resolve().unlink()


def shard(folder):
    """Split the weights of a folder in two."""
    tensors = load_file(folder / WEIGHTS)
    names, files = sorted(tensors), [f"model-0000{index}-of-00002.safetensors" for index in (1, 2)]
    parts = dict(zip(files, (names[:40], names[40:])))
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    return files


@pytest.mark.parametrize(
    "spoil, lacking",
    [
        (lose_weights, "without model.safetensors, and"),
        (interrupt, r"without model.safetensors \(a download was interrupted\), and"),
        (lose_the_blob, "without model.safetensors, and"),
    ],
)
def test_a_cache_without_the_weights(cache, spoil, lacking):
    spoil(put(cache, "owner/model", CLIP))
    sentence = (
        f"^hf://owner/model: the hub's cache has only a part of owner/model, {lacking} HF_HUB_OFFLINE keeps the hub's "
        r"client offline\. Open a local folder that holds it, or build the model untrained with load_weights=False\.$"
    )
    with pytest.raises(FileNotFoundError, match=sentence):
        kzoo.from_preset("hf://owner/model")
    model = kzoo.from_preset("hf://owner/model", load_weights=False)
    assert model.count_params() == 84161 and model.source is None


@pytest.mark.parametrize("spoil", [lose_the_blob, lambda snapshot, name: (snapshot / name).unlink()])
def test_a_cache_without_the_config(cache, spoil):
    spoil(put(cache, "owner/model", CLIP), "config.json")
    sentence = "only a part of owner/model, without config.json, and HF_HUB_OFFLINE .* or check the name and connect"
    for load_weights in (True, False):
        with pytest.raises(FileNotFoundError, match=sentence):
            kzoo.from_preset("hf://owner/model", load_weights=load_weights)


def test_a_cache_without_a_shard(cache, tmp_path):
    shutil.copytree(CLIP, tmp_path / "model")
    files = shard(tmp_path / "model")
    (tmp_path / "model" / WEIGHTS).unlink()
    snapshot = put(cache, "owner/model", tmp_path / "model")
    assert np.array_equal(embed(kzoo.from_preset("hf://owner/model")), embed(kzoo.from_preset(CLIP)))
    (snapshot / files[1]).unlink()
    with pytest.raises(FileNotFoundError, match=f"a part of owner/model, without {files[1]}, and HF_HUB_OFFLINE"):
        kzoo.from_preset("hf://owner/model")


@pytest.mark.parametrize("spoil", [lose_weights, interrupt, lose_the_blob])
def test_what_a_cache_lacks_is_fetched(server, cache, spoil):
    server.put("owner/model", CLIP)
    expected = embed(kzoo.from_preset("hf://owner/model"))
    (snapshot,) = cache.glob("models--owner--model/snapshots/*")
    spoil(snapshot)
    server.requests.clear()
    assert np.array_equal(embed(kzoo.from_preset("hf://owner/model")), expected)
    assert server.downloads() == [WEIGHTS]


def test_a_cache_without_the_weights_and_a_hub_that_is_down(server, cache):
    (put(cache, "owner/model", CLIP) / WEIGHTS).unlink()
    server.stop()
    with pytest.raises(FileNotFoundError, match=f"without {WEIGHTS}, and asking {server.url} failed .*refused"):
        kzoo.from_preset("hf://owner/model")


# -- a hub that answers --
def test_only_what_is_needed_is_fetched_and_only_once(server, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(CLIP, folder)
    shard(folder)
    needed = {"config.json", f"{WEIGHTS}.index.json", "merges.txt", "bpe.txt.gz", "spiece.model", WEIGHTS}
    for name in ("merges.txt", "bpe.txt.gz", "spiece.model", "pytorch_model.bin", "model.onnx", "flax_model.msgpack"):
        (folder / name).write_text(name)  # equal files are fetched once
    for name in ("README.md", "model.bin", "model.pt", "tf_model.h5", "other.safetensors", "photo.png"):
        (folder / name).write_text(name)
    repository = server.put("owner/model", folder)
    model = kzoo.from_preset("hf://owner/model")
    assert sorted(server.downloads()) == sorted(needed)
    assert model.source == f"hf://owner/model@{repository.revisions['main']}"
    assert np.array_equal(embed(model), embed(kzoo.from_preset(CLIP)))
    server.requests.clear()
    assert np.array_equal(embed(kzoo.from_preset("hf://owner/model")), embed(model))
    assert server.downloads() == []
    server.stop()  # what is in the cache opens without a hub, too
    assert np.array_equal(embed(kzoo.from_preset("hf://owner/model")), embed(model))


def test_shards_are_fetched_by_their_index(server, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(CLIP, folder)
    files = shard(folder)
    (folder / WEIGHTS).rename(folder / "model-00001-of-00009.safetensors")  # of another sharding
    server.put("owner/model", folder)
    assert np.array_equal(embed(kzoo.from_preset("hf://owner/model")), embed(kzoo.from_preset(CLIP)))
    assert sorted(server.downloads()) == sorted(["config.json", f"{WEIGHTS}.index.json", *files])


def test_weights_whose_name_only_the_repository_knows(server, tmp_path):
    for name in ("config.json", "siglip_b16.npz", "other.safetensors"):
        (tmp_path / name).write_text(name)
    server.put("owner/model", tmp_path)
    hub.fetch("owner/model", None, lambda folder: ["model.safetensors", "*.npz"], "the model")
    assert sorted(server.downloads()) == ["config.json", "siglip_b16.npz"]


def test_the_layout_that_has_weights_is_taken(server, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(TESTS / "fixtures" / "oc_clip_vit_tiny", folder)
    shutil.copy(CLIP / "config.json", folder)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    server.put("owner/model", folder)
    expected = embed(kzoo.from_preset(TESTS / "fixtures" / "oc_clip_vit_tiny"))
    assert np.array_equal(embed(kzoo.from_preset("hf://owner/model")), expected)
    assert sorted(server.downloads()) == ["config.json", "open_clip_config.json", "open_clip_model.safetensors"]


def test_a_broken_connection_is_taken_up_again(server, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # 10 MB, larger than the file
    server.put("owner/model", CLIP)
    server.cut = {WEIGHTS}
    model = kzoo.from_preset("hf://owner/model")
    size = (CLIP / WEIGHTS).stat().st_size
    ranges = [range for method, path, range in server.requests if method == "GET" and path.endswith(f"/{WEIGHTS}")]
    assert ranges == [None, f"bytes={size // 3 // 1000 * 1000}-"]
    assert np.array_equal(embed(model), embed(kzoo.from_preset(CLIP)))


def test_branch_tag_and_commit(server):
    repository = server.put("owner/model", CLIP)
    first = repository.revisions["v1.0"] = repository.revisions["main"]
    files = {path.name: path.read_bytes() for path in (TESTS / "fixtures" / "hf_siglip_tiny").iterdir()}
    repository.revisions["some/branch"] = first
    second = repository.commit(files, "some/branch")
    for revision, commit, parameters in (("", first, 84161), ("@v1.0", first, 84161), ("@some/branch", second, 102594)):
        model = kzoo.from_preset(f"hf://owner/model{revision}")
        assert model.source == f"hf://owner/model@{commit}" and model.count_params() == parameters
    assert kzoo.from_preset(f"hf://owner/model@{second}").count_params() == 102594


def test_weights_are_of_the_commit_of_the_configs(server):
    repository = server.put("owner/model", CLIP)
    first = repository.revisions["main"]

    def weights(folder):
        repository.commit({WEIGHTS: b"of a later commit"})
        return [WEIGHTS]

    folder = hub.fetch("owner/model", None, weights, "the model")
    assert folder.name == first and (folder / WEIGHTS).read_bytes() == (CLIP / WEIGHTS).read_bytes()


def test_a_repository_without_weights_that_are_read(server):
    repository = server.repositories["owner/model"] = Repository()
    with pytest.raises(FileNotFoundError, match="hf://owner/model: owner/model holds no config.json. Open a local"):
        kzoo.from_preset("hf://owner/model")
    pickles = {f"pytorch_model-{index}.bin": b"a pickle" for index in range(5)}
    repository.commit({"config.json": (CLIP / "config.json").read_bytes()} | pickles)
    sentence = (
        "owner/model holds no model.safetensors, only pytorch_model-0.bin, pytorch_model-1.bin, pytorch_model-2.bin "
        "and 2 more, which can run code when opened and is never read. Open a local folder .* load_weights=False"
    )
    with pytest.raises(FileNotFoundError, match=sentence):
        kzoo.from_preset("hf://owner/model")
    assert kzoo.from_preset("hf://owner/model", load_weights=False).count_params() == 84161


@pytest.mark.parametrize(
    "name, what",
    [
        ("adapter_model.safetensors", "an adapter of PEFT; merge it there with merge_and_unload"),
        ("clip-f16.gguf", "quantised weights of llama.cpp"),
        ("onnx/model.onnx", "a graph of ONNX, not its weights by name"),
        ("tf_model.h5", "weights of transformers' TensorFlow classes"),
        ("x.mlpackage/Manifest.json", "a model of Core ML"),
    ],
)
def test_a_repository_whose_weights_are_of_another_kind(server, name, what, tmp_path):
    files = {"config.json": (CLIP / "config.json").read_text(), name: "x"}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    server.put("owner/model", tmp_path)
    sentence = rf"owner/model holds no model.safetensors, only {name}, {what}.*\. Open a local folder"
    with pytest.raises(FileNotFoundError, match=sentence):
        kzoo.from_preset("hf://owner/model")


@pytest.mark.parametrize(
    "kind, sentence",
    [
        ("gated", "it is gated, accept its terms on http.*/owner/model and put a token of that account in HF_TOKEN"),
        ("private", "the hub knows no owner/model, or HF_TOKEN holds no token that may read it"),
    ],
)
def test_repositories_that_need_a_token(server, kind, sentence, monkeypatch):
    server.put("owner/model", CLIP, **{kind: True})
    with pytest.raises(FileNotFoundError, match=f"nor could it be downloaded: {sentence}. Open a local folder"):
        kzoo.from_preset("hf://owner/model")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert kzoo.from_preset("hf://owner/model").count_params() == 84161


def test_what_the_hub_does_not_have(server):
    with pytest.raises(FileNotFoundError, match="downloaded: the hub knows no owner/model, or HF_TOKEN holds no"):
        kzoo.from_preset("hf://owner/model")
    server.put("owner/model", CLIP)
    with pytest.raises(FileNotFoundError, match="hf://owner/model@v9: owner/model .* it has no revision v9. Open a"):
        kzoo.from_preset("hf://owner/model@v9")
    server.stop()
    with pytest.raises(FileNotFoundError, match=f"nor could it be downloaded: asking {server.url} failed \\(.*refused"):
        kzoo.from_preset("hf://owner/another")


def test_the_variables_of_the_client(server, tmp_path):
    """In a process of its own, because the client reads its variables once."""
    server.put("owner/model", CLIP, private=True)
    code = f"import runpy; fetch = runpy.run_path({hub.__file__!r})['fetch']; "
    code += "print(fetch('owner/model', None, lambda folder: ['model.safetensors'], 'it'))"
    variables = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN, "TQDM_POSITION": "-1"}
    for more in ({}, {"HF_HUB_OFFLINE": "1"}):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment = {**inherited, **variables, **more}
        ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert ran.stdout.startswith(str(tmp_path / "home" / "hub" / "models--owner--model" / "snapshots")), ran.stderr
        assert bool(more) != ("Fetching" in ran.stderr)  # the client's progress bar
        server.stop()
