"""A training that was interrupted, and goes on as if it had not been: the same losses, weights, history and callbacks.

`test_resume_killed.py` kills processes; here a training stops dead in this one, and a new model takes its place.
"""

import csv
import os
import signal

import keras
import numpy as np
import pytest
from shard_case import write_shards
from shared_case import numpy
from trained import EPOCHS, Curve, Killed, arrays_of, pairs_of, train, trainee, values_of

import kzoo
from kzoo.interrupts import interrupted_between_steps, leaving_noted
from kzoo.keras_contact import untracked
from kzoo.training import Resume
from kzoo.training.checkpoints import Checkpoints


def assert_same(whole, parts):
    """Trainings in parts are the whole one, to the last bit."""
    losses, (_, history, values) = {}, parts[-1]
    for each, _, _ in parts:
        losses |= each
    assert losses == whole[0]
    assert history.history == whole[1].history and history.epoch == whole[1].epoch
    assert all(map(np.array_equal, values, whole[2]))


def loader_of(model):
    torch = pytest.importorskip("torch")  # of which the loader reads for every backend
    arrays = arrays_of(model)
    rows = [{name: each[row] for name, each in arrays.items()} for row in range(24)]
    return torch.utils.data.DataLoader(rows, batch_size=6, shuffle=True)


class Turned(keras.utils.PyDataset):
    """A set of somebody, which changes its order itself as an epoch ends."""

    def __init__(self, arrays):
        super().__init__()
        self.arrays, self.order = arrays, np.arange(24)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {name: each[self.order[6 * index : 6 * index + 6]] for name, each in self.arrays.items()}

    def on_epoch_end(self):
        self.order = np.roll(self.order, 5)


DATA = {
    "pairs": (pairs_of, {}),
    "arrays": (arrays_of, {"batch_size": 6}),
    "held out": (arrays_of, {"batch_size": 6, "validation_split": 0.25}),
    "steps": (pairs_of, {"steps_per_epoch": 3}),
    "validation": (pairs_of, {"validation_data": lambda model: pairs_of(model, shuffle=False)}),
    "loader": (loader_of, {}),
    "another": (lambda model: Turned(arrays_of(model)), {}),
}


def scramble(model):
    """Let nothing of a training be left: what is right afterwards comes from a checkpoint."""
    random = np.random.default_rng(5)
    for each in (*model.variables, *model.optimizer.variables):
        value = random.uniform(0.0, 9.0, each.shape)
        each.assign(value.astype(keras.backend.standardize_dtype(each.dtype)))
    model.stop_training = True
    keras.utils.set_random_seed(77)


@pytest.mark.one_other
def test_a_model_that_knows_nothing_goes_on(tmp_path):
    """With one model, which is compiled once."""
    data, options = DATA["pairs"]
    model = trainee()
    model.optimizer.build(model.trainable_variables)
    variables = (*model.variables, *model.optimizer.variables)
    first = [(each, numpy(each).copy()) for each in variables]
    whole = train(tmp_path / "whole", data, make=lambda: model, **options)
    for each, value in first:
        each.assign(value)
    keras.utils.set_random_seed(1)
    untracked(model, "epochs_made", 0)
    parts = []
    for death in [(0, 1), (1, 0), (1, 2), None]:
        parts.append(train(tmp_path / "parts", data, death, make=lambda: model, **options))
        if death is not None:
            scramble(model)
    assert_same(whole, parts)


@pytest.mark.once
@pytest.mark.parametrize("kind", DATA)
def test_a_training_in_parts_is_the_whole_one(tmp_path, kind):
    data, options = DATA[kind]
    whole = train(tmp_path / "whole", data, **options)
    deaths = [(0, 2), (1, 1), (1, 2), (2, 0)]
    parts = [train(tmp_path / "parts", data, death, **options) for death in deaths]
    assert_same(whole, [*parts, train(tmp_path / "parts", data, **options)])


