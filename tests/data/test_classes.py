"""Labels in words: ids by class, the same in each data set that is told, from tables, arrays, folders and texts."""

import json

import numpy as np
import pytest
from PIL import Image
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.data.sources import read_source
from kzoo.losses import SupCon
from kzoo.preprocessing import ImageSteps

STEPS = tiny_model().preprocessor
PAIRS = toy_pairs(4)
SPECIES = ["dog", "cat", "dog", "ape"]
TEXTS = {"texts": ["one", "two", "three", "four"]}


def pairs(species, kind, folder, name="species", **options):
    """Pairs whose column `species` comes from a source of some kind."""
    records = [{"image": f"{index}.png", "caption": "a", name: each} for index, each in enumerate(species)]
    for index in range(len(species)):
        Image.fromarray(PAIRS["images"][index % 4]).save(folder / f"{index}.png")
    if kind == "jsonl":
        source = folder / "t.jsonl"
        source.write_text("\n".join(map(json.dumps, records)))
    elif kind == "csv":
        source = folder / "t.csv"
        source.write_text(
            "\n".join([f"image,caption,{name}", *(f"{index}.png,a,{each}" for index, each in enumerate(species))])
        )
    elif kind == "records":
        source = [record | {"image": str(folder / record["image"])} for record in records]
    else:
        source = {"images": PAIRS["images"][: len(species)], "captions": ["a"] * len(species)}
        source[name] = np.array(species) if kind == "array" else species
    return kzoo.data.pairs(source, STEPS, max(2, len(species)), shuffle=False, columns=(name,), **options)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "records", "array", "list"])
def test_names_are_ids_in_the_order_of_the_alphabet(kind, tmp_path):
    data = pairs(SPECIES, kind, tmp_path)
    assert data.classes == {"species": ("ape", "cat", "dog")}
    assert data[0]["species"].tolist() == [2, 1, 2, 0] and data[0]["species"].dtype.kind == "i"
    assert repr(data).endswith("seed 0, species of classes ape, cat, dog>")
    assert repr(data.in_order()).endswith("species of classes ape, cat, dog>")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "records", "array", "list"])
def test_text_that_spells_numbers_is_numbers(kind, tmp_path):
    data = pairs(["3", "10", "3", "2"], kind, tmp_path)
    assert data[0]["species"].tolist() == [3, 10, 3, 2] and data.classes == {}
    assert pairs(["3", "0.5", "3", "2"], kind, tmp_path)[0]["species"].dtype == "float64"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "list"])
def test_codes_that_are_one_as_numbers_are_told_apart_or_refused(kind, tmp_path):
    codes = ["007", "7", "10"]
    with pytest.raises(
        ValueError, match=r"species holds '007' and '7', which are one as numbers; .* classes=\{'species'"
    ):
        pairs(codes, kind, tmp_path)
    assert pairs(codes, kind, tmp_path, classes={"species": codes})[0]["species"].tolist() == [0, 1, 2]
    assert pairs(["007", "010", "007"], kind, tmp_path)[0]["species"].tolist() == [7, 10, 7]


def test_names_with_underscores_are_no_numbers(tmp_path):
    data = pairs(["1_23", "12_3", "1_23"], "csv", tmp_path)
    assert data.classes["species"] == ("12_3", "1_23")
    assert data[0]["species"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "records", "list"])
def test_a_name_among_numbers_is_a_broken_row_and_no_class(kind, tmp_path):
    with pytest.raises(ValueError, match=r"1 rows .*: the species is 'x', which is no number; .* classes=\{'species'"):
        pairs(["3", "10", "x", "2"], kind, tmp_path)
    with pytest.warns(UserWarning, match="the species is 'x'"):
        data = pairs(["3", "10", "x", "2"], kind, tmp_path, skip_broken=True)
    assert data[0]["species"].tolist() == [3, 10, 2]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "records", "array", "list"])
