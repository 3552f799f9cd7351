"""Fixtures that several rooms use, which tests one backend is enough for, and the seconds of each room."""

import gc
import itertools
import json
import signal
from collections import Counter
from pathlib import Path

import keras
import pytest
from huggingface_hub import constants
from shared_case import TESTS, tiny_model, toy_pairs

from kzoo.presets.build import TOWERS

ONCE = ("data", "decoding", "evaluation", "preprocessing")  # rooms in which no tensor is made
NUMERICS = ("activation", "epsilon", "mean", "std", "causal", "eot_id", "pad_id")  # of a tower: they change no shape
OTHERS = ("jax", "tensorflow")  # backends that take turns at tests marked `one_other`
# What is written once for all backends, in operations whose values and gradients others compare on each of them: here
# two backends are enough. The algebra of single losses, compared with loops, beside what tries every loss; layers,
# towers and models, each with parity with other libraries; what is around a step, beside the step itself, which
# `training/test_autodiff.py` compares with Keras'; what reads and writes files. `every_backend` marks what is not so.
ROOMS = ("composition", "generative", "image_text", "labels", "sentences", "teachers", "views")
TRAINING = ("gradients", "health", "meta_step", "metrics", "non_finite", "optimisation", "progress")
LONG = ("scale/", "training/test_resume_killed.py", "test_examples.py", "test_demo.py")
TURNS = (
    *(f"losses/{room}/" for room in ROOMS),
    *(f"training/test_{name}.py" for name in TRAINING),
    *(f"losses/{name}" for name in ("parts/", "test_called_by_hand.py", "test_composition.py", "test_from_tensors.py")),
    *(f"losses/test_{name}.py" for name in ("numbers", "odd_batches", "sample_weights", "shapes")),
    *("adaptation/", "encoders/", "layers/", "models/", "presets/", "weights/", "test_cli.py"),
    "losses/test_every_loss_trains.py",
)
# Those of them that ask for values operation by operation: jax compiles each for each shape and takes five times as
# long as TensorFlow, which is the stricter of the two about types. What is traced and compiled takes turns.
VALUES = (
    *(f"losses/{room}/" for room in ROOMS),
    *(f"losses/test_{name}.py" for name in ("called_by_hand", "numbers", "odd_batches", "sample_weights", "shapes")),
    *("encoders/", "layers/"),
)
HAS_ITS_OWN = ("every_backend", "one_other", "skipif")  # by which a test takes no turns, as one of a single backend


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def pytest_fixture_setup(fixturedef):
    """What several tests share is made before `seeded` runs, and by chance would differ from run to run."""
    if fixturedef.scope != "function":
        keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def offline(tmp_path_factory, monkeypatch):
    """No test reaches the hub: its client is offline, with an empty cache, whose path this is."""
    cache = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


@pytest.fixture
def heard():
    """Ctrl-C as in a terminal: a process that a shell has started in the background ignores it. What a signal raises
    within a callback of the garbage collector, as hypothesis has one, is lost, so none is called meanwhile."""
    before, callbacks = signal.signal(signal.SIGINT, signal.default_int_handler), gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = callbacks
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def model():
    """A dual encoder of a few thousand parameters, of one block a tower, with a vocabulary."""
    return tiny_model(depth=1)


@pytest.fixture
def pairs():
    """Twenty-four pictures with captions, as `kzoo.data.pairs` takes them."""
    return toy_pairs(24)


@pytest.fixture(scope="session")
def towers_of_shapes():
    """Towers of shapes only, by their config."""
    return {}


@pytest.fixture
def once_each(towers_of_shapes, monkeypatch):
    """Towers of shapes only that differ in no shape are one: the giants take a second each to build."""

    def remembering(owner):
        def tower(**config):
            key = json.dumps([owner.kind, {name: config[name] for name in config if name not in NUMERICS}], default=str)
            if key not in towers_of_shapes:
                towers_of_shapes[key] = owner.from_config(config)
            return towers_of_shapes[key]

        return tower

    for kind, owner in TOWERS.items():
        if isinstance(owner, type):
            monkeypatch.setitem(TOWERS, kind, remembering(owner))


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items):
    turns, backend = itertools.cycle(OTHERS), keras.config.backend()
    for item in items:
        path = item.path.relative_to(TESTS).as_posix()
        if path.startswith(TURNS) and not any(map(item.get_closest_marker, HAS_ITS_OWN)):
            item.add_marker(pytest.mark.one_other(*(["tensorflow"] if path.startswith(VALUES) else [])))
        shared = None if item.get_closest_marker("once") else item.get_closest_marker("one_other")
        if shared and backend in OTHERS and backend != (shared.args or [next(turns)])[0]:
            item.add_marker("once")
        if room_of(path) in ONCE and not item.get_closest_marker("every_backend"):
            item.add_marker("once")
    # what a minute is spent on begins first, or one process would wait for the other at the end
    items.sort(key=lambda item: not item.path.relative_to(TESTS).as_posix().startswith(LONG))


def pytest_collection_finish():
    """What is imported and collected by now stays: looking through it again and again for what can go takes the garbage
    collector one second in twenty."""
    gc.collect()
    gc.freeze()


# -- seconds of each room --
def room_of(path):
    """The folder in `tests` of a file, whose path starts there; the file's name where it is in none."""
    return path.split("::")[0].split("/")[0]


def pytest_addoption(parser):
    parser.addoption("--times", type=Path, help="keep the seconds of each room in this file, and print all in it")


def pytest_terminal_summary(terminalreporter, config):
    """A line per room, a column per backend: seconds in tests and their fixtures, of all processes together."""
    seconds = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[room_of(report.nodeid.removeprefix("tests/"))] += report.duration
    kept = config.getoption("times")
    backends = json.loads(kept.read_text("utf-8")) if kept and kept.exists() else {}
    backends[keras.config.backend()] = dict(seconds)
    if kept:
        kept.write_text(json.dumps(backends), "utf-8")
    rooms = sum(map(Counter, backends.values()), Counter()).most_common()
    columns = backends | {"all": dict(rooms)}
    terminalreporter.section("seconds of each room")
    terminalreporter.write_line(" " * 24 + "".join(f"{name:>12}" for name in columns))
    for room, _ in rooms:
        numbers = "".join(f"{column.get(room, 0.0):12.1f}" for column in columns.values())
        terminalreporter.write_line(f"{room:24}{numbers}")
    numbers = "".join(f"{sum(column.values()):12.1f}" for column in columns.values())
    terminalreporter.write_line(f"{'all':24}{numbers}")
