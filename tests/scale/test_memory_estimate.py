"""What a step takes, said before it is made: beside what it then takes, and what is chosen by it."""

import keras
import numpy as np
import pytest
from shared_case import batch_of, numpy, tiny_model

from kzoo.losses import InfoNCE, SupCon
from kzoo.scale import memory, memory_estimate, peak
from kzoo.scale.apart import Apart
from kzoo.scale.memory import fitting_micro_batch
from kzoo.scale.peak import free_memory, peak_of
from kzoo.scale.rows import resized

ROWS, MICRO = 4096, 512
# elsewhere sizes are measured, which takes a minute and depends on what the process did before: those are in
# benchmarks/activation_memory.py; what is counted is the same on all backends
by_compiler = pytest.mark.skipif(keras.config.backend() != "jax", reason="takes a minute")


@pytest.fixture(scope="module")
def compiled():
    model = tiny_model(depth=1)
    model.compile("clip_adamw", loss=InfoNCE(block_size=256))
    return model


@pytest.fixture(scope="module")
def estimates(compiled):
    """Of the plain step, and of one in micro-batches."""
    before = [numpy(each) for each in compiled.variables]
    found = memory_estimate(compiled, ROWS), memory_estimate(compiled, ROWS, MICRO)
    assert all(np.array_equal(numpy(each), value) for each, value in zip(compiled.variables, before))
    assert compiled.optimizer.iterations == 0 and compiled.micro_batch_size is None
    return found


@by_compiler
def test_it_is_what_a_step_takes(compiled, estimates):
    batch = resized(batch_of(compiled, 24), ROWS)
    compiled.train_on_batch(batch)  # which compiles
    taken = min(peak_of(lambda: compiled.train_on_batch(batch)) for _ in range(3))
    assert estimates[0].step == pytest.approx(taken, rel=0.2)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="elsewhere steps are measured in this process")
def test_a_copy_is_measured_in_a_process_of_its_own(compiled):
    with Apart(compiled, batch_of(compiled, 24), 1024) as apart:
        few, many = apart.peak("step", 64), apart.peak("step", 1024)
    assert 0 <= few < many


@by_compiler
def test_it_prints_as_a_table_of_its_parts(compiled, estimates):
    plain, micro = estimates
    held = plain.parts["weights"] + plain.parts["optimizer"]
    assert plain == sum(plain.parts.values()) == plain.step + held
    assert plain.parts["weights"] == sum(4 * int(np.prod(each.shape)) for each in compiled.variables)
    assert plain.parts["optimizer"] > 2 * plain.parts["gradients"] > 0
    assert micro.parts["activations"] < plain.parts["activations"] / 3
    lines = str(micro).splitlines()
    assert lines[0] == f"a step of {ROWS:,} rows in micro-batches of {MICRO}"
    assert [line.split()[0] for line in lines[1:]] == [*micro.parts, "all"]


def test_what_the_loss_reads_beside_pictures_and_texts_is_given(compiled, monkeypatch):
    model = tiny_model(depth=1)
    with pytest.raises(ValueError, match="not compiled.*call compile"):
        memory_estimate(model, 8)
    pair = ("image_embeddings", "text_embeddings")
    model.compile("sgd", loss=SupCon(inputs=pair, labels="species"))
    with pytest.raises(ValueError, match="the loss reads 'species' too; give a batch"):
        memory_estimate(model, 8)
    batch = batch_of(model, 4) | {"species": np.array([0, 0, 1, 1])}
    if keras.config.backend() != "tensorflow":
        whole = 8 * sum(each[:1].nbytes for each in batch.values())
        assert memory_estimate(model, 8, batch=batch).parts["batch"] == whole
        monkeypatch.setattr(memory, "peak_of", lambda run: 0)  # of a process that has room from before
        assert memory_estimate(model, 8, batch=batch).parts["batch"] == whole


@by_compiler
def test_a_batch_that_does_not_fit_is_cut(compiled, estimates, monkeypatch):
    plain, micro = estimates
    asked = []

    def estimate(model, batch_size, size, batch):
        asked.append(size)
        return micro if size <= MICRO else plain

    monkeypatch.setattr(memory, "memory_estimate", estimate)
    free = {}
    monkeypatch.setattr(memory, "free_memory", lambda: free["bytes"])
    free["bytes"] = 2**50
    assert fitting_micro_batch(compiled, ROWS) == (None, "") and not asked
    free["bytes"] = 2 * plain.step
    assert fitting_micro_batch(compiled, ROWS) == (None, "") and asked == [ROWS]
    free["bytes"] = 2 * micro.step
    size, said = fitting_micro_batch(compiled, ROWS)
    assert size <= MICRO < asked[-2] and said.startswith(
        f"micro-batches of {size:,}: a step of {ROWS:,} rows takes about"
    )
    free["bytes"] = 1000
    with pytest.raises(MemoryError, match="row by row, but only 0 MiB are free; take a smaller batch"):
        fitting_micro_batch(compiled, ROWS)


def test_a_system_that_says_nothing_of_memory_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("kzoo.scale.peak.CLEAR", tmp_path / "nothing")
    with pytest.raises(NotImplementedError, match="measured on Linux, on a GPU, and on jax"):
        peak_of(lambda: None)
    assert free_memory() > 0


@by_compiler
def test_what_a_compiler_took_is_given_back_before_the_step(compiled, monkeypatch):
    given = []
    monkeypatch.setattr(peak, "LONG", 0.0)
    monkeypatch.setattr(peak, "give_back", lambda: given.append(True))
    batch = batch_of(compiled, 5)
    compiled.train_on_batch(batch)
    count = len(given)
    assert count
    compiled.train_on_batch(batch)  # which is compiled by now
    keras.ops.arange(1234)
    assert len(given) == count
