"""What a batch may be made of: arrays of every make are read, what holds no numbers is named, in every process."""

import keras
import numpy as np
import pytest
import torch
from shared_case import batch_of, tiny_model

from kzoo.losses import InfoNCE, SupCon

IDS = np.array([0, 0, 1, 1])


@pytest.fixture(scope="module")
def compiled():
    model = tiny_model()
    targeted = SupCon(0.1, inputs=("image_embeddings", "text_embeddings"))
    model.compile(keras.optimizers.SGD(0.0), loss=InfoNCE(0.1) + targeted)
    return model


def read_backwards(array):
    return np.flip(np.flip(array, 0).copy(), 0)


def in_other_order(array):
    return array.astype(array.dtype.newbyteorder())


@pytest.mark.once
@pytest.mark.parametrize("made", [read_backwards, in_other_order])
def test_arrays_read_backwards_and_of_other_machines(compiled, made):
    batch = batch_of(compiled, 4)
    expected = compiled.evaluate(batch, {"labels": IDS}, verbose=0)
    given, labels = {name: made(array) for name, array in batch.items()}, made(IDS)
    assert compiled.evaluate(given, {"labels": labels}, verbose=0) == pytest.approx(expected, rel=1e-6)
    assert compiled.test_on_batch(given, {"labels": labels})[0] == pytest.approx(expected["loss"], rel=1e-6)
    loader = torch.utils.data.DataLoader([0, 1], batch_size=2, collate_fn=lambda rows: given | {"labels": labels})
    assert compiled.evaluate(loader, verbose=0)["loss"] == pytest.approx(expected["loss"], rel=1e-6)


@pytest.mark.once
@pytest.mark.parametrize(
    "entry, sentence",
    [
        (np.array(["a", "b", "c", "d"]), "'more' of the batch is of dtype <U1, but numbers are expected; leave it out"),
        (np.array([None] * 4), "'more' of the batch is of dtype object, but numbers are expected"),
        (3, "'more' of the batch is of type int, but an array with a row for each sample is expected"),
    ],
)
def test_entries_that_are_no_numbers(compiled, entry, sentence):
    with pytest.raises(ValueError, match=sentence):
        compiled.fit(batch_of(compiled, 4) | {"more": entry}, {"labels": IDS}, verbose=0)


@pytest.mark.once
def test_what_is_said_in_processes_of_a_loader_is_one_sentence(compiled):
    rows = [{name: array[i] for name, array in batch_of(compiled, 4).items()} for i in range(4)]
    rows = [row | {"images": row["images"] / np.float32(255.0)} for row in rows]
    with pytest.raises(ValueError) as caught:
        compiled.fit(torch.utils.data.DataLoader(rows, batch_size=4, num_workers=1), verbose=0)
    assert "but pixels lie in [0, 255]" in str(caught.value)
    assert "\n" not in str(caught.value)
