"""How many rows are compared at a time: by the loss, by `compile`, and by the number of scores."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import batch_of, numpy, tiny_model, value_and_gradients

from kzoo.losses import FineGrainedContrastive, InfoNCE
from kzoo.losses.parts import blocks, pairwise
from kzoo.losses.parts.blocks import blocks_of, chosen
from kzoo.losses.parts.pairwise import by_blocks
from kzoo.training.metrics import in_batch_accuracy

random = np.random.default_rng(0)
A, B = random.normal(size=(2, 12, 6)).astype("float32")


@pytest.fixture
def few_scores(monkeypatch):
    """Blocks of 4 rows above 64 scores, in place of 256 above 2^24."""
    for module in (blocks, pairwise):
        monkeypatch.setattr(module, "WHOLE", 64)
        monkeypatch.setattr(module, "ROWS", 4)
    monkeypatch.setattr(blocks, "FEW", 8)


class Seen(list):
    """A list that a closure keeps: those that hold captured tensors are made again."""


def rows_seen(monkeypatch):
    """The rows of each call of a block function, as they come."""
    seen, whole = Seen(), pairwise.cross_entropies

    def spy(tile, *arguments, **keywords):
        def seen_tile(i, j, rows, columns):
            seen.append(i.shape[0])
            return tile(i, j, rows, columns)

        return whole(seen_tile, *arguments, **keywords)

    monkeypatch.setattr("kzoo.losses.image_text.info_nce.cross_entropies", spy)
    return seen


def test_auto_goes_by_the_number_of_scores():
    assert [chosen("auto", rows**2) for rows in (2, 4096, 4097, 65536)] == [None, None, 256, 256]
    of_product = [chosen("auto", rows**2, columns=rows) for rows in (2, 4096, 4097, 8192, 16384, 65536)]
    assert of_product == [None, None, 191, 96, 48, 48]
    assert chosen(64, 16) == 64 and chosen(None, 10**12) is None
    assert chosen("auto", 2**25, each=1024) == 1 and chosen("auto", 2**25, each=16) == 16


def test_a_small_batch_has_the_same_numbers_to_the_last_bit():
    whole, auto = (value_and_gradients(InfoNCE(block_size=size), [A, B]) for size in (None, "auto"))
    assert float(whole[0]) == float(auto[0])
    for one, other in zip(whole[1], auto[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_large_batch_is_cut(few_scores, monkeypatch):
    whole = value_and_gradients(InfoNCE(), [A, B])
    seen = rows_seen(monkeypatch)
    value, gradients = value_and_gradients(InfoNCE(block_size="auto"), [A, B])
    assert 4 in seen and max(seen) <= 4
    assert value == pytest.approx(whole[0], rel=1e-6)
    for one, other in zip(gradients, whole[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_matches_of_bags_count_as_scores(few_scores):
    a, b = random.normal(size=(2, 3, 4, 6)).astype("float32")  # 3 x 3 pairs, of 4 x 4 matches each
    whole, auto = (FineGrainedContrastive(block_size=size)(a, b) for size in (None, "auto"))
    assert float(auto) == pytest.approx(float(whole), rel=1e-6)


def test_a_loss_that_was_told_something_keeps_to_it(monkeypatch):
    seen = rows_seen(monkeypatch)
    with blocks_of(3):
        InfoNCE()(A, B), InfoNCE(block_size=6)(A, B)
    assert {3, 6} <= set(seen) <= {2, 3, 6}  # 2: torch asks what a function captures by two rows


def weights_after(model, batch, **compiled):
    before = [numpy(each) for each in model.trainable_variables]
    model.compile(keras.optimizers.SGD(0.5), loss=InfoNCE(temperature=0.2), **compiled)
    for _ in range(2):
        model.train_on_batch(batch)
    after = [numpy(each) for each in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, before):
        variable.assign(value)
    return after


def test_compile_says_it_for_the_losses_of_a_model(model, monkeypatch):
    batch, seen = batch_of(model, 8), rows_seen(monkeypatch)
    whole, auto = (weights_after(model, batch, loss_block_size=size) for size in (None, "auto"))
    assert max(seen) == 8 and set(seen) == {8}
    in_blocks = weights_after(model, batch, loss_block_size=4)
    assert 4 in seen
    for one, same, other in zip(whole, auto, in_blocks, strict=True):
        np.testing.assert_array_equal(one, same)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)
    config = model.get_compile_config()
    assert config["loss_block_size"] == 4 and model.objective.block_size is None
    model.compile_from_config(config)
    assert model.loss_block_size == 4
    with pytest.raises(ValueError, match="loss_block_size is 0; give a positive number of rows, or None"):
        model.compile(loss_block_size=0)


def test_batches_of_no_fixed_size_are_cut_as_they_come(few_scores):
    """TensorFlow compiles one step for batches of any size: of many rows, or of a number that nobody said."""
    model = tiny_model()
    small, large = batch_of(model, 6), batch_of(model, 12)

    def losses(size, batches):
        model.compile(keras.optimizers.SGD(0.0), loss=InfoNCE(temperature=0.2), loss_block_size=size)
        found = [model.evaluate(batch, batch_size=12, verbose=0)["loss"] for batch in batches]
        return [*found, model.evaluate((each for each in batches[:1]), verbose=0)["loss"]]

    assert losses("auto", [small, large]) == pytest.approx(losses(None, [small, large]), rel=1e-6)


def test_accuracy_is_the_same_in_blocks():
    b = (A + 0.5 * B).copy()
    b[3] = b[5]  # two that are equal: the first counts
    b[7], b[2, 1] = np.nan, np.inf
    a, b = ops.convert_to_tensor(A), ops.convert_to_tensor(b)
    whole = float(in_batch_accuracy(a, b))
    for size in (1, 4, 5):
        with blocks_of(size):
            assert float(in_batch_accuracy(a, b)) == whole
    assert 0.2 < whole < 0.9


def test_what_blocks_say_of_columns_is_there_for_each():
    function = lambda i, real, rows, columns: ({"i": i}, {"most": ops.max(rows["a"] @ columns["b"], axis=0)})  # noqa: E731
    of_rows, of_blocks = by_blocks(function, {"a": A}, {"b": B.T}, block_size=4)
    assert numpy(of_rows["i"]).tolist() == list(range(12)) and tuple(of_blocks["most"].shape) == (3, 12)
    np.testing.assert_allclose(numpy(of_blocks["most"]).max(0), (A @ B.T).max(0), rtol=1e-5)
