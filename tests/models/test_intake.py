"""What comes into a model: pixels, targets, weights and names are looked at in every way in."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from shared_case import batch_of, numpy, tiny_model, toy_pairs

import kzoo
from kzoo.losses import BarlowTwins, InfoNCE, SupCon
from kzoo.losses.base import Loss, weighted_mean
from kzoo.models import intake

TARGETED = SupCon(0.1, inputs=("image_embeddings", "text_embeddings"))
IDS = np.array([0, 0, 1, 1])
WEIGHTS = np.array([1.0, 2.0, 0.0, 3.0], "float32")


@pytest.fixture(scope="module")
def compiled():
    model = tiny_model()
    model.compile(keras.optimizers.SGD(0.0), loss=InfoNCE(0.1) + TARGETED)
    return model


class Column:
    """What a column of a table is to numpy: not an array, but one can be made of it."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


class SquaredDistance(Loss):
    """Of the two embeddings of each pair, which is compared with no other."""

    def call(self, a, b, sample_weight=None):
        return weighted_mean(keras.ops.sum(keras.ops.square(a - b), axis=-1), sample_weight)


class Listed(keras.utils.PyDataset):
    """Batches of a list."""

    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def loader_of(batch):
    """A loader of torch that puts a batch, or a tuple of its parts, together row by row."""
    parts = batch if isinstance(batch, tuple) else (batch,)
    rows = [
        tuple(
            {name: each[row] for name, each in part.items()} if isinstance(part, dict) else part[row] for part in parts
        )
        for row in range(4)
    ]
    return torch.utils.data.DataLoader(rows if isinstance(batch, tuple) else [row for (row,) in rows], batch_size=4)


DATA = {
    "a dict": lambda batch: batch,
    "PyDataset": lambda batch: Listed(batch, batch),
    "tf.data": lambda batch: tf.data.Dataset.from_tensors(batch).repeat(2),
    "DataLoader": loader_of,
}


# -- pixels --
def pictures(kind):
    pixels = PIXELS
    hole = pixels.astype("float32")
    hole[3, 0, 0, 0] = np.nan
    return {
        "booleans": pixels > 100,
        "values from 0 to 1,": (pixels > 100).astype("uint8"),
        "values from 0 to 1, .* multiply": pixels / np.float32(255.0),
        r"values from -1 to 1, .* \(x \+ 1\) \* 127.5": pixels / np.float32(127.5) - 1.0,
        "values from .* undo the normalisation": (pixels / np.float32(255.0) - 0.48) / 0.2,
        "values from .* to 65535, .* scale": pixels.astype("int32") * 257,
        "NaN": hole,
    }[kind]


KINDS = [
    "booleans",
    "values from 0 to 1,",
    "values from 0 to 1, .* multiply",
    r"values from -1 to 1, .* \(x \+ 1\) \* 127.5",
    "values from .* undo the normalisation",
    "values from .* to 65535, .* scale",
    "NaN",
]
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), "uint8")
PIXELS[0, 0, 0] = 0, 128, 255


@pytest.mark.once
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_picture_is_refused_in_every_way_in(compiled, kind):
    batch = batch_of(compiled, 4) | {"labels": IDS, "images": pictures(kind)}
    alone = {"images": batch["images"]}
    for call in (
        lambda: compiled(alone),
        lambda: compiled.predict(alone, verbose=0),
        lambda: compiled.predict_on_batch(alone),
        lambda: compiled.fit(batch, verbose=0),
        lambda: compiled.evaluate(batch, verbose=0),
        lambda: compiled.fit(batch_of(compiled, 4), validation_data=batch, verbose=0),
        lambda: compiled.train_on_batch(batch),
        lambda: compiled.test_on_batch(batch),
        lambda: compiled.image_encoder.check(alone),
    ):
        with pytest.raises(ValueError, match=f"the array 'images' holds {kind}"):
            call()


@pytest.mark.parametrize("kind", [KINDS[2], KINDS[6]])
@pytest.mark.parametrize("data", ["PyDataset", "tf.data", "DataLoader"])
def test_what_is_no_picture_is_refused_in_data_sets(compiled, data, kind):
    made = DATA[data](batch_of(compiled, 4) | {"labels": IDS, "images": pictures(kind)})
    for call in (compiled.fit, compiled.evaluate, compiled.predict):
        with pytest.raises(ValueError, match=f"^the array 'images' holds {kind}"):
            call(made, verbose=0)


