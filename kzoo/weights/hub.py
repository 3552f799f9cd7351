"""Checkpoints on the Hugging Face Hub, through the hub's own client and cache."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

SCHEME = "hf://"
_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_DESCRIPTIONS = ("*.json", "*.txt", "*.txt.gz")  # configs and vocabularies


def split_name(name):
    """`"hf://owner/name@revision"` to repository and revision, None without one.

    Raises:
        ValueError: not of this form.
    """
    match = _NAME.fullmatch(name.removeprefix(SCHEME))
    if match is None:
        raise ValueError(f"{name} is no name on the hub; expected hf://owner/name or hf://owner/name@revision.")
    return match["repo"], match["revision"]


def fetch(repo, revision, stems, wanted_for):
    """A repository's configs, vocabularies and the weights of one layout, from the cache or the network.

    Cache folder, token, endpoint and offline mode are the client's own (`HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT`,
    `HF_HUB_OFFLINE`); it resumes downloads and shows a progress bar.

    Args:
        repo: `"owner/name"`.
        revision: branch, tag or commit; None for the default branch.
        stems: function of the folder of configs: the names, without endings, that weights may have, best first.
        wanted_for: what is to be opened, for the sentence.

    Returns:
        `pathlib.Path` of the folder in the cache.

    Raises:
        FileNotFoundError: no such repository or revision, no permission, or neither cache nor network has it.
    """
    folder = _download(repo, revision, _DESCRIPTIONS, wanted_for)
    for stem in stems(folder):
        # the folder is called after its commit: weights and configs come from one revision
        _download(repo, folder.name, (f"{stem}.*", f"{stem}-*.safetensors"), wanted_for)
        if any(folder.glob(f"{stem}.*")):
            break
    return folder


def _download(repo, revision, patterns, wanted_for):
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError as error:
        problem = f"{repo} wants its terms accepted on the hub, and a token in HF_TOKEN ({_first_line(error)})"
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        problem = f"the hub knows no {repo}{f'@{revision}' if revision else ''} ({_first_line(error)})"
    except (HfHubHTTPError, OSError) as error:
        problem = f"{repo} is neither in the hub's cache nor could it be downloaded ({_first_line(error)})"
    raise FileNotFoundError(
        f"{wanted_for}: {problem}. Open a local folder that holds it, or build the model untrained with "
        "load_weights=False."
    )


def _first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
