"""Any number of towers: names, default inputs of losses, save and load, refusals."""

import keras
import numpy as np
import pytest
from shared_case import batch_of, numpy, tiny_model

import kzoo
from kzoo.encoders import TextTransformer
from kzoo.layers import SimilarityHead
from kzoo.losses import InfoNCE, LearnableTemperature, NTXent, Symile

random = np.random.default_rng(0)
NAMES = ("a_embeddings", "b_embeddings", "c_embeddings")


def tower(width=6, inputs=4):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(width)])


def three():
    return kzoo.MultiEncoder({name: tower() for name in "abc"})


def rows(count=8):
    return {name: random.normal(size=(count, 4)).astype("float32") for name in "abc"}


def test_embeddings_are_of_unit_length_and_some_modalities_are_enough():
    tested, batch = three(), rows()
    found = tested.predict(batch, verbose=0)
    assert tuple(found) == NAMES
    x = numpy(tested.encoders["b"](batch["b"]))
    np.testing.assert_allclose(found["b_embeddings"], x / np.linalg.norm(x, axis=1, keepdims=True), atol=1e-6)
    assert set(tested({"c": batch["c"]})) == {"c_embeddings"}


def test_a_loss_of_any_number_of_tensors_reads_all_modalities_in_order():
    tested, batch, symile = three(), rows(), Symile(negatives="all")
    before = symile.get_config()
    tested.compile("sgd", loss=symile + 0.5 * InfoNCE(inputs=NAMES[1:]))
    assert symile.get_config() == before and symile.input_names == Symile().input_names
    found = [numpy(value) for value in tested(batch).values()]
    expected = Symile(0.07, "all")(*found) + 0.5 * InfoNCE(0.07)(*found[1:])
    assert tested.evaluate(batch, batch_size=8, verbose=0)["loss"] == pytest.approx(float(numpy(expected)), rel=1e-5)


def test_what_a_loss_is_told_to_read_stays():
    tested = three()
    tested.compile("sgd", loss=Symile(LearnableTemperature(0.1), inputs=NAMES[:2]))
    assert tested.objective.input_names == NAMES[:2]


def test_the_default_is_a_loss_for_each_pair_and_trains_every_tower_and_the_head():
    tested, batch = three(), rows()
    before = [numpy(each) for each in tested.trainable_variables]
    tested.compile(keras.optimizers.SGD(0.1))
    history = tested.fit(batch, batch_size=8, epochs=2, verbose=0).history
    assert {"info_nce", "info_nce_2", "info_nce_3"} < set(history) and history["loss"][1] < history["loss"][0]
    assert len(before) == 7
    assert not any(np.array_equal(numpy(each), old) for each, old in zip(tested.trainable_variables, before))


def test_pictures_and_texts_are_read_as_by_a_dual_encoder():
    pair = tiny_model(depth=1)
    batch = batch_of(pair, 4) | {"audio": random.normal(size=(4, 4)).astype("float32")}
    tested = kzoo.MultiEncoder({"image": pair.image_encoder, "text": pair.text_encoder, "audio": tower(12)})
    found = tested(batch)
    for name in ("image_embeddings", "text_embeddings"):
        np.testing.assert_allclose(numpy(found[name]), numpy(pair(batch)[name]), atol=1e-6)
    tested.compile("sgd", loss=InfoNCE() + Symile())
    assert "text_to_image_recall@1" in tested.evaluate(batch, verbose=0)


def test_a_second_text_tower_has_a_mask_behind_its_name():
    def texts():
        return TextTransformer(50, 6, 12, 1, 2, eot_id=2, causal=False, mask_padding=True)

    tested = kzoo.MultiEncoder({"title": texts(), "body": texts()})
    ids = np.array([[1, 7, 9, 2, 0, 0], [1, 8, 2, 0, 0, 0]], "int32")
    batch = {"title": ids, "title_padding_mask": ids > 0, "body": ids}
    expected = numpy(tested.encoders["title"](ids, ids > 0)["embedding"])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(numpy(tested(batch)["title_embeddings"]), expected, atol=1e-6)


def test_a_file_opens_again_with_all_towers(tmp_path):
    head = SimilarityHead(scale=5.0, name="similarity")
    tested, batch = kzoo.MultiEncoder({"a": tower(), "b": tower()}, head), rows()
    batch.pop("c")
    tested.compile("sgd", loss=Symile())
    tested.fit(batch, batch_size=8, verbose=0)
    tested.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.objective.get_config() == tested.objective.get_config()
    for name, value in tested.predict(batch, verbose=0).items():
        np.testing.assert_array_equal(again.predict(batch, verbose=0)[name], value)
    assert float(numpy(again.similarity.scale)) == float(numpy(tested.similarity.scale))


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: kzoo.MultiEncoder({"a": tower()}), "encoders holds fewer than two towers"),
        (lambda: kzoo.MultiEncoder({"a": tower(), "b": tower(5)}), "different widths, {'a': 6, 'b': 5}"),
        (lambda: kzoo.MultiEncoder({"images": tower(), "image": tower()}), "two towers would read 'images'"),
        (lambda: kzoo.MultiEncoder({"a": tower(), "b": keras.layers.Dense(3)}), r"encoders\['b'\] \(Dense\)"),
        (
            lambda: three()({"d": np.zeros((2, 4))}),
            r"a batch has the keys \['d'\], but a dict of arrays is expected, of a",
        ),
        (lambda: three().compile("sgd", loss=InfoNCE()), "the loss reads 'image_embeddings', but the model gives a_"),
        (lambda: three().compile("sgd", loss="mse"), "loss 'mse' is unknown"),
    ],
)
def test_what_does_not_fit_is_refused(make, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        make()


def test_a_loss_on_tensors_that_are_not_there_names_them():
    tested = three()
    tested.compile("sgd", loss=NTXent(inputs=("view_1", "view_2")))
    with pytest.raises(ValueError, match="NTXent reads 'view_1', but the model and the batch give only a, a_emb"):
        tested.train_on_batch(rows())
