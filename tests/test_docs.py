"""The page of the losses says what their docstrings say, and those say all that they should."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import kzoo
import kzoo.losses
from kzoo.losses import Loss, WeightedSum

pytestmark = pytest.mark.once
FOLDER = Path(__file__).parents[1] / "docs"
NAMES = [
    name
    for name in sorted(kzoo.losses.__all__)
    if isinstance(vars(kzoo.losses)[name], type) and issubclass(vars(kzoo.losses)[name], Loss)
]


def test_pages_count_the_presets_roughly():
    """So that a row more is a change of its table alone."""
    rows, root = kzoo.list_presets(), FOLDER.parent
    counts = len(rows), len({kzoo.describe(row["name"])["family"] for row in rows})
    for page in ("README.md", "CHANGELOG.md"):
        found = re.search(r"presets: some (\d+)(?: rows)? of (\d+) families", (root / page).read_text("utf-8").lower())
        assert tuple(map(int, found.groups())) == pytest.approx(counts, rel=0.1), page


def script(name):
    """What a script of the folder defines."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def docs():
    return script("make_losses")


def test_the_page_of_the_checkpoints_is_that_of_the_tables():
    checkpoints = script("make_checkpoints")
    assert checkpoints.PAGE.read_text("utf-8") == checkpoints.page(), "run: make docs"


def test_the_page_is_that_of_the_docstrings(docs):
    assert docs.PAGE.read_text("utf-8") == docs.page(), "run: make docs"


def test_each_loss_has_one_row_of_the_page(docs):
    rows = re.findall(r"^\| `(\w+)` \|", docs.page(), flags=re.MULTILINE)
    assert sorted(rows) == [name for name in NAMES if vars(kzoo.losses)[name] not in (Loss, WeightedSum)]


def test_each_loss_is_fed_by_something_that_the_page_names(docs):
    said = " ".join(docs.page().split())
    for name in set(NAMES) - {Loss.__name__, WeightedSum.__name__}:
        own = docs.sections(vars(kzoo.losses)[name]).get("Feeding")
        if own is not None:
            assert f"- `{name}`: {own}" in said
        else:
            (fed,) = re.findall(rf"Fed by ([^.:]*(?:\.\w+[^.:]*)*): [^.]*`{name}`[,.]", said)
            assert fed in docs.FED_BY.values()


@pytest.mark.parametrize("name", [name for name in NAMES if vars(kzoo.losses)[name] not in (Loss, WeightedSum)])
def test_a_docstring_has_each_part_in_its_order(docs, name):
    loss = vars(kzoo.losses)[name]
    found = re.findall(rf"^({'|'.join(docs.SECTIONS)}):$", inspect.getdoc(loss), flags=re.MULTILINE)
    optional = ("Args", "Feeding", "Raises")
    assert [part for part in docs.SECTIONS if part in found] == found
    assert set(docs.SECTIONS) - set(found) <= set(optional)
    said = docs.sections(loss)
    assert said[""][-1] in ".?" and len(said[""]) < 200
    for function, part in ((loss.__init__, "Args"), (loss.call, "Inputs")):
        for argument in inspect.signature(function).parameters.values():
            by_name = argument.kind is argument.POSITIONAL_OR_KEYWORD
            assert not by_name or argument.name in ("self", "training", "name") or argument.name in said[part]
