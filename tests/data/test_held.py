"""Data sets that another library holds row by row; what stands in for them declares as much as those do."""

from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.data.sources import read_source
from kzoo.preprocessing import ImageSteps

STEPS = tiny_model().preprocessor
PAIRS = toy_pairs(4)
PICTURES = [Image.fromarray(image) for image in PAIRS["images"]]
PETS = SimpleNamespace(names=["dog", "cat"])  # as ClassLabel: in an order of its own


class Rows:
    """A map-style data set, which counts what is read of it."""

    def __init__(self, columns, features=None):
        self.columns, self.features, self.read = columns, features or dict.fromkeys(columns), []

    @property
    def column_names(self):
        return list(self.columns)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        self.read.append(key)
        if isinstance(key, str):
            return self.columns[key]
        values = {name: values[key] for name, values in self.columns.items()}
        broken = next((value for value in values.values() if isinstance(value, Exception)), None)
        if broken is not None:
            raise broken
        return values


class Narrow(Rows):
    """One that can be narrowed to some of its columns."""

    def select_columns(self, names):
        return Rows({name: self.columns[name] for name in names}, self.features)


class Stream:
    """A data set without a length."""

    column_names, features = ["image"], {"image": None}

    def __iter__(self):
        raise AssertionError("a stream is refused before it is read")


def encoded(picture):
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def rows(kind=Rows, **more):
    return kind({"image": PICTURES, "caption": PAIRS["captions"]} | more, {"label": PETS})


def test_pairs_read_pictures_when_a_batch_needs_them():
    source = rows(label=[0, 1, 1, 0], score=[0.5, 1, 2, 3])
    data = kzoo.data.pairs(source, STEPS, 2, shuffle=False, columns=("label", "score"))
    assert all(isinstance(key, str) and key != "image" for key in source.read)
    source.read.clear()
    batch = data[1]
    assert source.read == [2, 3]
    expected = kzoo.data.pairs(PAIRS, STEPS, 2, shuffle=False)[1]
    assert all(np.array_equal(batch[name], expected[name]) for name in expected)
    assert batch["label"].tolist() == [1, 0] and batch["score"].tolist() == [2.0, 3.0]
    assert data.classes == {"label": ("dog", "cat")} and data.captions == PAIRS["captions"]
    assert [row.place for row in data.rows] == [f"row {number}" for number in range(4)]


def test_pictures_are_what_such_data_sets_hold(tmp_path):
    PICTURES[3].save(tmp_path / "3.png")
    held = [PAIRS["images"][0], {"bytes": encoded(PICTURES[1]), "path": None}, {"bytes": None, "path": None}]
    held[2]["path"] = str(tmp_path / "3.png")
    source = Rows({"img": [*held, str(tmp_path / "3.png")], "text": [["a", "b"], "c", "d", "e"]})
    data = kzoo.data.pairs(source, STEPS, 5, shuffle=False, every_caption=True, image_key="img")
    expected = STEPS.encode_images([PAIRS["images"][number] for number in (0, 0, 1, 3, 3)])["images"]
    assert np.array_equal(data[0]["images"], expected) and data.captions == ["a", "b", "c", "d", "e"]
    with pytest.raises(ValueError, match="the data set has no column 'image', only img, text; name it with image_key="):
        kzoo.data.pairs(source, STEPS, 2)


def test_columns_that_nobody_asked_for_are_not_read():
    source = rows(Narrow, sound=[OSError("no decoder of sounds")] * 4, crop_images=PICTURES[::-1])
    data = kzoo.data.pairs(source, STEPS, 4, shuffle=False, columns=("crop_images",))
    expected = STEPS.encode_images(PAIRS["images"][::-1])["images"]
    assert np.array_equal(data[0]["crop_images"], expected)
    assert kzoo.data.views(source, ImageSteps(16), 4)[0]["view_1"].shape == (4, 16, 16, 3)