@pytest.mark.once
def test_shards_go_on(tmp_path):
    """Their order is a function of seed and epoch, too: nothing before the batch is read again."""
    pattern = write_shards(tmp_path, (9, 7, 8))

    def shards_of(model):
        return kzoo.data.shards(pattern, model.preprocessor, batch_size=6, seed=3)

    whole = train(tmp_path / "whole", shards_of)
    parts = [train(tmp_path / "parts", shards_of, death) for death in [(0, 2), (1, 1), (2, 0), None]]
    assert_same(whole, parts)


@pytest.mark.once
def test_it_changes_nothing_of_a_training(tmp_path):
    """But the order of arrays, which Keras draws as it comes."""
    plain, kept = train(None), train(tmp_path / "run")
    assert plain[0] == kept[0] and all(map(np.array_equal, plain[2], kept[2]))


@pytest.mark.once
def test_more_epochs_go_on_and_a_complete_training_is_not_done_again(tmp_path, caplog):
    whole = train(tmp_path / "whole", epochs=4)
    first = train(tmp_path / "run", epochs=2)
    again = train(tmp_path / "run", epochs=2)
    assert again[0] == {} and again[1].history == first[1].history
    assert all(map(np.array_equal, again[2], first[2]))
    assert "is complete (2 epochs): nothing was trained" in caplog.text
    assert_same(whole, [first, train(tmp_path / "run", epochs=4)])


@pytest.mark.once
def test_a_second_training_of_a_script_has_a_folder_of_its_own(tmp_path):
    """What the first has left, the second finds, also where the first is not done again."""

    def script(dies_after=None):
        model, losses = trainee(), {}
        for phase, epochs in (("one", 1), ("two", 2)):
            curve = Curve(dies_after if phase == "two" else None)
            try:
                model.fit(
                    pairs_of(model), epochs=epochs, verbose=0, callbacks=[curve, Resume(tmp_path / phase, every=2)]
                )
            except Killed:
                return None, None
            losses |= {(phase, *place): each for place, each in curve.losses.items()}
        return losses, values_of(model), model.trainings, model.epochs_made

    assert script((1, 1)) == (None, None)
    losses, values, trainings, epochs_made = script()
    for phase in ("one", "two"):
        for path in sorted((tmp_path / phase).iterdir()):
            path.rename(tmp_path / f"{phase}-{path.name}")
    whole, whole_values, whole_trainings, whole_made = script()
    assert losses.items() <= whole.items() and list(losses) == [place for place in whole if place in losses]
    assert all(map(np.array_equal, values, whole_values))
    assert trainings == whole_trainings and epochs_made == whole_made == 3