@pytest.mark.one_other
def test_a_later_batch_of_a_data_set_is_looked_at_too(compiled):
    good = batch_of(compiled, 4) | {"labels": IDS}
    bad = [good | {"images": pictures("NaN")}, good | {"labels": np.array([0.0, np.nan, 1.0, 1.0])}]
    for each, sentence in zip(bad, ("holds NaN", "got labels with values that are not finite")):
        with pytest.raises(ValueError, match=f"^(the array 'images'|SupCon) {sentence}"):
            compiled.fit(Listed(good, each), verbose=0)
        with pytest.raises(ValueError, match=sentence):
            compiled.fit((one for one in (good, each)), verbose=0)


def test_tensors_are_looked_at_once(compiled):
    tensor = keras.ops.convert_to_tensor(PIXELS / np.float32(255.0))
    model = tiny_model()
    with pytest.raises(ValueError, match="values from 0 to 1, but pixels lie in"):
        model({"images": tensor})
    assert model({"images": keras.ops.convert_to_tensor(np.zeros_like(PIXELS))})["image_embeddings"].shape == (4, 12)


@pytest.mark.once
def test_pictures_that_are_black_or_floats_are_pictures(compiled):
    wanted = compiled.predict({"images": PIXELS}, verbose=0)["image_embeddings"]
    for images in (PIXELS.astype("float32"), PIXELS.astype("int32"), PIXELS.astype("float64")):
        np.testing.assert_allclose(
            compiled.predict({"images": images}, verbose=0)["image_embeddings"], wanted, atol=1e-6
        )
    compiled.predict({"images": np.zeros_like(PIXELS)}, verbose=0)


# -- weights --
@pytest.fixture(scope="module")
def weighted(compiled):
    """Four pairs, and what evaluate says of them with weights and without."""
    batch = batch_of(compiled, 4) | {"labels": IDS}
    a, b = compiled.predict(batch, verbose=0).values()
    values = [
        float(numpy(InfoNCE(0.1)(a, b, sample_weight=each)))
        + float(numpy(SupCon(0.1)(a, b, labels=IDS, sample_weight=each)))
        for each in (WEIGHTS, None)
    ]
    assert abs(values[0] - values[1]) > 0.01
    return batch, *values


WAYS = {
    "an argument": lambda batch: ((batch,), {"sample_weight": WEIGHTS}),
    "a list": lambda batch: ((batch,), {"sample_weight": WEIGHTS.tolist()}),
    "a column": lambda batch: ((batch,), {"sample_weight": WEIGHTS[:, None]}),
    "float64": lambda batch: ((batch,), {"sample_weight": WEIGHTS.astype("float64")}),
    "of a table": lambda batch: ((batch,), {"sample_weight": Column(WEIGHTS)}),
    "an entry": lambda batch: ((batch | {"sample_weight": WEIGHTS},), {}),
    "beside targets": lambda batch: (_parted(batch)[:2], {"sample_weight": WEIGHTS}),
}


def _parted(batch):
    return {name: each for name, each in batch.items() if name != "labels"}, {"labels": batch["labels"]}, WEIGHTS


