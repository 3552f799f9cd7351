"""Names: what the packages offer, to a user, to completion and to type checkers; and that each package is installed."""

import ast
import importlib.util
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import kzoo.losses

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("make_imports", ROOT / "docs" / "make_imports.py")
SCRIPT = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(SCRIPT)

pytestmark = pytest.mark.once


def test_what_is_written_from_the_files_is_up_to_date():
    assert [str(path) for path, text in SCRIPT.pages().items() if path.read_text("utf-8") != text] == [], (
        "run: make docs"
    )


FILES = [path for path in ROOT.glob("kzoo/losses/*/[!_]*.py") if path.parent.name != "parts"]


def test_losses_are_those_of_the_folder():
    homes = {getattr(kzoo.losses, name).__module__ for name in kzoo.losses.__all__}
    assert {f"kzoo.losses.{path.parent.name}.{path.stem}" for path in FILES} <= homes
    assert dir(kzoo.losses) == sorted(kzoo.losses.__all__)


def test_a_loss_is_tested_in_its_room_in_a_file_of_its_name():
    tests = ROOT / "tests" / "losses"
    missing = [path.stem for path in FILES if not [*(tests / path.parent.name).glob(f"test_*{path.stem}*.py")]]
    assert missing == []


def test_a_room_of_losses_imports_only_rooms_below_it():
    order = ["base", "parts", "views", "labels", "sentences", "image_text", "teachers", "generative", "composition"]
    for path in ROOT.glob("kzoo/losses/*/*.py"):
        read = re.findall(r"^\s*(?:from|import) kzoo\.losses\.(\w+)", path.read_text("utf-8"), flags=re.MULTILINE)
        assert all(order.index(room) <= order.index(path.parent.name) for room in read), path


@pytest.mark.parametrize("package", SCRIPT.LAZY)
def test_stubs_show_what_the_package_has_and_nothing_else(package):
    module = import_module(package)
    tree = ast.parse((ROOT / SCRIPT.LAZY[package] / "__init__.pyi").read_text("utf-8")).body
    stated = [each.name for node in tree if isinstance(node, ast.ImportFrom) for each in node.names]
    stated += [node.target.id for node in tree if isinstance(node, ast.AnnAssign)]
    assert sorted(stated) == sorted(module.__all__) == dir(module)
    assert all(getattr(module, name) is not None for name in stated)


def test_a_name_that_there_is_not():
    with pytest.raises(AttributeError, match=r"kzoo.losses has no 'InfoNce'; did you mean InfoNCE or"):
        kzoo.losses.InfoNce  # noqa: B018
    with pytest.raises(AttributeError, match=r"kzoo.losses has no 'Zzz'; dir\(kzoo.losses\) lists what it has"):
        kzoo.losses.Zzz  # noqa: B018
    with pytest.raises(AttributeError, match=r"kzoo.losses has no 'TripletLoss'; did you mean Triplet"):
        kzoo.losses.from_spec([{"loss": "TripletLoss"}])
    with pytest.raises(AttributeError, match="module 'kzoo.data' has no attribute 'pair'"):
        kzoo.data.pair  # noqa: B018


def test_every_package_is_installed_with_its_stub():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    moved = {folder: package for package, folder in setuptools["package-dir"].items()}
    found = [path.parent.relative_to(ROOT) for folder in moved for path in ROOT.glob(f"{folder}/**/__init__.py")]
    names = {".".join([moved.get(folder.parts[0], folder.parts[0]), *folder.parts[1:]]) for folder in found}
    assert sorted(names) == setuptools["packages"]
    files = setuptools["package-data"]
    assert (ROOT / "kzoo" / "py.typed").is_file() and "py.typed" in files["kzoo"] and "*.pyi" in files["*"]
