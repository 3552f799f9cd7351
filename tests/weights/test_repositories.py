"""Every row with weights of open_clip is that of its repository: the wheel's config, laid out as the hub has it."""

import json
from importlib.metadata import distribution
from pathlib import Path

import pytest
from shared_case import TESTS
from test_hub import put

import kzoo
from kzoo.presets.table import read_row

pytestmark = pytest.mark.once
CONFIGS = Path(distribution("open_clip_torch").locate_file("open_clip/model_configs"))
REPOSITORIES = json.loads((TESTS / "golden" / "open_clip_repositories.json").read_text())  # -> name of its config
NAMES = [row["name"] for row in kzoo.list_presets()]
REPOS = {name: read_row(name)["weights"]["repo"] for name in NAMES if read_row(name)["weights"]}
# whose repositories are of other libraries
ELSEWHERE = ("BAAI/", "OFA-Sys/", "Salesforce/", "google/", "kakaobrain/")


def laid_out(cache, tmp_path, repo, **changes):
    """A repository in the hub's cache, with a file of weights that holds nothing."""
    model = json.loads((CONFIGS / f"{REPOSITORIES[repo]}.json").read_text())
    model |= {key: model[key] | changes[key] for key in changes}
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {}}))
    (folder / "open_clip_model.safetensors").write_bytes(b"")
    put(cache, repo, folder)


def test_all_are_known():
    assert {repo for repo in REPOS.values() if not repo.startswith(ELSEWHERE)} == set(REPOSITORIES)


@pytest.mark.parametrize("name", [name for name, repo in REPOS.items() if repo in REPOSITORIES])
def test_the_config_of_the_repository_is_that_of_the_row(name, offline, tmp_path):
    laid_out(offline, tmp_path, REPOS[name])
    with pytest.raises(ValueError, match="open_clip_model.safetensors cannot be read as safetensors"):
        kzoo.from_preset(name)  # which came as far as the weights


def test_what_changes_numbers_is_compared(offline, tmp_path):
    laid_out(offline, tmp_path, REPOS["clip_base"], text_cfg={"context_length": 78})
    with pytest.raises(ValueError, match="clip_base has text_encoder context_length=77, but the checkpoint in .* 78"):
        kzoo.from_preset("clip_base")