@pytest.mark.one_other
@pytest.mark.parametrize("way", WAYS)
def test_weights_of_samples_in_every_way(compiled, weighted, way):
    batch, wanted, plain = weighted
    arguments, keywords = WAYS[way](batch)
    assert compiled.evaluate(*arguments, **keywords, verbose=0)["loss"] == pytest.approx(wanted, rel=1e-5)
    history = compiled.fit(*arguments, **keywords, verbose=0, shuffle=False).history
    assert history["loss"] == [pytest.approx(wanted, rel=1e-5)]
    assert float(compiled.train_on_batch(*arguments, **keywords, return_dict=True)["loss"]) == pytest.approx(
        wanted, rel=1e-5
    )
    assert compiled.evaluate(batch, verbose=0)["loss"] == pytest.approx(plain, rel=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize("data", ["PyDataset", "tf.data", "DataLoader"])
def test_weights_of_samples_in_data_sets(compiled, weighted, data):
    batch, wanted, _ = weighted
    entries = batch | {"sample_weight": WEIGHTS}
    for x, validation in ((_parted(batch), entries), (entries, _parted(batch))):
        history = compiled.fit(DATA[data](x), epochs=2, verbose=0, validation_data=DATA[data](validation)).history
        assert history["loss"] + history["val_loss"] == [pytest.approx(wanted, rel=1e-5)] * 4
        assert "val_text_to_image_recall@1" in history


@pytest.mark.one_other
def test_weights_of_validation_and_of_its_split(compiled, weighted):
    batch, wanted, plain = weighted
    for validation in (_parted(batch), (batch | {"sample_weight": WEIGHTS},)):
        history = compiled.fit(batch, validation_data=validation, verbose=0, shuffle=False).history
        assert history["loss"] == [pytest.approx(plain, rel=1e-5)]
        assert history["val_loss"] == [pytest.approx(wanted, rel=1e-5)]
    twice = {name: np.concatenate([each, each]) for name, each in batch.items()}
    weights = np.concatenate([np.ones(4, "float32"), WEIGHTS])
    history = compiled.fit(twice, sample_weight=weights, validation_split=0.5, verbose=0, shuffle=False).history
    assert history["loss"] == [pytest.approx(plain, rel=1e-5)]
    assert history["val_loss"] == [pytest.approx(wanted, rel=1e-5)]


@pytest.mark.once
@pytest.mark.parametrize(
    "weights, sentence",
    [
        (np.ones((4, 4), "float32"), r"takes sample_weight as \(batch,\), but got"),
        (np.ones(3, "float32"), "different numbers of rows"),
        (-WEIGHTS, "InfoNCE got sample_weight from -3, but weights are 0 or more"),
        (WEIGHTS / 0.0, "got sample_weight with values that are not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_weights_that_cannot_be(compiled, weights, sentence):
    batch = batch_of(compiled, 4) | {"labels": IDS}
    for call in (compiled.fit, compiled.evaluate):
        with pytest.raises(ValueError, match=sentence):
            call(batch, sample_weight=weights, verbose=0)


@pytest.mark.one_other
# -- targets and names --
def test_targets_by_name(compiled, weighted):
    batch, _, plain = weighted
    x, _, _ = _parted(batch)
    for labels in (IDS, IDS[:, None], IDS.astype("float64"), Column(IDS)):
        assert compiled.evaluate(x, {"labels": labels}, verbose=0)["loss"] == pytest.approx(plain, rel=1e-5)
    assert compiled.evaluate(x, verbose=0)["loss"] != pytest.approx(plain, rel=1e-5)


@pytest.mark.once
@pytest.mark.parametrize(
    "x, y, sentence",
    [
        ({}, IDS, r"y is of type ndarray, which no loss reads, .* InfoNCE \+ SupCon reads .*labels"),
        ({}, {"species": IDS}, "y has 'species', which neither the model nor the loss reads"),
        ({}, {"labels": IDS, "more": IDS}, "y has 'more'"),
        ({}, {"labels": IDS[:3]}, "different numbers of rows"),
        ({"labels": IDS + 0.5}, None, "SupCon got labels with fractions"),
        ({"labels": IDS.astype("int64") << 32}, None, "SupCon got labels from 0 to 4294967296, but ids are int32"),
        ({"labels": np.array(["a", "b", "a", "b"])}, None, "SupCon got labels of dtype <U1"),
        ({"sample_weight": WEIGHTS}, "weights", "sample_weight is given twice"),
    ],
)
def test_targets_that_cannot_be(compiled, x, y, sentence):
    batch, weights = batch_of(compiled, 4) | x, WEIGHTS if isinstance(y, str) else None
    y = None if weights is not None else y
    for call in (compiled.fit, compiled.evaluate):
        with pytest.raises(ValueError, match=sentence):
            call(batch, y, sample_weight=weights, verbose=0)
    for call in (compiled.train_on_batch, compiled.test_on_batch):
        with pytest.raises(ValueError, match=sentence):
            call(batch, y, sample_weight=weights)
    if sentence.startswith("y "):
        with pytest.raises(ValueError, match=sentence):
            compiled.fit(Listed((batch, y)), verbose=0)


def test_what_a_loss_was_told_to_read_is_asked_for_before_the_first_step(model):
    batch = batch_of(model, 4)
    before = model.get_weights()
    model.compile("sgd", loss=SupCon(inputs=TARGETED.input_names, labels="species"))
    for x, y in ((batch | {"specis": IDS}, None), (batch, None)):
        with pytest.raises(ValueError, match=r"SupCon reads 'species', .* with SupCon\(labels=...\)"):
            model.fit(x, y, verbose=0)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights()))
    model.fit(batch | {"species": IDS}, verbose=0)


@pytest.mark.once
def test_weights_that_the_loss_does_not_read_are_refused(model):
    model.compile("sgd", loss=BarlowTwins(inputs=("image_embeddings", "text_embeddings")))
    for x, options in (
        (batch_of(model, 4), {"sample_weight": WEIGHTS}),
        (batch_of(model, 4) | {"sample_weight": WEIGHTS}, {}),
    ):
        with pytest.raises(ValueError, match="sample_weight is given, but BarlowTwins does not read it"):
            model.fit(x, **options, verbose=0)


@pytest.mark.once
def test_targets_beside_a_data_set_are_refused(compiled):
    for options in ({"y": {"labels": IDS}}, {"sample_weight": WEIGHTS}):
        with pytest.raises(ValueError, match="was given beside a data set"):
            compiled.fit(Listed(batch_of(compiled, 4)), **options, verbose=0)


@pytest.mark.once
# -- batches of one --
def test_a_batch_of_one_is_refused(compiled):
    batch = batch_of(compiled, 4) | {"labels": IDS}
    one = {name: each[:1] for name, each in batch.items()}
    for call in (compiled.fit, compiled.evaluate):
        for x, options in ((batch, {"batch_size": 1}), (one, {}), (Listed(one, batch), {})):
            with pytest.raises(ValueError, match="a batch of one pair has no negative"):
                call(x, verbose=0, **options)


def test_a_last_batch_of_one_counts_in_no_mean(compiled, weighted):
    batch, _, plain = weighted
    five = {name: np.concatenate([each, each[:1]]) for name, each in batch.items()}
    of_four, of_five = compiled.evaluate(batch, verbose=0), compiled.evaluate(five, batch_size=4, verbose=0)
    for name in ("loss", "info_nce", "in_batch_accuracy"):
        assert of_five[name] == pytest.approx(of_four[name], rel=1e-6)
    assert of_four["loss"] == pytest.approx(plain, rel=1e-5)


@pytest.mark.once
def test_a_loss_that_tells_no_rows_apart_takes_a_batch_of_one(model):
    model.compile("sgd", loss=SquaredDistance())
    one = {name: each[:1] for name, each in batch_of(model, 4).items()}
    assert np.isfinite(model.fit(one, verbose=0).history["loss"]).all()
    model.fit(batch_of(model, 4), batch_size=1, verbose=0)


# -- tensors --
def test_labels_in_tensors_are_looked_at_once(compiled, monkeypatch):
    batch, looked = batch_of(compiled, 4), []
    look = intake._values_of
    monkeypatch.setattr(intake, "_values_of", lambda tensor: looked.append(tensor) or look(tensor))
    for labels, sentence in (
        (np.array([0.0, np.nan, 1.0, 1.0], "float32"), "SupCon got labels with values that are not finite"),
        (IDS + 0.5, "SupCon got labels with fractions"),
    ):
        given = batch | {"labels": keras.ops.convert_to_tensor(labels)}
        for call in (compiled.fit, compiled.evaluate):
            for x in (given, Listed(given, given)):
                with pytest.raises(ValueError, match=f"^{sentence}"):
                    call(x, verbose=0)
        with pytest.raises(ValueError, match=f"^{sentence}"):
            compiled.train_on_batch(given)
    looked.clear()
    good = batch | {"labels": keras.ops.convert_to_tensor(IDS)}
    compiled.fit(Listed(good, good, good), epochs=2, verbose=0)
    assert sum(len(tensor.shape) == 1 for tensor in looked) == 1


def test_a_model_is_let_go_with_its_data():
    """TensorFlow keeps what reads data as long as the process lives, and with it whatever that holds."""
    model, pairs = tiny_model(depth=1), toy_pairs(8)
    model.compile("sgd")
    data = kzoo.data.pairs(pairs, model.preprocessor, batch_size=4)
    model.fit(data, epochs=2, validation_data=data, verbose=0)
    model.evaluate((batch for batch in data), verbose=0)
    model.predict(tf.data.Dataset.from_tensor_slices(batch_of(model, 8)).batch(4), verbose=0)
    held = [weakref.ref(each) for each in (model, data)]
    del model, data
    gc.collect()
    assert [each() for each in held] == [None, None]
