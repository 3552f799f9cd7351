"""Importing: what it costs, which backend it chooses, what it says when something is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
QUICKEST = "jax"  # to import, where it does not matter which one a new process runs on


def python(script, home, **environment):
    """Run a script in a new process with a home of its own; returns its last line."""
    clean = {name: value for name, value in os.environ.items() if name not in ("KERAS_BACKEND", "KERAS_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean | {"HOME": str(home)} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


IN_FORKS = """
import os, sys
for name in {ready}:
    __import__(name)
for script in {scripts}:
    if (child := os.fork()) == 0:
        exec(script, {{"__name__": "__main__"}})
        print("-- done", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, script
"""


def pythons(scripts, home, ready=("jax", "h5py"), **environment):
    """The last lines of several scripts, each run in a fork of one new process, where what they take longest to import
    is there already."""
    clean = {name: value for name, value in os.environ.items() if name not in ("KERAS_BACKEND", "KERAS_HOME")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_FORKS.format(ready=ready, scripts=scripts)],
        env=clean | {"HOME": str(home)} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [each.strip().splitlines()[-1] for each in done.stdout.split("-- done")[:-1]]


CHOSEN = "import os, kzoo; print(os.environ.get('KERAS_BACKEND'))"


@pytest.mark.once
def test_import_is_lazy_and_cheap(tmp_path):
    script = (
        "import sys, time\nstart = time.perf_counter()\nimport kzoo\n"
        "print(time.perf_counter() - start < 0.3, [n for n in ('keras', 'jax', 'torch') if n in sys.modules])"
    )
    assert python(script, tmp_path) == "True []"
    # nor does the command line, of which --help and a wrong flag are most
    script = "import sys, kzoo.cli; print([n for n in ('keras', 'jax', 'torch', 'pandas') if n in sys.modules])"
    assert python(script, tmp_path) == "[]"


@pytest.mark.once
def test_the_first_installed_backend_is_chosen_and_stays_chosen(tmp_path):
    assert python(CHOSEN, tmp_path) == "jax"
    # Keras writes this by itself at its first import, whatever it runs on
    (tmp_path / ".keras").mkdir()
    written = {"floatx": "float32", "epsilon": 1e-07, "backend": "tensorflow", "image_data_format": "channels_last"}
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(written))
    assert python(CHOSEN, tmp_path) == "jax"


FIRST_IN_A_FORK = """
import importlib, os, keras  # which takes seconds, and is imported once for all
for room in {rooms}:
    if (child := os.fork()) == 0:
        importlib.import_module("kzoo." + room)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, room
print("ok")
"""


@pytest.mark.once
def test_every_room_can_be_the_first_import(tmp_path):
    rooms = ["data", "layers", "encoders", "losses", "models", "training", "weights", "presets.loader"]
    assert python(FIRST_IN_A_FORK.format(rooms=rooms), tmp_path, KERAS_BACKEND=QUICKEST) == "ok"


@pytest.mark.once
def test_a_choice_of_the_user_is_respected(tmp_path):
    assert python(CHOSEN, tmp_path, KERAS_BACKEND="torch") == "torch"
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"backend": "torch"}')
    assert python(CHOSEN, tmp_path) == "None"
    other = tmp_path / "other"
    other.mkdir()
    assert python(CHOSEN, tmp_path, KERAS_HOME=str(other)) == "jax"


@pytest.mark.once
def test_the_choice_is_said_at_info(tmp_path):
    script = "import logging, sys; logging.basicConfig(level=logging.INFO, stream=sys.stdout); import kzoo"
    assert "KERAS_BACKEND is not set; using jax, the first installed of jax, tensorflow, torch" in python(
        script, tmp_path
    )


@pytest.mark.once
def test_a_keras_file_is_opened_whatever_was_imported(tmp_path, model):
    model.compile("sgd")
    model.save(tmp_path / "model.keras")
    path = str(tmp_path / "model.keras")
    opened = f"again = kzoo.load_model({path!r}, compile=False)\nprint(type(again).__name__, again.compiled)"
    orders = ("import kzoo", "import kzoo, keras", "import keras, kzoo")
    scripts = [f"{order}\n{opened}" for order in orders]
    # Keras that is there learns of the classes
    scripts.append(f"import keras, kzoo\nprint(type(keras.saving.load_model({path!r}, compile=False)).__name__)")
    lines = pythons(scripts, tmp_path, KERAS_BACKEND=QUICKEST)
    assert lines == [*["DualEncoder False"] * 3, "DualEncoder"]


@pytest.mark.once
def test_keras_can_be_imported_whatever_is_broken_in_a_room(tmp_path):
    scripts, rooms = [], ("losses", "models")
    for room in rooms:
        broken = f"import sys; sys.modules['kzoo.{room}'] = None\n"
        failing = "try:\n    {}\nexcept ImportError as error:\n    print(error)"
        scripts += [
            f"{broken}import kzoo, keras\n"
            "print([name for name, it in sys.modules.items() if it and name.startswith('kzoo.')])",
            f"{broken}import keras\n{failing.format('import kzoo')}",
            f"{broken}import kzoo\n" + failing.format("kzoo.load_model('model.keras')"),
        ]
    lines = pythons(scripts, tmp_path, KERAS_BACKEND=QUICKEST)
    for number, room in enumerate(rooms):
        there, early, late = lines[3 * number : 3 * number + 3]
        assert there == "['kzoo.actions', 'kzoo.backend', 'kzoo.lazy']"
        assert f"kzoo.{room}" in early and f"kzoo.{room}" in late


HIDE = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_the_rest(name, path=None, target=None):
    return None if name.split('.')[0] in {hidden!r} else find(name, path, target)
PathFinder.find_spec = staticmethod(find_the_rest)  # dill asks an instance
"""


def caught(hidden, script):
    """A script that prints the error it ends with when some packages are not installed."""
    body = "\n".join(f"    {line}" for line in script.splitlines())
    return (
        HIDE.format(hidden=hidden) + f"try:\n{body}\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )


def without(hidden, script, home, **environment):
    """The error that a script ends with when some packages are not installed."""
    return python(caught(hidden, script), home, **environment)


@pytest.mark.once
def test_missing_keras_names_the_extras(tmp_path):
    message = without(["keras"], "import kzoo\nkzoo.from_preset", tmp_path)
    assert message.startswith("ImportError keras is not installed") and "pip install 'kzoo[jax]'" in message


@pytest.mark.once
def test_missing_backend_names_the_extras(tmp_path):
    message = without(["jax", "jaxlib"], "import kzoo\nkzoo.from_preset", tmp_path, KERAS_BACKEND="jax")
    assert message.startswith("ImportError") and "pip install 'kzoo[jax]'" in message


@pytest.mark.once
def test_exporting_says_which_extra_it_wants(tmp_path, model):
    model.save_to_preset(tmp_path / "model")
    script = (
        f"import kzoo\nkzoo.from_preset({str(tmp_path / 'model')!r}).export({str(tmp_path / 'out')!r}, format={{!r}})"
    )
    hidden = {"onnx": ["onnx", "onnxruntime"], "tf_saved_model": ["tensorflow"]}
    scripts = [caught(hidden[name], script.format(name)) for name in hidden]
    messages = pythons(scripts, tmp_path, KERAS_BACKEND=QUICKEST)  # which is another one than TensorFlow
    assert "needs onnx, which is not installed: pip install 'kzoo[export]'" in messages[0]
    assert "needs tensorflow, which is not installed: pip install 'kzoo[tensorflow]'" in messages[1]
    assert not (tmp_path / "out").exists()


@pytest.mark.once
def test_no_module_imports_a_framework_at_import_time():
    frameworks = ("jax", "tensorflow", "torch", "onnx", "onnxruntime", "matplotlib", "fonticon_mdi7", "keras_hub")
    frameworks += ("openvino", "ai_edge_litert")
    for path in [*ROOT.glob("kzoo/**/*.py"), *ROOT.glob("export/*.py"), *ROOT.glob("presets/*.py")]:
        for line in path.read_text().splitlines():
            words = [] if line.startswith(" ") else line.split()
            if words[:1] in (["import"], ["from"]) and words[1].split(".")[0] in frameworks:
                raise AssertionError(f"{path.name} imports {words[1]} at import time")


@pytest.mark.once
def test_no_file_is_longer_than_400_lines():
    long = {path.name: len(path.read_text().splitlines()) for path in ROOT.glob("**/*.py") if ".venv" not in str(path)}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