@pytest.mark.parametrize("picture", [OSError("no image"), None, {"bytes": b"no", "path": None}, 5])
def test_a_picture_that_cannot_be_read_is_a_broken_row(picture):
    source = Rows({"image": [PICTURES[0], picture, PICTURES[2]], "caption": ["a", "b", "c"]})
    for data in (
        kzoo.data.pairs(source, STEPS, 3, shuffle=False, skip_broken=True),
        kzoo.data.views(source, ImageSteps(16), 3, shuffle=False, skip_broken=True),
    ):
        with pytest.warns(UserWarning, match="It is left out"):
            data[0]
        assert len(data.broken) == 1 and data.broken[0].startswith(("row 1: ", "image 1: "))
        assert len(data.in_order().rows_read) == 2 and len(data.broken) == 1


def test_captions_and_labels_that_are_none_are_broken_rows():
    source = Rows({"image": PICTURES, "caption": ["a", None, " ", "d"], "label": [0, 1, 1, -1]}, {"label": PETS})
    found = read_source(source, columns="label")
    assert [row.captions for row in found.rows] == [["a"]]
    assert found.broken == ["row 1: the caption is empty", "row 2: the caption is empty", "row 3: the label is empty"]


def test_views_have_the_classes_of_a_data_set():
    source = rows(label=[0, 1, 1, 0], score=[0.5, 1, 2, 3])
    data = kzoo.data.views(source, ImageSteps(16), 4, shuffle=False)
    batch = data[0]
    assert sorted(batch) == ["label", "view_1", "view_2"] and batch["label"].tolist() == [0, 1, 1, 0]
    assert data.classes == {"label": ("dog", "cat")}
    more = kzoo.data.views(source, ImageSteps(16), 4, shuffle=False, columns="score", classes={"label": ["cat", "dog"]})
    assert more[0]["score"].tolist() == [0.5, 1.0, 2.0, 3.0] and more[0]["label"].tolist() == [1, 0, 0, 1]
    unlabelled = kzoo.data.views(rows(label=[-1] * 4), ImageSteps(16), 4)
    assert sorted(unlabelled[0]) == ["view_1", "view_2"] and unlabelled.classes == {}
    with pytest.raises(ValueError, match="row 3: the label is empty"):
        kzoo.data.views(rows(label=[0, 1, 1, -1]), ImageSteps(16), 4)
    with pytest.raises(ValueError, match="has no column 'species', only image, caption, label"):
        kzoo.data.views(rows(label=[0, 1, 1, 0]), ImageSteps(16), 4, columns=("species",))
    for source, what in ((PAIRS["images"], "pictures alone"), ("photos", "photos is a folder")):
        with pytest.raises(ValueError, match=f"{what}, which has no columns species"):
            kzoo.data.views(source, ImageSteps(16), 4, columns=("species",))


def test_texts_of_a_data_set():
    source = Rows({"text": ["one", "two"], "answer": ["1", "2"], "label": [1, 0]}, {"label": PETS})
    data = kzoo.data.text_views(source, STEPS, 2, shuffle=False, columns="label")
    assert data.texts == ["one", "two"] and data[0]["label"].tolist() == [1, 0]
    assert data.classes == {"label": ("dog", "cat")}
    data = kzoo.data.text_pairs(source, STEPS, 2, ("text", "answer"), shuffle=False)
    assert data.rows == [("one", "1"), ("two", "2")]
    with pytest.raises(ValueError, match="has no column 'sentence', only text, answer, label; name it with text="):
        kzoo.data.text_views(source, STEPS, 2, text="sentence")


@pytest.mark.parametrize("read", [read_source, lambda source: kzoo.data.views(source, ImageSteps(16), 2)])
def test_several_splits_and_streams_say_what_to_take(read):
    with pytest.raises(TypeError, match=r"type dict with the splits train, test; take one of them: source\['train'\]"):
        read({"train": rows(), "test": rows()})
    with pytest.raises(TypeError, match=r"a stream \(Stream\), .* load it without streaming=True, or keep its rows"):
        read(Stream())
    with pytest.raises(TypeError, match="take one of them"):
        read({"train": Stream()})
