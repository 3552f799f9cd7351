"""Writes what names are where: kzoo/losses/__init__.py from the files of its rooms, and a .pyi for each lazy package.

python docs/make_imports.py
"""

import ast
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAZY = {"kzoo": "kzoo", "kzoo.data": "kzoo/data", "kzoo.export": "export", "kzoo.presets": "presets"}
WIDTH = 120

LOSSES = ROOT / "kzoo" / "losses"
NO_LOSSES = {  # what the rooms of losses have to offer beside losses
    "kzoo.losses.base": ["Loss", "WeightedSum", "weighted_mean"],
    "kzoo.losses.parts.hard_pairs": ["mix_hard_pairs"],
    "kzoo.losses.parts.temperature": ["LearnableTemperature"],
    "kzoo.losses.spec": ["from_spec"],
}
HEAD = '''"""Losses: one per file, called with tensors, composed with `+` and `*`.

Written by `make docs` from the files of the rooms: every loss that is registered with Keras is public here.
"""

from typing import TYPE_CHECKING

import keras  # noqa: F401  before this room's modules, see kzoo.backend.register_with_keras

'''
FOOT = """

def __dir__():
    return sorted(__all__)


if not TYPE_CHECKING:  # a type checker takes a `__getattr__` for any name at all

    def __getattr__(name):
        raise unknown(name, __all__)
"""


def imports(names):
    """Lines that import `{module: names}`, as ruff sorts and breaks them."""
    lines = []
    for module in sorted(names):
        line = f"from {module} import {', '.join(in_order(names[module]))}"
        broken = f"from {module} import (\n{''.join(f'    {name},' + chr(10) for name in in_order(names[module]))})"
        lines.append(line if len(line) <= WIDTH else broken)
    return "\n".join(lines) + "\n"


def listed(names):
    """`__all__` of names."""
    return "\n__all__ = [\n" + "".join(f'    "{name}",\n' for name in in_order(names)) + "]\n"


def in_order(names):
    """Constants, then classes, then functions and modules."""
    return sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def losses():
    """The text of kzoo/losses/__init__.py; it reads the files, and imports none."""
    found = dict(NO_LOSSES)
    for path in sorted(LOSSES.glob("*/*.py")):
        classes = [each.name for each in ast.parse(path.read_text("utf-8")).body if registered(each)]
        if path.parent.name != "parts" and classes:
            found[f"kzoo.losses.{path.parent.name}.{path.stem}"] = classes
    public = [name for names in found.values() for name in names]
    found["kzoo.losses.spec"] = [*found["kzoo.losses.spec"], "unknown"]
    return HEAD + imports(found) + listed(public) + FOOT


def registered(node):
    """Whether a class is registered with Keras."""
    return isinstance(node, ast.ClassDef) and any("register_keras" in ast.unparse(each) for each in node.decorator_list)


def stub(package):
    """The text of the .pyi of a lazy package."""
    module = import_module(package)
    public = [name for name in module.__all__ if name != "__version__"]
    found = {}
    for name in public:
        home = module._NAMES.get(name) or vars(module)[name].__module__
        found.setdefault(package if home == f"{package}.{name}" else home, []).append(name)
    version = "\n__version__: str\n" if public != module.__all__ else ""
    return imports(found) + listed(module.__all__) + version


def pages():
    """Each file that is written, and its text."""
    stubs = {ROOT / folder / "__init__.pyi": stub(package) for package, folder in LAZY.items()}
    return {LOSSES / "__init__.py": losses()} | stubs


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
        print(f"wrote {path}")
