"""What is wrong with an export, all of it at once."""

from pathlib import Path

from kzoo.export.formats import FORMATS
from kzoo.export.manifest import MANIFEST, MANIFEST_FILE, fingerprints, read_manifest
from kzoo.export.runtime import check_places
from kzoo.files.findings import Findings, check_files
from kzoo.files.strict_json import read_json
from kzoo.preprocessing import Preprocessor


def problems(folder) -> tuple:
    """Look through an export; its graphs are opened, and not run.

    Args:
        folder: path.

    Returns:
        `(format, problems)`: a name of `kzoo.export.formats.FORMATS`, or None; list of sentences.
    """
    folder, found = Path(folder), Findings()
    check_files(folder, found)
    if found:
        return None, found
    manifest = found.attempt(read_manifest, folder)
    if manifest is None:
        content = found.attempt(read_json, folder / MANIFEST_FILE, None, False)
        for sentence in () if content is None else MANIFEST.problems(content, folder / MANIFEST_FILE):
            found.note(sentence)
        return None, found
    if manifest["preprocessor"] is not None:
        found.attempt(Preprocessor.load, folder, manifest["preprocessor"])
    found.attempt(_check_fingerprints, folder, manifest)
    if FORMATS[manifest["format"]].opened_by is None:
        engine = FORMATS[manifest["format"]].run_by(folder, manifest)
        before = len(found)
        found.attempt(check_places, folder)
        for name in manifest["graphs"] if len(found) == before else ():
            found.attempt(engine.look, name)
    return manifest["format"], found


def _check_fingerprints(folder, manifest):
    with fingerprints(folder, manifest):
        return True
