"""onnxruntime-web, which runs a graph in a browser: where it is found, or fetched from. No Keras."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from kzoo.files.opening import check_regular
from kzoo.files.strict_json import read_json
from kzoo.files.words import said_by

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # of its archive
SCRIPT, LOADER, ENGINE = "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
PATIENCE = 600  # seconds that npm may take
LARGEST = 2**28  # bytes of a file of the package
BY_HAND = f"where there is a network run: npm install {PACKAGE}@{VERSION}; then give engine='node_modules/{PACKAGE}'"


def engine_files(folder=None) -> dict:
    """The files of onnxruntime-web that a page needs.

    Args:
        folder: path of the package as npm has installed or unpacked it, or of what it lies in: `node_modules`, or the
            folder of that. None lets npm fetch the version that is tested, whose archive must have the SHA-512 that is
            written here; npm keeps what it has fetched, so that the next time needs no network.

    Returns:
        dict: `"version"`, a string, and the bytes of `"script"`, `"loader"` and `"engine"`.

    Raises:
        ValueError: a folder without the package, or without one of these files.
        OSError: npm is not there, cannot fetch it, or brings another archive.

    Example:
        >>> engine_files("node_modules")["version"]
        '1.30.0'
    """
    if folder is not None:
        return _read(_package_in(Path(folder)))
    with TemporaryDirectory() as place:
        return _read(_fetched(Path(place)))


def _package_in(folder):
    """The folder of the package."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder} with {PACKAGE}; {BY_HAND}.")
    for place in (folder, folder / PACKAGE, folder / "node_modules" / PACKAGE, folder / "package"):
        if (place / "package.json").is_file() and (place / "dist").is_dir():
            return place
    raise ValueError(f"{folder} holds no {PACKAGE}, which has package.json and dist/; {BY_HAND}.")


def _read(package):
    said = read_json(package / "package.json")
    if not isinstance(said, dict) or said.get("name") != PACKAGE or not isinstance(said.get("version"), str):
        raise ValueError(f"{package / 'package.json'} is not that of {PACKAGE}; {BY_HAND}.")
    files = {"version": said["version"]}
    for name, file in {"script": SCRIPT, "loader": LOADER, "engine": ENGINE}.items():
        path = package / "dist" / file
        if not path.is_file():
            raise ValueError(f"{package} is {PACKAGE} {said['version']}, which has no dist/{file}; {BY_HAND}.")
        check_regular(path)
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path} has {path.stat().st_size:,} bytes, which no engine has; {BY_HAND}.")
        files[name] = path.read_bytes()
    return files


def _fetched(place):
    """The package as npm fetches it, unpacked."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(
            f"a page needs {PACKAGE}, which runs the graph in the browser: no folder of it is given, and npm, which "
            f"would fetch it, is not installed; {BY_HAND}."
        )
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--prefer-offline", "--pack-destination", str(place)]
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=PATIENCE)
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        why = lines[0].strip() if lines else f"exit code {done.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        done, why = None, said_by(error)
    archives = [*place.glob("*.tgz")]
    if done is None or done.returncode or len(archives) != 1:
        raise ConnectionError(f"{PACKAGE} {VERSION} cannot be fetched by npm ({why}); {BY_HAND}.")
    found = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
    if found != SHA512:
        raise OSError(
            f"what npm fetches as {PACKAGE} {VERSION} has the SHA-512 {found[:12]}..., not {SHA512[:12]}..., and is "
            f"not used; {BY_HAND}."
        )
    with tarfile.open(archives[0]) as archive:
        archive.extractall(place, filter="data")
    return place / "package"