@pytest.mark.parametrize("blank", ["", "  ", "nan"])
def test_a_blank_name_is_a_broken_row(kind, blank, tmp_path):
    with pytest.raises(ValueError, match="1 rows of the source cannot be used: .*row [12]: the species is empty"):
        pairs(["dog", blank, "cat", "cat"], kind, tmp_path)
    with pytest.warns(UserWarning, match="the species is empty"):
        data = pairs(["dog", blank, "cat", "cat"], kind, tmp_path, skip_broken=True)
    assert data.classes["species"] == ("cat", "dog") and data[0]["species"].tolist() == [1, 0, 0]


def test_nothing_and_lists_are_no_names(tmp_path):
    with pytest.raises(ValueError, match="row 1: the species is empty"):
        pairs(["dog", None, "cat", "cat"], "list", tmp_path)
    with pytest.raises(ValueError, match=r"row 3: the species is of type list, which is none of the classes cat, dog"):
        pairs(["dog", "dog", ["cat"], "cat"], "jsonl", tmp_path, classes={"species": ["cat", "dog"]})


@pytest.mark.parametrize("kind", ["csv", "records", "array"])
def test_classes_of_another_set_or_given(kind, tmp_path):
    train = pairs(SPECIES, kind, tmp_path)
    data = pairs(["dog", "ape"], kind, tmp_path, classes=train)
    assert data[0]["species"].tolist() == [2, 0] and data.classes == train.classes
    data = pairs(["dog", "ape"], kind, tmp_path, classes={"species": ["dog", "gnu", "ape"]})
    assert data[0]["species"].tolist() == [0, 2] and data.classes["species"] == ("dog", "gnu", "ape")
    place = "t.csv row 2" if kind == "csv" else "row 1"
    with pytest.raises(ValueError, match=f"{place}: the species is 'gnu', which is none of the classes ape, cat, dog"):
        pairs(["dog", "gnu"], kind, tmp_path, classes=train)
    many = {"species": [f"s{number}" for number in range(9)]}
    with pytest.raises(ValueError, match="is 'dog', which is none of the 9 classes s0, s1, s2, "):
        pairs(["dog", "s1"], kind, tmp_path, classes=many)


def test_names_that_are_given_may_spell_numbers_and_ids_are_whole_numbers(tmp_path):
    given = {"species": ["7", "8", "nan"]}
    assert pairs(["8", "7", "nan"], "csv", tmp_path, classes=given)[0]["species"].tolist() == [1, 0, 2]
    assert pairs([0, 2, 1], "jsonl", tmp_path, classes=given)[0]["species"].tolist() == [0, 2, 1]
    with pytest.raises(ValueError, match="row 3: the species is 3, which is none of the classes 7, 8, nan"):
        pairs([0, 2, 3], "jsonl", tmp_path, classes=given)
    with pytest.raises(ValueError, match="row 0: the species is -1, which is none of"):
        pairs(np.array([-1, 0]), "array", tmp_path, classes=given)


def test_one_name_written_in_two_ways_is_one_class(tmp_path):
    data = pairs(["caf\u00e9", " cafe\u0301 ", "The"], "csv", tmp_path)
    assert data.classes["species"] == ("The", "caf\u00e9") and data[0]["species"].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    "classes, error, sentence",
    [
        (["cat"], TypeError, "classes is of type list; give a dict of columns and names"),
        ({"specie": ["cat"]}, ValueError, "classes names the column 'specie', but there is only species"),
        ({"species": "cat"}, TypeError, "the classes of species are 'cat'; give a list of names"),
        ({"species": ["cat", " cat"]}, ValueError, "the classes of species hold ' cat' twice"),
        ({"species": ["cat", 3]}, ValueError, "the classes of species hold 3, which is no name"),
    ],
)
def test_bad_classes(classes, error, sentence, tmp_path):
    with pytest.raises(error, match=sentence):
        pairs(["cat", "cat"], "csv", tmp_path, classes=classes)


def test_a_set_that_knows_no_names_cannot_give_them(tmp_path):
    train = pairs([1, 2], "csv", tmp_path)
    with pytest.raises(
        ValueError, match="species holds names, such as 'cat', but the data set that is given as classes"
    ):
        pairs(["cat", "dog"], "csv", tmp_path, classes=train)
    (tmp_path / "0.txt").write_text("a")
    with pytest.raises(ValueError, match="classes names the column 'species', but there is no column of labels"):
        read_source(tmp_path, classes={"species": ["cat"]})


