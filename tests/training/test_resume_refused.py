"""What `Resume` refuses, and what it does not keep."""

import errno

import keras
import numpy as np
import pytest
from shared_case import tiny_model
from trained import Curve, arrays_of, pairs_of, train, trainee

from kzoo.files import disk
from kzoo.losses import InfoNCE
from kzoo.training import Resume


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun") / "run"
    train(folder, dies_after=(0, 2))
    return folder


@pytest.mark.once
def test_another_model_loss_optimizer_or_data_is_refused_by_what_differs(begun):
    cases = [
        ('loss.kind was "WeightedSum" and is "InfoNCE"', {"make": lambda: trainee(loss=InfoNCE())}),
        ('optimizer.kind was "AdamW" and is "SGD"', {"make": lambda: trainee(optimizer="sgd")}),
        ('gradients.kind was "GradientSum" and is "PCGrad"', {"make": lambda: trainee(gradients="pcgrad")}),
        ("optimizer.weight_decay was 0.2 and is 0.1", {"make": lambda: trainee(weight_decay=0.1)}),
        ("data.seed was 3 and is 4", {"data": lambda model: pairs_of(model, seed=4)}),
        ('data.kind was "PairDataset" and is "ArrayOrder"', {"data": arrays_of, "batch_size": 6}),
    ]
    for sentence, case in cases:
        with pytest.raises(ValueError) as caught:
            train(begun, **case)
        assert sentence in str(caught.value) and "make it as it was, or give Resume another folder" in str(caught.value)

    def deeper():
        model = tiny_model(depth=2, dropout=0.1)
        model.compile("sgd")
        return model

    with pytest.raises(ValueError, match=r"the training in .* is another one: model\."):
        train(begun, make=deeper)


@pytest.mark.once
@pytest.mark.parametrize(
    ("every", "error"),
    [(0, ValueError), ("often", ValueError), ("0 min", ValueError), (1.5, TypeError), (True, TypeError)],
)
def test_every_is_steps_or_a_time(every, error):
    with pytest.raises(error, match="every is .*give steps, a whole number of at least 1, or a time such as '10 min'"):
        Resume("run", every=every)
    assert Resume("run", every="1.5 hours").seconds == 5400.0 and Resume("run", every="90s").seconds == 90.0


@pytest.mark.once
def test_what_stands_beside_it_is_refused(tmp_path, model):
    model.compile("sgd")
    data = pairs_of(model)
    for others, sentence in (
        ([Resume(tmp_path / "b")], "hold two kzoo.training.Resume"),
        ([keras.callbacks.BackupAndRestore(tmp_path / "b")], "both say where to begin"),
    ):
        with pytest.raises(ValueError, match=sentence):
            model.fit(data, callbacks=[Resume(tmp_path / "a"), *others], verbose=0)
    plain = keras.Sequential([keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    with pytest.raises(TypeError, match="works within fit of a model of kzoo"):
        plain.fit(np.ones((4, 2)), np.ones((4, 1)), callbacks=[Resume(tmp_path / "a")], verbose=0)


@pytest.mark.once
def test_weights_that_are_not_finite_are_not_kept(tmp_path):
    def make():
        return trainee(optimizer=keras.optimizers.SGD(1e30), loss=InfoNCE())

    with pytest.raises(FloatingPointError, match="the loss became"):
        train(tmp_path / "run", make=make, every=1)
    with pytest.raises(FloatingPointError, match="the loss became"):  # from a checkpoint of finite weights
        train(tmp_path / "run", make=make, every=1)


@pytest.mark.once
def test_a_folder_that_cannot_be_written_stops_before_the_first_step(tmp_path, model):
    (tmp_path / "file").write_text("")
    model.compile("sgd")
    curve = Curve()
    with pytest.raises(NotADirectoryError, match="file is a file; take another name"):
        model.fit(pairs_of(model), callbacks=[curve, Resume(tmp_path / "file" / "run")], verbose=0)
    assert curve.losses == {}


@pytest.mark.once
def test_two_trainings_do_not_share_a_folder(tmp_path):
    other, said = trainee(), []

    def second(batch, logs):
        with pytest.raises(BlockingIOError) as caught:
            other.fit(pairs_of(other), callbacks=[Resume(tmp_path / "run")], verbose=0)
        said.append(str(caught.value))

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=second)
    train(tmp_path / "run", callbacks=[callback], epochs=1)
    assert len(said) == 4 and all("another writer is saving into" in each for each in said)


@pytest.mark.once
def test_a_disk_that_is_full_stops_a_training_with_a_sentence_and_keeps_what_was_saved(tmp_path, monkeypatch):

    whole = train(tmp_path / "whole")
    write_file, count = disk.write, []

    def full(path, content):
        count.append(path)
        if len(count) > 9:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_file(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", full)
        with pytest.raises(OSError, match="the disk is full; what was saved before is there still"):
            train(tmp_path / "run", every=1)
    losses, _, values = train(tmp_path / "run", every=1)
    assert losses.items() <= whole[0].items() and len(losses) < len(whole[0])
    assert all(map(np.array_equal, values, whole[2]))
