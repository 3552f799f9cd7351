"""What type checkers know: every public function says what it gives, and a user's script is read as it should be."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once
ROOT = Path(__file__).parent.parent
FILES = [path for folder in ("kzoo", "presets", "export") for path in sorted((ROOT / folder).glob("**/*.py"))]
SAYS_NOTHING = ("__init__", "__new__", "__getattr__", "__init_subclass__")


def public(body, name):
    """`(name, node)` of the functions, methods and properties that a body offers, with those of Python's own names."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from public(node.body, f"{name}.{node.name}")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name not in SAYS_NOTHING:
            if not node.name.startswith("_") or node.name.endswith("__"):
                yield f"{name}.{node.name}", node


def test_every_public_function_says_what_it_gives():
    found = [each for path in FILES for each in public(ast.parse(path.read_text("utf-8")).body, path.stem)]
    assert len(found) > 1200
    assert [name for name, node in found if node.returns is None] == []


RIGHT = """
import keras
import numpy as np

import kzoo
from kzoo.layers import Head, Projector
from kzoo.losses import Captioning, InfoNCE

kzoo.list_presets("clip")
total: int = kzoo.describe("clip_base")["parameters"]["total"]
model = kzoo.from_preset("clip_nano", load_weights=False, image_size=(64, 48))
model.preprocessor.adapt(["a cat", "a dog"])
embeddings = model.encode_text(["a cat"])
print(embeddings.shape, model.classify(["cat.jpg"], ["cat", "dog"], templates="a photo of a {}.").argmax())
model.compile("clip_adamw", loss=InfoNCE() + 2.0 * Captioning(), gradients="pcgrad")
data = kzoo.data.pairs("photos.csv", model.preprocessor, batch_size=8)
print(len(data), data[0], data.captions, data.in_order().rows_read)
history = model.fit(data, epochs=2)
model.summary()
model.save_to_preset("my_clip")
manifest: dict = model.export("my_clip_onnx", format="onnx")
texts = kzoo.from_preset("coca_base").caption(["cat.jpg"], strategy="beam")
scores = kzoo.from_preset("blip_itm_base").match(["cat.jpg"], ["a cat"])
features = kzoo.from_preset("dino_nano", load_weights=False).encode(np.zeros((2, 32, 32, 3), "uint8"))
head = Head(Projector((64,)), reads="image_features", gives="image_projected")
InfoNCE().describe(4096, devices=8)
tower = model.image_encoder
pair: kzoo.DualEncoder = model
"""
WRONG = """
import kzoo
from kzoo.losses import InfoNCE

reveal_type(kzoo.losses.DINO(dim=8))
reveal_type(InfoNCE())
reveal_type(kzoo.DualEncoder)
reveal_type(kzoo.data.pairs)
reveal_type(kzoo.from_preset)
reveal_type(kzoo.export.export)
kzoo.from_preset("clip_base", load_weigths=False)
kzoo.losses.InfoNce
kzoo.data.pair
kzoo.export.onnx
kzoo.dual_encoder
model = kzoo.from_preset("clip_base")
model.encode_images(["cat.jpg"])
model.encode_image(["cat.jpg"], batchsize=8)
model.save_to_presets("here")
model.classify(["cat.jpg"])
model.push_to_hub("me/my-clip").append("x")
InfoNCE().descirbe(8)
print(InfoNCE(0.1).temprature)
kzoo.data.pairs("photos.csv", model.preprocessor).caption
kzoo.describe("clip_base").parameters
"""
SEEN = (
    '5: note: Revealed type is "kzoo.losses.teachers.dino.DINO"',
    '6: note: Revealed type is "kzoo.losses.image_text.info_nce.InfoNCE"',
    '7: note: Revealed type is "def (image_encoder: Any, text_encoder: Any,',
    '8: note: Revealed type is "def (source: Any, preprocessor: Any,',
    '9: note: Revealed type is "def (name: Any, load_weights: Any',
    '10: note: Revealed type is "def (model: Any, folder: Any, format: Any',
    '11: error: Unexpected keyword argument "load_weigths" for "from_preset"',
    '12: error: Module has no attribute "InfoNce"',
    '13: error: Module has no attribute "pair"',
    '14: error: Module has no attribute "onnx"',
    '15: error: Module has no attribute "dual_encoder"',
    '17: error: "AnyModel" has no attribute "encode_images"',
    '18: error: Unexpected keyword argument "batchsize" for "encode_image" of "Embedder"',
    '19: error: "AnyModel" has no attribute "save_to_presets"',
    '20: error: Missing positional argument "labels" in call to "classify" of "Embedder"',
    '21: error: "str" has no attribute "append"',
    '22: error: "InfoNCE" has no attribute "descirbe"',
    '23: error: "InfoNCE" has no attribute "temprature"',
    '24: error: "PairDataset" has no attribute "caption"',
    '25: error: "Description" has no attribute "parameters"',
)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What mypy says of both scripts, lines by the name of the file: it is run once, it takes long."""
    place = tmp_path_factory.mktemp("user")
    installed = place / "site" / "kzoo"  # as pip lays it out
    installed.mkdir(parents=True)
    for path in [*(ROOT / "kzoo").iterdir(), ROOT / "export", ROOT / "presets"]:
        (installed / path.name).symlink_to(path)
    for name, text in (("right", RIGHT), ("wrong", WRONG)):
        (place / f"{name}.py").write_text(text)
    # other libraries are left out: reading them takes longer than everything else
    options = ["--no-site-packages", "--ignore-missing-imports", "--follow-imports=silent", "--cache-dir=cache"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "right.py", "wrong.py"],
        cwd=place,
        env={"MYPYPATH": "site"},
        capture_output=True,
        text=True,
    )
    assert re.search(r"Found \d+ errors? in \d+ file", done.stdout), done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines()[:-1] if "defined in" not in line and "defined here" not in line]
    return {name: [line for line in lines if line.startswith(f"{name}.py:")] for name in ("right", "wrong")}


def test_a_script_that_is_right_is_left_alone(said):
    assert said["right"] == []


def test_what_is_wrong_in_a_script_is_seen(said):
    lines = [line.removeprefix("wrong.py:") for line in said["wrong"]]
    assert [line for line, want in zip(lines, SEEN) if not line.startswith(want)] == [], "\n".join(lines)
    assert len(lines) == len(SEEN)
