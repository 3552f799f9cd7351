"""The packages of npm that a page runs: where they are found, or fetched from. No Keras."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kzoo.files.opening import check_regular
from kzoo.files.strict_json import read_json
from kzoo.files.words import said_by

PATIENCE = 600  # seconds that npm may take
LARGEST = 2**28  # bytes of a file of a package


@dataclass(frozen=True)
class Package:
    """A package of npm.

    Attributes:
        name: as npm has it.
        version: that is tested.
        sha512: of its archive, in base64.
        does: in the browser, for sentences.
        files: what they are called here -> where they lie in the package.
        exact: whether another version would be another page, without a word of it.
    """

    name: str
    version: str
    sha512: str
    does: str
    files: dict
    exact: bool = False

    @property
    def by_hand(self) -> str:
        """How to come to it without this."""
        return f"where there is a network run: npm install {self.name}@{self.version}; then give engine='node_modules'"


ENGINE = Package(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    "runs the graph",
    {
        "script": "dist/ort.wasm.min.js",
        "loader": "dist/ort-wasm-simd-threaded.mjs",
        "engine": "dist/ort-wasm-simd-threaded.wasm",
    },
)
TOKENIZERS = Package(
    "@huggingface/tokenizers",
    "0.2.0",
    "LidMHe1FpcSYH4vcSjXooda34pC0M8m1gmDOv7SQi6Iv+ib1zX7J3sHBCC9/3FPCkn2k1b55FneVqMRxrr99pg==",
    "makes ids of texts",
    {"tokenizers": "dist/tokenizers.min.mjs", "licence": "LICENSE"},
    exact=True,
)


def package_files(package, folder=None) -> dict:
    """The files of a package that a page needs.

    Args:
        package: a `Package`.
        folder: path of the package as npm has installed or unpacked it, or of what it lies in: `node_modules`, or the
            folder of that; or of another package there. None lets npm fetch the version that is tested, whose archive
            must have the SHA-512 that is written here; npm keeps what it has fetched, so that the next time needs no
            network.

    Returns:
        dict: `"version"`, a string, and the bytes of each of `package.files`.

    Raises:
        ValueError: a folder without the package, or without one of these files; another version of what must be exact.
        OSError: npm is not there, cannot fetch it, or brings another archive.

    Example:
        >>> package_files(ENGINE, "node_modules")["version"]
        '1.30.0'
    """
    if folder is not None:
        return _read(package, _package_in(package, Path(folder)))
    with TemporaryDirectory() as place:
        return _read(package, _fetched(package, Path(place)))


def _package_in(package, folder):
    """The folder of the package."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder} with {package.name}; {package.by_hand}.")
    named = (folder / package.name, folder / "node_modules" / package.name, folder.parent / package.name)
    for place in (*named, folder, folder / "package"):
        if (place / "package.json").is_file() and (place / "dist").is_dir():
            return place
    raise ValueError(f"{folder} holds no {package.name}, which has package.json and dist/; {package.by_hand}.")


def _read(package, place):
    said = read_json(place / "package.json")
    if not isinstance(said, dict) or said.get("name") != package.name or not isinstance(said.get("version"), str):
        raise ValueError(f"{place / 'package.json'} is not that of {package.name}; {package.by_hand}.")
    if package.exact and said["version"] != package.version:
        raise ValueError(
            f"{place} is {package.name} {said['version']}, but a page is tested with {package.version}, and another "
            f"may make other ids; {package.by_hand}."
        )
    files = {"version": said["version"]}
    for name, file in package.files.items():
        path = place / file
        if not path.is_file():
            raise ValueError(f"{place} is {package.name} {said['version']}, which has no {file}; {package.by_hand}.")
        check_regular(path)
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path} has {path.stat().st_size:,} bytes, which none has; {package.by_hand}.")
        files[name] = path.read_bytes()
    return files


def _fetched(package, place):
    """The package as npm fetches it, unpacked."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(
            f"a page needs {package.name}, which {package.does} in the browser: no folder of it is given, and npm, "
            f"which would fetch it, is not installed; {package.by_hand}."
        )
    wanted = f"{package.name}@{package.version}"
    command = [npm, "pack", wanted, "--prefer-offline", "--pack-destination", str(place)]
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=PATIENCE)
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        why = lines[0].strip() if lines else f"exit code {done.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        done, why = None, said_by(error)
    archives = [*place.glob("*.tgz")]
    if done is None or done.returncode or len(archives) != 1:
        raise ConnectionError(f"{package.name} {package.version} cannot be fetched by npm ({why}); {package.by_hand}.")
    found = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
    if found != package.sha512:
        raise OSError(
            f"what npm fetches as {package.name} {package.version} has the SHA-512 {found[:12]}..., not "
            f"{package.sha512[:12]}..., and is not used; {package.by_hand}."
        )
    with tarfile.open(archives[0]) as archive:
        archive.extractall(place, filter="data")
    return place / "package"
