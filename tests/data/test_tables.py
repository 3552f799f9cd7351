"""Lines, tables, folders and records as people have them: every row is read or named, none is changed in silence."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.data.lines import read_lines
from kzoo.data.sources import read_source

STEPS = tiny_model().preprocessor
IMAGES = toy_pairs(3)["images"]


@pytest.fixture
def folder(tmp_path):
    """A folder with the pictures 0.png to 4.png, which are alike."""
    picture = Image.fromarray(IMAGES[0])
    for index in range(5):
        picture.save(tmp_path / f"{index}.png")
    return tmp_path


def captions_in(source, **options):
    found = read_source(source, **options)
    return [text for row in found.rows for text in row.captions], found.broken


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_quotation_marks_in_a_tsv_stand_for_themselves_unless_they_quote_a_field(folder):
    captions = ["a dog", '"stop" sign', '"hello, said the man', '"a ""red"" cow"', '"two\nlines"']
    rows = "".join(f"{index}.png\t{caption}\n" for index, caption in enumerate(captions))
    found, broken = captions_in(written(folder / "t.tsv", f"image\tcaption\n{rows}"))
    assert found == ["a dog", '"stop" sign', '"hello, said the man', 'a "red" cow', "two\nlines"] and not broken
    swallowing = 'image\tcaption\n0.png\t"one\n1.png\ttwo"\n'
    assert captions_in(written(folder / "t.tsv", swallowing)) == (['"one', 'two"'], [])


def test_a_mark_that_is_not_closed_breaks_its_row_of_a_csv_alone(folder):
    table = 'image,caption\n0.png,a dog\n1.png,"a cat\n2.png,a cow\n3.png,"a ""red"", bird"\n4.png,"stop" sign\n'
    found, broken = captions_in(written(folder / "t.csv", table))
    assert found == ["a dog", "a cow", 'a "red", bird']
    assert [each.partition(": a quotation mark opens a field and does not")[0] for each in broken] == [
        "t.csv row 2",
        "t.csv row 5",
    ]
    found, broken = captions_in(written(folder / "t.csv", 'image,caption\n0.png,"one\n1.png,two"\n2.png,"2\nlines"\n'))
    assert found == ["2\nlines"] and broken == [
        "t.csv row 1: a quotation mark is not closed, and its caption goes on with the row of 1.png"
    ]
    long = 'image,caption\n0.png,"' + "x" * 140_000 + '"\n1.png,"' + "y\n" * 200
    assert len(captions_in(written(folder / "t.csv", long))[0]) == 1


@pytest.mark.parametrize("name, mark", [("t.csv", ","), ("t.tsv", "\t"), ("T.CSV", ","), ("t.Tsv", "\t")])
def test_fields_are_as_many_as_in_the_header(folder, name, mark):
    lines = ["image,caption", "0.png,a dog, running", "1.png", "", "2.png,a cow,,", "3.png,a bird"]
    table = "\r\n".join(lines).replace(", running", f"{mark} running") if mark == "," else "\n".join(lines)
    found, broken = captions_in(written(folder / name, table.replace(",", mark)))
    assert found == ["a cow", "a bird"]
    assert broken[0].startswith(f"{name} row 1: it has 3 fields, but the header has 2; put one that holds a comma")
    assert broken[1] == f"{name} row 2: it has 1 fields, but the header has 2"


def test_a_table_divided_by_something_else_says_so(folder):
    for mark in ";\t|":
        table = written(folder / "t.csv", f"image{mark}caption\n0.png{mark}a dog\n")
        with pytest.raises(ValueError, match="t.csv has one column, .* divided by .*; a .csv is divided by commas"):
            read_source(table)


def test_a_column_that_is_there_twice(folder):
    with pytest.raises(ValueError, match="t.csv has two columns 'caption'"):
        read_source(written(folder / "t.csv", "image,caption,caption\n0.png,a,b\n"))


ODD = "one\u2028two\x85three\x0cfour\x1cfive"  # ends of lines to str.splitlines, to nobody else


def test_lines_end_where_lines_end(folder):
    written(folder / "t.jsonl", json.dumps({"image": "0.png", "caption": ODD}, ensure_ascii=False) + "\r\n\n")
    assert captions_in(folder / "t.jsonl") == ([ODD], [])
    assert captions_in(written(folder / "t.csv", f"image,caption\r\n0.png,{ODD}\r\n")) == ([ODD], [])
    assert list(read_lines(written(folder / "t.txt", f"{ODD}\r\nb\rc\n"))) == [ODD, "b", "c"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_no_text(folder, encoding):
    for name, content in {
        "t.csv": "image,caption\n0.png,größer\n",
        "t.tsv": "image\tcaption\n0.png\tgrößer\n",
        "t.jsonl": '{"image": "0.png", "caption": "größer"}\n',
    }.items():
        assert captions_in(written(folder / name, content.encode(encoding))) == (["größer"], [])
    alone = folder / "alone"
    alone.mkdir()
    (folder / "0.png").rename(alone / "0.png")
    written(alone / "0.txt", "größer\n".encode(encoding))
    assert captions_in(alone) == (["größer"], [])
    data = kzoo.data.text_views(written(folder / "t.txt", "größer\nb\n".encode(encoding)), STEPS, 2)
    assert data.texts == ["größer", "b"]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl"])
def test_other_encodings_name_the_file(folder, name):
    with pytest.raises(ValueError, match=rf"{name} cannot be read as UTF-8 behind line .*; save it as UTF-8"):
        read_source(written(folder / name, "image,caption\n0.png,größer\n".encode("latin-1")))
    with pytest.raises(ValueError, match=rf"{name} holds zero bytes in line 1"):
        read_source(written(folder / name, "image,caption\n".encode("utf-16-le")))


def test_a_caption_file_in_another_encoding_is_a_broken_row(tmp_path):
    for index, text in enumerate([b"a dog", "größer".encode("latin-1"), b" \n"]):
        Image.fromarray(IMAGES[0]).save(tmp_path / f"{index}.png")
        written(tmp_path / f"{index}.TXT", text)
    found, broken = captions_in(tmp_path)
    assert found == ["a dog"] and len(broken) == 2
    assert "1.TXT cannot be read as UTF-8" in broken[0] and broken[1].endswith("2.png: no caption in 2.txt")


NO_CAPTIONS = {
    "objects": ({"en": "a dog", "de": "ein Hund"}, "the caption is an object with the keys en, de; give one of them"),
    "nothing": (None, "the caption is empty"),
    "NaN": (float("nan"), "the caption is empty"),
    "numbers": (5, "the caption holds something else than strings, 5"),
    "booleans": (True, "the caption holds something else than strings, True"),
    "empty lists": ([], "the caption is empty"),
    "blanks": (" \u00a0", "the caption is empty"),
    "lists with nothing": (["a dog", None], "the caption is empty"),
    "lists with blanks": (["a dog", ""], "the caption is empty"),
    "lists of lists": ([["a dog"]], r"the caption holds something else than strings, ['a dog']"),
    "halves of signs": ("a \ud83d", "the caption cannot be read: text 0 holds half of a surrogate pair"),
}


@pytest.mark.parametrize("what", NO_CAPTIONS)
def test_what_is_no_caption_is_a_broken_row_of_every_source(folder, what):
    value, sentence = NO_CAPTIONS[what]
    records = [{"image": "0.png", "caption": value}, {"image": "1.png", "caption": "a cat"}]
    table = written(folder / "t.jsonl", "\n".join(map(json.dumps, records)))
    paths = [{"image": str(folder / each["image"]), "caption": each["caption"]} for each in records]
    entries = {"images": [each["image"] for each in paths], "captions": [each["caption"] for each in paths]}
    for source, place in ((table, "t.jsonl row 1"), (paths, "row 0"), (entries, "row 0")):
        found, broken = captions_in(source)
        assert found == ["a cat"] and len(broken) == 1 and broken[0].startswith(f"{place}: {sentence}")
    with pytest.raises(ValueError, match="1 rows of the source cannot be used: row 0: .*skip_broken=True"):
        kzoo.data.pairs(entries, STEPS, 2)


@pytest.mark.parametrize(
    "image, sentence",
    [
        (5, "the image is no path of a file but of type int"),
        (None, "the image is empty"),
        (" ", "the image is empty"),
        (["0.png"], "the image is no path of a file but of type list"),
        ({"file": "0.png"}, "the image is no path of a file but of type dict"),
        ("x" * 5000, "there is no image file"),
    ],
)
def test_what_is_no_picture_is_a_broken_row(folder, image, sentence):
    table = written(folder / "t.jsonl", json.dumps({"image": image, "caption": "a"}))
    for source in (table, [{"image": image, "caption": "a"}]):
        _, (broken,) = captions_in(source)
        assert sentence in broken


def test_lines_of_jsonl_that_are_no_objects(folder):
    table = written(folder / "t.jsonl", '["0.png"]\n3\n' + "[" * 100_000)
    _, broken = captions_in(table)
    assert broken[:2] == [f"t.jsonl row {i}: not an object of JSON but {kind}" for i, kind in ((1, "list"), (2, "int"))]
    assert broken[2].startswith("t.jsonl row 3: not JSON: it holds more than 32 objects and lists within each other")


class DataFrame:
    """What pandas gives, as far as it is read."""

    def __init__(self, records):
        self.records = records

    def to_dict(self, orient):
        assert orient == "records"
        return self.records

    to_dicts = None


@pytest.mark.parametrize("library", ["pandas.core.frame", "polars.dataframe.frame"])
def test_data_frames_are_lists_of_records(folder, monkeypatch, library):
    monkeypatch.setattr(DataFrame, "__module__", library)
    monkeypatch.setattr(DataFrame, "to_dicts", lambda self: self.records)
    records = [{"image": str(folder / "0.png"), "caption": "a", "labels": np.float64(3)}]
    records += [{"image": IMAGES[1], "caption": np.str_("b"), "labels": np.int64(4)}]
    records += [{"image": Image.fromarray(IMAGES[2]), "caption": ["c", "d"], "labels": np.nan}]
    found = read_source(DataFrame(records), columns="labels")
    assert [row.captions for row in found.rows] == [["a"], ["b"]]
    assert [row.more["labels"] for row in found.rows] == [[3.0], [4.0]]
    assert found.broken == ["row 2: the labels is empty"]
    assert captions_in(DataFrame(records))[0] == ["a", "b", "c", "d"]


def test_records_hold_pictures_of_any_kind_and_are_rows_of_their_own(folder):
    encoded = (folder / "0.png").read_bytes()
    images = [folder / "0.png", encoded, {"bytes": encoded, "path": None}, {"path": str(folder / "1.png")}, IMAGES[0]]
    found = read_source([{"file": image, "text": "a"} for image in images], "file", "text")
    assert len(found.rows) == 5 and not found.broken
    batch = kzoo.data.pairs([{"image": image, "caption": "a"} for image in images], STEPS, 5, shuffle=False)[0]
    assert all(np.array_equal(image, batch["images"][0]) for image in batch["images"])
    found = read_source([{"image": IMAGES[0], "caption": "a"}, {"image": IMAGES[0]}])
    assert len(found.rows) == 1 and found.broken == ["row 1: it has no caption, only image"]
    with pytest.raises(ValueError, match="the table has no column 'caption', only image; name it with"):
        read_source([{"image": IMAGES[0]}, {"image": IMAGES[0], "caption": "a"}])


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize("key", ["text", "caption"])
def test_folders_as_hugging_face_lays_them_out(folder, name, key):
    record = {"file_name": "0.png", key: "a dog", "labels": 3}
    table = f"file_name,{key},labels\n0.png,a dog,3\n" if name.endswith("csv") else json.dumps(record)
    written(folder / name, table)
    found = read_source(folder, columns=("labels",))
    assert [(row.image, row.captions) for row in found.rows] == [(folder / "0.png", ["a dog"])]
    assert found.rows[0].more["labels"] == [3]
    with pytest.raises(ValueError, match="the table has no column 'species'"):
        read_source(folder, columns=("species",))


def test_hidden_files_are_no_pictures(folder):
    for path in (folder / "._0.png", folder / ".ipynb_checkpoints" / "0-checkpoint.png", folder / "._0.txt"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((folder / "0.png").read_bytes())
    for index in range(5):
        written(folder / f"{index}.txt", "a")
    assert captions_in(folder) == (["a"] * 5, [])
    data = kzoo.data.views(folder, STEPS, 2)
    assert [Path(image).name for image in data.images] == [f"{index}.png" for index in range(5)]


def test_links_to_folders_are_followed_but_not_around(folder, tmp_path_factory):
    pets = tmp_path_factory.mktemp("pets")
    for name in ("cat", "dog", "ape"):
        (pets / name).symlink_to(folder, target_is_directory=True)
    (folder / "back").symlink_to(pets, target_is_directory=True)
    data = kzoo.data.views(pets, STEPS, 2)
    assert data.classes["labels"] == ("ape", "cat", "dog")
    assert [Path(image).relative_to(pets).as_posix() for image in data.images] == [
        f"{name}/{index}.png" for name in ("ape", "cat", "dog") for index in range(5)
    ]


def test_folders_without_captions_say_what_to_do(folder):
    with pytest.raises(ValueError, match="pictures but no .txt of captions beside them; write one for each"):
        read_source(folder)
    written(folder / "list.csv", "image,caption\n")
    with pytest.raises(ValueError, match="give the table itself: .*list.csv"):
        read_source(folder)
    classes = folder / "classes"
    for name in ("cat", "dog"):
        (classes / name).mkdir(parents=True)
        (folder / f"{len(name)}.png").replace(classes / name / "a.png") if name == "cat" else (
            folder / "1.png"
        ).replace(classes / name / "a.png")
    with pytest.raises(ValueError, match=r"folders of classes \(cat, dog\) and no captions; make them of the classes"):
        read_source(classes)


def test_files_of_other_kinds_say_what_to_do(folder):
    with pytest.raises(ValueError, match="is no source of pairs.*rename it"):
        read_source(written(folder / "captions.txt", "image,caption\n"))
    with pytest.raises(ValueError, match="is no source of pairs.*one object in each line"):
        read_source(written(folder / "captions.json", "{}"))


@pytest.mark.parametrize(
    "source, error, sentence",
    [
        ({"images": IMAGES, "captions": "abc"}, TypeError, "the captions of the source are 'abc', but a list or"),
        ({"images": "abc", "captions": ["a", "b", "c"]}, TypeError, "the images of the source are 'abc'"),
        ((iter(IMAGES), ["a"]), TypeError, "the images of the source are of type .*, but a list or an array"),
        ({"images": IMAGES, "captions": None}, TypeError, "the captions of the source are of type NoneType"),
        (None, TypeError, "the source is of type NoneType, which is no source of pairs"),
    ],
)
def test_entries_without_rows(source, error, sentence):
    with pytest.raises(error, match=sentence):
        read_source(source)


def test_columns_that_are_named_are_there_and_have_one_dtype(folder):
    pairs = {"images": IMAGES, "captions": ["a", "b", "c"]}
    with pytest.raises(ValueError, match="a dict of images, captions without 'species', which columns= names"):
        kzoo.data.pairs(pairs, STEPS, 2, columns=("species",))
    table = written(
        folder / "t.csv", "image,caption,scores,big\n0.png,a,3,1\n1.png,b,0.5,1\n2.png,c,2,1\n3.png,d,1,1\n"
    )
    data = kzoo.data.pairs(table, STEPS, 2, shuffle=False, columns=("scores", "big"))
    assert [data[index]["scores"].dtype for index in (0, 1)] == ["float64"] * 2
    assert data[1]["scores"].tolist() == [2.0, 1.0] and data[1]["big"].dtype == "int64"
    table = written(folder / "t.csv", f"image,caption,labels\n0.png,a,nan\n1.png,b,{2**63}\n2.png,c,\n")
    _, broken = captions_in(table, columns=("labels",))
    assert [each.partition(": the labels is ")[2] for each in broken] == [
        "empty",
        f"{2**63}, which is no number of 64 bits",
        "empty",
    ]
    rows = [{"image": IMAGES[0], "caption": "a", "labels": labels} for labels in ([1, 2], [1])]
    with pytest.raises(ValueError, match="the rows of labels have different lengths"):
        read_source(rows, columns=("labels",))


def test_texts_come_from_records_too(monkeypatch):
    monkeypatch.setattr(DataFrame, "__module__", "pandas.core.frame")
    records = [{"text": "a dog", "score": 1}, {"text": "a cat", "score": 0.5}]
    for source in (records, DataFrame(records)):
        data = kzoo.data.text_views(source, STEPS, 2, shuffle=False, columns=("score",))
        assert data.texts == ["a dog", "a cat"] and data[0]["score"].tolist() == [1.0, 0.5]
    for source in (["a", " "], {"texts": ["a", ""]}):
        with pytest.raises(ValueError, match="text 1 of texts is blank"):
            kzoo.data.text_views(source, STEPS, 2)
    with pytest.raises(TypeError, match="the source is a table of type list, but pictures are expected"):
        kzoo.data.views([{"image": "a.png"}], STEPS, 2)
    with pytest.raises(TypeError, match="the images of the source are of type NoneType"):
        kzoo.data.views(None, STEPS, 2)
