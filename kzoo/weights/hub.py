"""Models on the Hugging Face Hub: fetched and pushed through the hub's own client and cache."""

import glob
import re
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi, constants, get_token, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from kzoo.files.layouts import LAYOUTS
from kzoo.weights import other_files, pickles
from kzoo.weights.tensors import shards_of

SCHEME = "hf://"
PUSHED = ("kzoo", "transformers", "open_clip")  # layouts of models that are pushed
CARD = "README.md"
_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_DESCRIPTIONS = ("*.json", "*.txt", "*.txt.gz", "*.model")  # configs and vocabularies
# what the client raises where the hub cannot be asked or says no; RuntimeError is the transport of large files
_ERRORS = (HfHubHTTPError, HTTPError, OSError, RuntimeError)


def split_name(name) -> tuple:
    """`"hf://owner/name@revision"` to repository and revision, None without one.

    Raises:
        ValueError: not of this form.
    """
    match = _NAME.fullmatch(name.removeprefix(SCHEME))
    if match is None or not _is_repo(match["repo"]):
        raise ValueError(f"{name} is no name on the hub; expected hf://owner/name or hf://owner/name@revision.")
    return match["repo"], match["revision"]


def name_of(folder) -> str | None:
    """`"hf://owner/name@commit"` of a folder in the hub's cache, None for any other folder."""
    home, snapshots, commit = ("", "", "", *Path(folder).parts)[-3:]
    repo = home.removeprefix("models--").replace("--", "/")
    return f"{SCHEME}{repo}@{commit}" if snapshots == "snapshots" and _is_repo(repo) else None


def fetch(repo, revision, weights, wanted_for) -> Path:
    """A repository's configs, vocabularies and the weights of one layout, from the cache or the network.

    Cache folder, token, endpoint and offline mode are the client's own (`HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`,
    `HF_ENDPOINT`, `HF_HUB_OFFLINE`), and so are its progress bars and its retries. What the cache holds already is
    not fetched again; nothing else of the repository is, a pickle never.

    Args:
        repo: `"owner/name"`.
        revision: branch, tag or commit; None for the default branch.
        weights: function of the folder of configs: patterns of the names that a file of weights may have, best first,
            such as `["model.safetensors", "*.npz"]`; its shards are found by its index. Without any, no weights are
            fetched.
        wanted_for: what is to be opened, for the sentence.

    Returns:
        `pathlib.Path` of the folder in the cache, called after the commit that all its files are of.

    Raises:
        FileNotFoundError: no such repository or revision, no permission, or neither cache nor network has it.
    """
    # without its configs, a name on the hub cannot be built untrained either
    without_configs = _CONNECT if wanted_for.startswith(SCHEME) else _UNTRAINED
    folder = _download(repo, revision, _DESCRIPTIONS, wanted_for, without_configs)
    lacking = _lost_descriptions(folder)
    if lacking:
        _list_files(repo, folder, lacking, wanted_for, without_configs)
        raise _stopped(wanted_for, f"{repo} holds no {_enumerate(lacking)}", without_configs)

    wanted, cached = weights(folder), {path.name for path in folder.iterdir() if path.is_file()}
    chosen = _choose(wanted, folder, cached)
    if not wanted or (chosen and chosen <= cached):
        return folder
    lacking = (_shards(folder, wanted[0]) or {wanted[0]}) - cached
    listed = _list_files(repo, folder, lacking, wanted_for, _UNTRAINED)
    chosen = _choose(wanted, folder, listed)
    if not chosen:
        held = pickles.among(name for name in listed if "/" not in name)
        told = other_files.told(listed)
        instead, ways_on = f", only {told}" if told else "", _UNTRAINED
        if held:
            instead = f", only {_enumerate(held)}, which can run code when opened and is never read"
            way_out = pickles.way_out(wanted[0].partition(".")[0], held, folder, repo)
            ways_on = f"{_UNTRAINED} {way_out[0].upper()}{way_out[1:]}"
        raise _stopped(wanted_for, f"{repo} holds no {' or '.join(wanted)}{instead}", ways_on)
    _download(repo, folder.name, map(glob.escape, chosen), wanted_for, _UNTRAINED)
    return folder


def check_target(repo) -> None:
    """Stops with a sentence unless something could be pushed to `"owner/name"` from here.

    Raises:
        ValueError: not of this form.
        ConnectionError: the client is offline.
        PermissionError: there is no token.
    """
    if not _is_repo(repo):
        raise ValueError(f"{repo} is no name on the hub that can be pushed to; expected owner/name.")
    if constants.HF_HUB_OFFLINE:
        raise ConnectionError(
            f"{repo} cannot be pushed to: HF_HUB_OFFLINE keeps the hub's client offline; unset it, or save the model "
            "into a folder with save_to_preset."
        )
    if get_token() is None:
        raise PermissionError(
            f"{repo} cannot be pushed to: there is no token; log in with `hf auth login`, or put a token with write "
            "permission in HF_TOKEN."
        )