# -- callbacks --
def watchers(folder):
    return [
        keras.callbacks.EarlyStopping("loss", min_delta=10.0, patience=2, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss", min_delta=10.0, patience=1, factor=0.5),
        keras.callbacks.CSVLogger(folder / "log.csv"),
        keras.callbacks.ModelCheckpoint(
            folder / "best.weights.h5", "loss", save_best_only=True, save_weights_only=True
        ),
    ]


def rows_of(folder):
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.once
def test_other_callbacks_go_on_with_what_they_have_noted(tmp_path):
    def make():
        return trainee(optimizer=keras.optimizers.Adam(1e-3))

    ends = {}
    for name, deaths in (("whole", []), ("parts", [(0, 2), (1, 3), (2, 1)])):
        place = tmp_path / name
        place.mkdir()
        parts = [
            train(place / "run", pairs_of, death, 6, callbacks=watchers(place), make=make) for death in [*deaths, None]
        ]
        ends[name] = parts, rows_of(place)
    (whole,), rows = ends["whole"]
    assert_same(whole, ends["parts"][0])
    assert len(rows) == 3 and ends["parts"][1] == rows  # stopped early: the rate was halved, the best weights are back
    assert float(rows[-1]["learning_rate"]) == pytest.approx(5e-4)


class Remembers(keras.callbacks.Callback):
    """A callback of somebody: what it notes is numbers, arrays, and something that no file holds."""

    def on_train_begin(self, logs=None):
        self.seen, self.mean, self.open = [], None, None

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append({"epoch": epoch, "pair": (epoch, "x")})
        self.mean = np.full(3, float(epoch))
        self.open = object()


@pytest.mark.once
def test_what_a_callback_has_noted_that_no_file_holds_is_said(tmp_path, caplog):
    train(tmp_path / "run", dies_after=(2, 0), callbacks=[Remembers()], every=1)
    assert "what the callback Remembers has noted as open can be kept in no file" in caplog.text
    again = Remembers()
    train(tmp_path / "run", callbacks=[again], every=1)
    assert again.seen == [{"epoch": epoch, "pair": (epoch, "x")} for epoch in range(3)]
    assert again.mean.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.once
def test_averaged_weights_take_their_place_at_the_very_end_only(tmp_path):
    def make():
        return trainee(optimizer=keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.9))

    whole = train(tmp_path / "whole", make=make)
    assert_same(whole, [train(tmp_path / "run", dies_after=(1, 1), make=make), train(tmp_path / "run", make=make)])
    longer = train(tmp_path / "longer", make=make, epochs=4)
    assert_same(longer, [whole, train(tmp_path / "whole", make=make, epochs=4)])


# -- signals --
@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(tmp_path, heard, number):
    whole = train(tmp_path / "whole")
    model, before = trainee(), signal.getsignal(number)
    curve = Curve((1, 1), lambda: os.kill(os.getpid(), number))
    with pytest.raises((SystemExit, KeyboardInterrupt)) as caught:
        model.fit(pairs_of(model), epochs=EPOCHS, verbose=0, callbacks=[curve, Resume(tmp_path / "run", every=1000)])
    assert signal.getsignal(number) == before
    assert caught.type is KeyboardInterrupt if number == signal.SIGINT else caught.value.code == 143
    rest = train(tmp_path / "run")
    assert min(rest[0]) == (1, 2)
    assert_same(whole, [(curve.losses, None, None), rest])


@pytest.mark.once
@pytest.mark.parametrize("alive", [True, False])
def test_a_signal_that_comes_within_a_step_is_one_signal(heard, alive):
    with leaving_noted() as leaving:
        with interrupted_between_steps(lambda: alive):
            os.kill(os.getpid(), signal.SIGINT)
        assert leaving.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


# -- what is refused --


@pytest.mark.once
def test_data_that_cannot_be_put_back_are_refused(tmp_path):
    def generator(model):
        return (arrays_of(model) for _ in range(9))

    with pytest.raises(ValueError, match="of type Counted|of type generator"):
        train(tmp_path / "run", generator, steps_per_epoch=2, epochs=2)
    with pytest.raises(ValueError, match="steps_per_epoch is 2 beside a Turned"):
        train(tmp_path / "run", DATA["another"][0], steps_per_epoch=2)


@pytest.mark.once
def test_whole_numbers_in_the_width_of_another_backend_go_on(tmp_path):
    """What one counts in 64 bits another counts in 32, the steps of an optimizer among them."""
    whole = train(tmp_path / "whole")
    parts = [train(tmp_path / "parts", dies_after=(1, 1))]
    checkpoints = Checkpoints(tmp_path / "parts", keep=3)
    state, arrays = checkpoints.newest()
    other = {"int64": "int32", "int32": "int64"}
    changed = {name: each.astype(other.get(str(each.dtype), each.dtype)) for name, each in arrays.items()}
    assert any(changed[name].dtype != arrays[name].dtype for name in arrays)
    with checkpoints.open():
        checkpoints.write({name: state[name] for name in state if name not in ("number", "kzoo_checkpoint")}, changed)
    assert_same(whole, [*parts, train(tmp_path / "parts")])
