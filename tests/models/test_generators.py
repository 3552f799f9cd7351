"""Data that can be read once: generators and other iterators of batches, in every way into a model."""

import itertools

import keras
import numpy as np
import pytest
import torch
from shared_case import batch_of, numpy, tiny_model

ROWS = 4


@pytest.fixture(scope="module")
def compiled():
    model = tiny_model(depth=1)
    model.compile(keras.optimizers.SGD(0.1))
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def batches(compiled):
    whole = batch_of(compiled, 3 * ROWS)
    return [{name: each[ROWS * k : ROWS * (k + 1)] for name, each in whole.items()} for k in range(3)]


@pytest.fixture(scope="module")
def start(compiled):
    return [numpy(each).copy() for each in compiled.variables]


@pytest.fixture
def model(compiled, start):
    for variable, value in zip(compiled.variables, start, strict=True):
        variable.assign(value)
    compiled.optimizer.iterations.assign(0)
    return compiled


def together(batches):
    return {name: np.concatenate([each[name] for each in batches]) for name in batches[0]}


def steps(model):
    return int(numpy(model.optimizer.iterations))


def test_each_batch_of_a_generator_is_trained_on_once(model, batches, start):
    model.fit(together(batches), batch_size=ROWS, shuffle=False, verbose=0)
    expected = model.get_weights()
    for variable, value in zip(model.variables, start, strict=True):
        variable.assign(value)
    given = []
    model.fit((given.append(len(given)) or each for each in batches), verbose=0)
    assert given == [0, 1, 2] and steps(model) == 6
    for found, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_a_generator_without_end_gives_each_epoch_its_steps(model, batches):
    history = model.fit(itertools.cycle(batches), epochs=2, steps_per_epoch=2, verbose=0).history
    found = model.get_weights()
    assert steps(model) == 4 and len(history["loss"]) == 2
    model.fit(itertools.cycle(batches), steps_per_epoch=1, verbose=0)
    assert steps(model) == 5 and not all(map(np.array_equal, found, model.get_weights()))


@pytest.mark.filterwarnings("ignore:.*ran out of data")
def test_fit_ends_where_a_generator_ends(model, batches):
    history = model.fit(iter(batches), epochs=5, steps_per_epoch=2, verbose=0).history
    assert steps(model) == 3 and len(history["loss"]) == 2


@pytest.mark.filterwarnings("ignore:.*ran out of data")
def test_generators_are_evaluated_and_predicted(model, batches):
    whole = together(batches)
    expected = model.evaluate(whole, batch_size=ROWS, verbose=0)
    for data, options in ((iter(batches), {}), (itertools.cycle(batches), {"steps": 3})):
        assert model.evaluate(data, verbose=0, **options) == pytest.approx(expected, abs=1e-6)
        given = iter(batches) if not options else itertools.cycle(batches)
        found = model.predict(given, verbose=0, **options)["text_embeddings"]
        np.testing.assert_allclose(found, model.predict(whole, verbose=0)["text_embeddings"], atol=1e-6)


@pytest.mark.one_other
def test_every_epoch_is_validated_on_the_same_batches_of_a_generator(model, batches):
    model.optimizer.learning_rate = 0.0
    for data, options in ((iter(batches), {}), (itertools.cycle(batches), {"validation_steps": 2})):
        history = model.fit(batches[0], epochs=2, validation_data=data, verbose=0, **options).history
        count = options.get("validation_steps", 3)
        expected = model.evaluate(together(batches[:count]), batch_size=ROWS, verbose=0)["loss"]
        assert history["val_loss"] == [pytest.approx(expected, rel=1e-5)] * 2
    model.optimizer.learning_rate = 0.1


@pytest.mark.once
def test_other_iterators_are_generators_too(model, batches):
    weights = np.ones(ROWS, "float32")
    loader = torch.utils.data.DataLoader([{name: each[0] for name, each in one.items()} for one in batches], 3)
    for data in (zip(batches), map(dict, batches), zip(batches, [None] * 3, [weights] * 3), iter(loader)):
        assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()


@pytest.mark.once
def test_what_cannot_be_read_says_so(model, batches):
    with pytest.raises(
        ValueError, match="a list_iterator can be read only once, but epochs is 2; give steps_per_epoch"
    ):
        model.fit(iter(batches), epochs=2, verbose=0)
    for call in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match="of type object, which cannot be read in batches; give a dict of arrays"):
            call(object(), verbose=0)
    with pytest.raises(ValueError, match="holds no batch"):
        model.evaluate(iter([]), verbose=0)
    with pytest.raises(ValueError, match="at least one batch"):
        model.fit(iter([]), verbose=0)
    assert steps(model) == 0
