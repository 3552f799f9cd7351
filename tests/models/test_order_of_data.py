"""Which rows `fit`, `evaluate` and `predict` read, and in which order."""

import keras
import numpy as np
import pytest
from PIL import Image
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.data import SameGroup
from kzoo.preprocessing import Augmentation

ROWS = 11
PAIRS = toy_pairs(ROWS)
EMBEDDINGS = "image_embeddings"


def read_by(data, steps):
    """The rows of the batches that are read, in order, so many to each epoch."""
    read, batch = [], data.batch

    def noted(chosen, random):
        read.append(tuple(map(int, chosen)))
        return batch(chosen, random)

    data.batch = noted
    return lambda: [sorted(read[start : start + steps]) for start in range(0, len(read), steps)]


def training_set(model, batch_size=4):
    return kzoo.data.pairs(PAIRS, model.preprocessor, batch_size, workers=1)


def orders(epochs, batch_size=4):
    """What the epochs of the set read, by itself."""
    data = training_set(tiny_model(depth=1), batch_size)
    read = read_by(data, len(data))
    for data.epoch in epochs:
        for index in range(len(data)):
            data[index]
    return read()


OPTIONS = {
    "shuffled": {},
    "in groups": {"sampler": SameGroup(np.arange(ROWS) // 4 % 2)},
    "augmented": {"augmentation": Augmentation((0.1, 0.3)), "word_dropout": 0.9},
    "every caption": {"every_caption": True},
    "in order": {"shuffle": False},
}


@pytest.fixture(scope="module")
def embedded():
    """A compiled model, and what it makes of the pictures and texts."""
    keras.utils.set_random_seed(0)
    model = tiny_model(depth=1)
    model.compile("sgd")
    return model, model.encode_image(PAIRS["images"]), model.encode_text(PAIRS["captions"])


@pytest.mark.parametrize("what", OPTIONS)
def test_predict_reads_every_row_once_in_the_order_of_the_source(embedded, what):
    model, images, texts = embedded
    data = kzoo.data.pairs(PAIRS, model.preprocessor, 4, **OPTIONS[what])
    for _ in range(2):
        found = model.predict(data, verbose=0)
        np.testing.assert_allclose(found[EMBEDDINGS], images, atol=1e-5)
        np.testing.assert_allclose(found["text_embeddings"], texts, atol=1e-5)
    assert data.epoch == 0 and data.in_order().rows_read.tolist() == list(range(ROWS))


@pytest.mark.once
def test_evaluate_gives_the_same_numbers_whatever_the_settings(embedded):
    model, *_ = embedded
    shuffled, augmented, ordered = (
        kzoo.data.pairs(PAIRS, model.preprocessor, 4, **OPTIONS[name]) for name in ("shuffled", "augmented", "in order")
    )
    expected = model.evaluate(ordered, verbose=0)
    for data in (shuffled, shuffled, augmented):
        assert model.evaluate(data, verbose=0) == pytest.approx(expected, abs=1e-6)
    first = model.evaluate(shuffled, steps=2, verbose=0)
    several = PAIRS | {"captions": [[caption, "a dog"] for caption in PAIRS["captions"]]}
    each = kzoo.data.pairs(several, model.preprocessor, 4, every_caption=True)
    assert {*first} == {*model.evaluate(each, steps=2, verbose=0)}


@pytest.mark.once
def test_views_are_read_in_order_too():
    data = kzoo.data.views({"images": PAIRS["images"], "row": np.arange(ROWS)}, tiny_model(depth=1).preprocessor, 4)
    rows = [batch["row"].tolist() for batch in data.in_order()]
    assert rows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    first, again = (data.in_order()[0]["view_1"] for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.once
def test_validation_reads_the_same_rows_each_epoch_and_says_so(model):
    model.compile("sgd")
    valid = training_set(model)
    read = read_by(valid, 6)  # three batches, read for the loss and for recall
    with pytest.warns(UserWarning, match="validation_data has shuffle=True: it is read in the source's order"):
        model.fit(training_set(model), epochs=2, validation_data=valid, verbose=0)
    once = [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10)]
    assert read() == [sorted(2 * once)] * 2


@pytest.mark.one_other
def test_epochs_go_on_where_the_last_fit_ended(model):
    model.compile("sgd")
    data = training_set(model)
    model.fit(data, epochs=2, verbose=0)
    again = training_set(model)
    read, last = read_by(again, 2), []
    for _ in range(3):
        model.fit(again, verbose=0)
        last.append(read()[-1])  # before that tensorflow looks at the shapes of two batches
    assert last == orders([2, 3, 4]) and model.epochs_made == 5


@pytest.mark.once
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_per_epoch_go_through_the_whole_set(model, steps):
    model.compile("sgd")
    data = training_set(model)
    read = read_by(data, 2)
    model.fit(data, epochs=2, steps_per_epoch=steps, verbose=0)
    model.fit(data, epochs=2, steps_per_epoch=steps, verbose=0)
    assert read() == orders(range(2 * steps))


@pytest.mark.once
def test_other_beginnings(model, tmp_path):
    model.compile("sgd")
    data = training_set(model)
    read = read_by(data, 2)
    model.fit(data, initial_epoch=5, epochs=6, verbose=0)
    model.compile("sgd")
    model.fit(data, verbose=0)
    assert read() == orders([5, 0])
    model.save(tmp_path / "m.keras")
    opened = keras.saving.load_model(tmp_path / "m.keras")
    assert opened.epochs_made == 1


class Break(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.once
def test_backup_and_restore_goes_on_with_the_epochs_that_were_not_read(tmp_path):
    def read(callbacks):
        model = tiny_model(depth=1)
        model.compile("sgd")
        data = training_set(model)
        read = read_by(data, 2)
        try:
            model.fit(data, epochs=4, callbacks=callbacks, verbose=0)
        except KeyboardInterrupt:
            return read()
        return read()

    backup = keras.callbacks.BackupAndRestore
    read([backup(tmp_path, delete_checkpoint=False), Break()])
    assert read([backup(tmp_path)])[-2:] == orders([2, 3])


def broken_source(folder, broken):
    for index, pixels in enumerate(PAIRS["images"]):
        path = folder / f"{index}.png"
        Image.fromarray(pixels).save(path)
        if index in broken:
            path.write_bytes(b"no picture")
    rows = "\n".join(f"{index}.png\t{caption}\t{index}" for index, caption in enumerate(PAIRS["captions"]))
    (folder / "t.tsv").write_text(f"image\tcaption\trow\n{rows}")
    return folder / "t.tsv"


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:.*It is left out")
def test_rows_that_cannot_be_read_are_left_out(embedded, tmp_path):
    model, images, _ = embedded
    broken = {1, 4, 5, 6, 7}  # of which four are a whole batch
    source = broken_source(tmp_path, broken)
    data = kzoo.data.pairs(source, model.preprocessor, 4, columns="row", skip_broken=True)
    for data.epoch in range(6):
        for batch in data:
            rows = batch["row"].tolist()
            assert len(set(rows)) == 4 and not broken & {*rows}
    good = [index for index in range(ROWS) if index not in broken]
    found = model.predict(data, verbose=0)[EMBEDDINGS]
    np.testing.assert_allclose(found, images[good], atol=1e-5)
    assert data.in_order().rows_read.tolist() == good and len(data.broken) == 5
    each = kzoo.data.pairs(source, model.preprocessor, 4, every_caption=True, skip_broken=True)
    assert each.in_order().image_ids.tolist() == good and "text_to_image_recall@1" in model.evaluate(each, verbose=0)
    again = kzoo.data.pairs(source, model.preprocessor, 4, columns="row", skip_broken=True)
    for again.epoch in (3, 0):
        data.epoch = again.epoch
        assert [batch["row"].tolist() for batch in again] == [batch["row"].tolist() for batch in data]


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:.*It is left out")
def test_rows_of_a_sampler_are_replaced_by_no_others(tmp_path):
    source, groups = broken_source(tmp_path, {0}), np.arange(ROWS) // 4 % 2
    options = {"columns": "row", "skip_broken": True, "sampler": SameGroup(groups)}
    data = kzoo.data.pairs(source, tiny_model(depth=1).preprocessor, 3, **options)
    for data.epoch in range(4):
        for batch in data:
            assert len(set(groups[batch["row"]])) == 1 and 0 not in batch["row"]


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:.*It is left out")
def test_views_leave_out_pictures_too():
    images = [*PAIRS["images"][:5], "lost.png"]
    source = {"images": images, "row": np.arange(6)}
    data = kzoo.data.views(source, tiny_model(depth=1).preprocessor, 4, skip_broken=True, ids=True)
    for data.epoch in range(4):
        batch = data[0]
        assert len(set(batch["row"].tolist())) == 4 and 5 not in batch["row"]
        assert np.array_equal(batch["ids"], batch["row"])
    assert data.in_order().rows_read.tolist() == [0, 1, 2, 3, 4]
    assert data.broken == ["image 5: there is no image file lost.png."]


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:.*It is left out")
def test_further_pictures_break_their_row_too():
    source = {"images": PAIRS["images"], "captions": PAIRS["captions"], "row": np.arange(ROWS)}
    source["crop_images"] = [*PAIRS["images"][:-1], "lost.png"]
    data = kzoo.data.pairs(source, tiny_model(depth=1).preprocessor, 5, skip_broken=True)
    rows = np.concatenate([batch["row"] for batch in data])
    assert 10 not in rows and data.in_order().rows_read.tolist() == list(range(10))
    with pytest.raises(ValueError, match="row 10: there is no image file lost.png. Mend the source, or go on without"):
        kzoo.data.pairs(source, tiny_model(depth=1).preprocessor, 11, shuffle=False)[0]


def test_a_data_loader_of_dicts_is_read_on_every_backend(embedded):
    torch = pytest.importorskip("torch")
    model, images, texts = embedded
    arrays = model.preprocessor(PAIRS["images"], PAIRS["captions"])
    rows = [{name: torch.tensor(values[index]) for name, values in arrays.items()} for index in range(8)]
    loader = torch.utils.data.DataLoader(rows, batch_size=4)
    found = model.predict(loader, verbose=0)
    np.testing.assert_allclose(found[EMBEDDINGS], images[:8], atol=1e-5)
    np.testing.assert_allclose(found["text_embeddings"], texts[:8], atol=1e-5)
    assert np.isfinite(model.fit(loader, verbose=0).history["loss"]).all()  # last, as it changes the model