def test_views_and_texts_read_names_too(tmp_path):
    for data in (
        kzoo.data.views({"images": PAIRS["images"], "species": SPECIES}, ImageSteps(16), 4, shuffle=False),
        kzoo.data.text_views(TEXTS | {"species": SPECIES}, STEPS, 4, shuffle=False),
        kzoo.data.text_pairs(
            {"a": TEXTS["texts"], "b": TEXTS["texts"], "species": SPECIES}, STEPS, 4, ("a", "b"), shuffle=False
        ),
    ):
        assert data[0]["species"].tolist() == [2, 1, 2, 0] and data.classes == {"species": ("ape", "cat", "dog")}
    (tmp_path / "t.csv").write_text("text,species\none,dog\ntwo,gnu\n")
    read = kzoo.data.text_views(tmp_path / "t.csv", STEPS, 2, shuffle=False, columns=("species",))
    assert read[0]["species"].tolist() == [0, 1]
    with pytest.raises(
        ValueError, match=r"the first is t.csv row 2: the species is 'gnu', which is none of the classes"
    ):
        kzoo.data.text_views(tmp_path / "t.csv", STEPS, 2, columns=("species",), classes=data)
    source = {"images": PAIRS["images"], "species": ["dog", None, "cat", "ape"]}
    with pytest.raises(ValueError, match="row 1: the species is empty; mend the source"):
        kzoo.data.views(source, ImageSteps(16), 4)
    with pytest.raises(ValueError, match="row 1: the species is 'gnu', which is none of the classes ape, cat, dog"):
        kzoo.data.views({"images": PAIRS["images"], "species": ["dog", "gnu"] * 2}, ImageSteps(16), 4, classes=data)


def class_folders(root, names):
    for index, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PAIRS["images"][index % 4]).save(root / name)
    return root


def test_folders_of_classes_are_labels(tmp_path):
    root = class_folders(tmp_path / "train", ["dog/2.png", "cat/1.png", "cat/more/0.png", "10/3.png"])
    data = kzoo.data.views(root, ImageSteps(16), 4, shuffle=False)
    assert data.classes == {"labels": ("10", "cat", "dog")} and data[0]["labels"].tolist() == [0, 1, 1, 2]
    assert repr(data).endswith("labels of classes 10, cat, dog>")
    held_out = class_folders(tmp_path / "held", ["dog/1.png", "dog/2.png"])
    assert kzoo.data.views(held_out, ImageSteps(16), 2, classes=data)[0]["labels"].tolist() == [2, 2]
    class_folders(held_out, ["gnu/1.png"])
    with pytest.raises(ValueError, match=r"gnu.1.png: the labels is 'gnu', which is none of the classes 10, cat, dog"):
        kzoo.data.views(held_out, ImageSteps(16), 2, classes=data)


@pytest.mark.parametrize(
    "names", [["a.png", "cat/1.png", "dog/2.png"], ["all/1.png", "all/2.png"], ["train/cat/1.png", "test/dog/2.png"]]
)
def test_folders_that_are_no_classes(names, tmp_path):
    data = kzoo.data.views(class_folders(tmp_path, names), ImageSteps(16), 2, shuffle=False)
    assert data.classes == {} and sorted(data[0]) == ["view_1", "view_2"]


def test_a_loss_reads_names_as_labels(model, tmp_path):
    data = pairs(SPECIES, "csv", tmp_path)
    losses = []
    for loss, batch in ((SupCon, data), (SupCon, data[0] | {"species": np.array([2, 1, 2, 0])})):
        model.compile("sgd", loss=loss(inputs=("image_embeddings",), labels="species"))
        losses.append(model.evaluate(batch, batch_size=4, verbose=0)["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    model.compile("sgd", loss=SupCon(inputs=("image_embeddings",)))
    other = data[0] | {"labels": np.array([0, 0, 1, 1])}
    assert losses[0] != pytest.approx(model.evaluate(other, batch_size=4, verbose=0)["loss"], rel=1e-3)
