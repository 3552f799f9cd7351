"""Two replicas on TensorFlow, four devices on jax, two processes: losses and weights are those of one device.

One process tries all cases, as what a process takes for its devices is settled when it starts.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from many_devices import FORMS

BACKEND = keras.config.backend()
CLOSE = 1e-5


@pytest.fixture(scope="module")
def found():
    """Name of a case -> what it found, see `many_devices.py`."""
    script = Path(__file__).with_name("many_devices.py")
    places = [str(place) for place in (script.parent.parent, script.parent, script.parents[2] / "benchmarks")]
    places = [*places, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "4", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join(places)
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return {name: value for line in lines for name, value in line.items()} | {"stderr": run.stderr[-3000:]}


def of(found, name):
    assert not isinstance(found[name], str), f"{found[name]}\n{found['stderr']}"
    return found[name]


@pytest.mark.parametrize("name", FORMS)
def test_three_steps_give_the_losses_and_weights_of_one_device(found, name):
    for kind, (losses, weights) in of(found, name).items():
        assert losses < CLOSE and weights < CLOSE, kind


def test_batches_that_devices_cannot_share_evenly(found):
    for name, apart in of(found, "rest").items():
        assert apart <= (0.0 if "recall" in name else 1e-6 if "evaluate" in name else CLOSE), name


def test_what_devices_cannot_do_is_said(found):
    said = of(found, "refused")
    assert "is open already" in said["start"] or "is set already" in said["start"]
    for call in ("compile", "fit"):
        assert re.search(
            "ValueError: .* made (outside|before).*build the model, its loss and its optimizer", said[call]
        )
    assert re.search(r"devices is 99, but (TensorFlow|jax) sees [24]", said["devices"]) and said["one"] == ""
    if BACKEND == "tensorflow":
        assert "does not train under tf.distribute.CentralStorageStrategy" in said["strategy"]
        assert "ema_overwrite_frequency=2, which TensorFlow cannot do on several replicas" in said["averages"]


def test_what_was_trained_on_many_devices_opens_on_one(found):
    said = of(found, "saved")
    assert said["preset"] == said["model.keras"] == 0.0 and said["fit afterwards"] == ""


@pytest.mark.parametrize("name", ["teacher", "coca"] if BACKEND == "jax" else [])
def test_weights_that_devices_share(found, name):
    losses, weights = of(found, "layouts")[name]
    assert losses < CLOSE and weights < CLOSE and found["layouts"][f"{name} split"] > 0.25


@pytest.mark.parametrize("backend", ["jax"] if BACKEND == "jax" else [])
def test_devices_share_the_work(found, backend):
    assert of(found, "work") == pytest.approx(1.0, abs=0.02)  # of towers in micro-batches and a loss in blocks


def test_processes_that_train_together(found):
    for name, apart in of(found, "processes").items():
        assert apart < CLOSE, name
