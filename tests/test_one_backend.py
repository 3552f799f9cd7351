"""Where only one backend is installed: what is imported first does not matter, and nothing asks for another one."""

import ast
import re
from pathlib import Path

import keras
import pytest
from test_import import HIDE, python

ROOT = Path(__file__).parent.parent
PACKAGES = {"jax": ["jax", "jaxlib"], "tensorflow": ["tensorflow"], "torch": ["torch"]}
SCRIPTS = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "examples").glob("*.py"))}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {
    f"{page.name} {number}": block
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
}


@pytest.mark.once
@pytest.mark.parametrize("name", [*SCRIPTS, *BLOCKS])
def test_no_script_depends_on_the_order_of_its_imports(name):
    """Sorted imports have keras and keras_hub before kzoo, where Keras runs on TensorFlow or fails."""
    found = []
    for node in ast.parse((SCRIPTS | BLOCKS)[name]).body:
        found += [each.name for each in node.names] if isinstance(node, ast.Import) else []
        found += [node.module] if isinstance(node, ast.ImportFrom) else []
    assert not {"keras", "keras_hub"} & {each.split(".")[0] for each in found}


def test_the_imports_of_every_example_and_a_model_want_no_other_backend(tmp_path):
    own = keras.config.backend()
    hidden = [package for name, packages in PACKAGES.items() if name != own for package in packages]
    lines = [line for text in SCRIPTS.values() for line in text.splitlines() if re.match(r"(import|from) .*kzoo", line)]
    others = ["from kzoo import keras", *sorted(set(lines) - {"from kzoo import keras"}), "import kzoo"]
    script = f"{HIDE.format(hidden=hidden)}\n" + "\n".join(others) + "\n"
    script += (
        "model = kzoo.from_preset('clip_nano', load_weights=False)\n"
        "model.preprocessor.adapt(['a red circle'])\n"
        "model.compile('clip_adamw')\n"
        "print(keras.config.backend(), model.encode_text(['a red circle']).shape)"
    )
    assert python(script, tmp_path) == f"{own} (1, 24)"