def push(folder, repo, is_own_card, private=False, revision=None, message=None) -> str:
    """Upload all files of a folder as one commit; a repository that is not there is made.

    A repository holds one model: what belongs to the one that was there, in any layout, goes with the same commit.
    Files of no layout stay.

    Args:
        folder: path.
        repo: `"owner/name"`.
        is_own_card: function of a text: may this `README.md` of the repository be overwritten? If not, it stays.
        private: of a repository that is made now; one that is there stays what it is.
        revision: branch to commit to, made if it is not there; None for the default branch.
        message: of the commit.

    Returns:
        str: URL of the commit.

    Raises:
        PermissionError: the token may not write there.
        ConnectionError: the hub cannot be reached, or refuses the files.
    """
    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        if revision is not None and not revision.startswith("refs/"):  # those of pull requests are there
            api.create_branch(repo, branch=revision, exist_ok=True)
        keep = _has_card(api, repo, revision, is_own_card)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            revision=revision,
            commit_message=message,
            ignore_patterns=[CARD] if keep else None,
            delete_patterns=sorted({pattern for name in PUSHED for pattern in LAYOUTS[name].files}),
        )
    except (*_ERRORS, ValueError) as error:
        answer = getattr(error, "server_message", None) or _first_line(error)
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403) or isinstance(error, RepositoryNotFoundError):
            raise PermissionError(
                f"the hub does not let this token write to {repo} ({answer}); take a token with write permission there "
                "(HF_TOKEN, or `hf auth login`), or push to a name of your own."
            ) from error
        raise ConnectionError(f"pushing to {repo} on {constants.ENDPOINT} failed ({answer}); try again.") from error
    return commit.commit_url


_UNTRAINED = "Open a local folder that holds it, or build the model untrained with load_weights=False."
_CONNECT = "Open a local folder that holds it, or check the name and connect to the hub once; the cache then keeps it."


def _is_repo(repo):
    try:
        validate_repo_id(repo)
    except HFValidationError:
        return False
    return repo.count("/") == 1


def _download(repo, revision, patterns, wanted_for, ways_on):
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns)))
    except _ERRORS as error:
        problem = f"{repo} is neither in the hub's cache nor could it be downloaded: {_reason(error, repo, revision)}"
        raise _stopped(wanted_for, problem, ways_on) from error


def _list_files(repo, folder, lacking, wanted_for, ways_on):
    """Names of all files of a repository; where the hub cannot be asked, stops with what its cache lacks."""
    try:
        # not list_repo_files, which tries for half a minute where there is no network
        return {file.rfilename for file in HfApi().model_info(repo, revision=folder.name).siblings or ()}
    except _ERRORS as error:
        interrupted = any((folder.parent.parent / "blobs").glob("*.incomplete"))
        problem = (
            f"the hub's cache has only a part of {repo}, without {_enumerate(lacking)}"
            f"{' (a download was interrupted)' if interrupted else ''}, and {_reason(error, repo, folder.name)}"
        )
        raise _stopped(wanted_for, problem, ways_on) from error


def _lost_descriptions(folder):
    """Configs and vocabularies whose link leads nowhere; config.json where there is no config at all."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.exists()]
    lost = {name for name in names if any(fnmatch(name, pattern) for pattern in _DESCRIPTIONS)}
    return lost if lost or any(folder.glob("*.json")) else {"config.json"}


def _choose(wanted, folder, names):
    """The files of the first pattern that has any: itself or, where there is none, its shards."""
    for pattern in wanted:
        whole, shards = {name for name in names if fnmatch(name, pattern) and "/" not in name}, _shards(folder, pattern)
        if whole or shards & names:
            return whole or shards
    return set()


def _shards(folder, name):
    """Names of the shards of a file by the index beside it; an index that is none is reported by who opens it."""
    try:
        return set(shards_of(folder / f"{name}.index.json"))
    except (OSError, ValueError):
        return set()


def _has_card(api, repo, revision, is_own_card):
    """Whether a repository has a `README.md` that is to stay."""
    if not api.file_exists(repo, CARD, revision=revision):
        return False
    with TemporaryDirectory() as folder:  # not into the cache, where a model would then be in part
        path = api.hf_hub_download(repo, CARD, revision=revision, local_dir=folder)
        return not is_own_card(Path(path).read_text("utf-8", errors="replace"))


def _reason(error, repo, revision):
    if isinstance(error, GatedRepoError):
        page = f"{constants.ENDPOINT}/{repo}"
        return f"it is gated, accept its terms on {page} and put a token of that account in HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return f"the hub knows no {repo}, or HF_TOKEN holds no token that may read it"
    if isinstance(error, RevisionNotFoundError):
        return f"it has no revision {revision}"
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE keeps the hub's client offline"
    return f"asking {constants.ENDPOINT} failed ({_first_line(error)})"


def _stopped(wanted_for, problem, ways_on):
    return FileNotFoundError(f"{wanted_for}: {problem}. {ways_on}")


def _enumerate(names):
    first = sorted(names)[:3]
    return ", ".join(first) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
