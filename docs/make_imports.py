"""Writes what names are where: the __init__.py of losses, towers, heads and layers from their files, and a .pyi for
each lazy package.

python docs/make_imports.py
"""

import ast
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAZY = {"kzoo": "kzoo"} | {f"kzoo.{room}": f"kzoo/{room}" for room in ("adaptation", "data", "scale")}
LAZY |= {"kzoo.export": "export", "kzoo.presets": "presets"}
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

'''
FOOT = """

def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # a type checker takes a `__getattr__` for any name at all

    def __getattr__(name):
        raise unknown(name, __all__)
"""


ENCODERS = ROOT / "kzoo" / "encoders"
NO_KINDS = {  # what the room of towers has to offer beside them
    "kzoo.encoders.as_tower": ["as_tower"],
    "kzoo.encoders.from_checkpoint": ["class_head_from_checkpoint", "from_checkpoint"],
    "kzoo.encoders.keras_hub": ["from_keras_hub"],
    "kzoo.encoders.tower": ["Input", "Tower", "table_of"],
}
TOWERS_HEAD = '''"""Towers: arrays of one modality in, named features out. One file each.

Written by `make docs` from the files: every tower and decoder with a `kind` that is registered with Keras is public
here, and a preset row can name it.
"""

'''

HEADS = ROOT / "kzoo" / "layers" / "heads"
HEADS_HEAD = '''"""What stands between the towers of a model and its loss.

Written by `make docs` from the files: every layer that is registered with Keras is public here and in `kzoo.layers`.
"""

'''
LAYERS = ROOT / "kzoo" / "layers"
NO_HEADS = {  # public layers and functions beside the heads
    "kzoo.layers.attention": ["Attention"],
    "kzoo.layers.embedding_memory": ["EmbeddingMemory"],
    "kzoo.layers.embedding_noise": ["GaussianEmbeddingNoise"],
    "kzoo.layers.linear_logits": ["LinearLogits"],
    "kzoo.layers.numerics": ["gelu", "gelu_tanh", "l2_normalize", "quick_gelu"],
    "kzoo.layers.patch_embedding": ["PatchEmbedding"],
    "kzoo.layers.pooling": ["AttentionPooling", "pool_end_of_text"],
    "kzoo.layers.projection": ["Projection"],
    "kzoo.layers.projector": ["Projector"],
    "kzoo.layers.similarity": ["SimilarityHead"],
    "kzoo.layers.transformer": ["LayerScale", "TransformerBlock"],
}
LAYERS_HEAD = '''"""What multiplies: attention, transformer blocks, patches, pooling, similarity, heads of models.

Written by `make docs`.
"""

'''


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


def classes_of(folder, module, wanted):
    """`{module: classes}` of the files of a folder whose classes are `wanted`."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        names = [each.name for each in ast.parse(path.read_text("utf-8")).body if registered(each) and wanted(each)]
        found |= {f"{module}.{path.stem}": names} if names else {}
    return found


def towers():
    """The text of kzoo/encoders/__init__.py."""
    kinds = classes_of(ENCODERS, "kzoo.encoders", has_kind)
    names = [name for classes in kinds.values() for name in classes]
    found = {module: [*NO_KINDS.get(module, []), *kinds.get(module, [])] for module in {**NO_KINDS, **kinds}}
    public = [name for each in found.values() for name in each]
    tuple_of = (
        "\nKINDS = (\n" + "".join(f"    {name},\n" for name in sorted(names)) + ")  # what a preset row can name\n"
    )
    return TOWERS_HEAD + imports(found) + tuple_of + listed([*public, "KINDS"])


def has_kind(node):
    """Whether a class says in its body what preset tables call it."""
    targets = [each for line in node.body if isinstance(line, ast.Assign) for each in line.targets]
    names = [ast.unparse(part) for each in targets for part in (each.elts if isinstance(each, ast.Tuple) else [each])]
    return "kind" in names


def heads():
    """The texts of kzoo/layers/heads/__init__.py and kzoo/layers/__init__.py."""
    found = classes_of(HEADS, "kzoo.layers.heads", lambda node: True)
    names = [name for classes in found.values() for name in classes]
    layers = {"kzoo.layers.heads": names} | NO_HEADS
    public = [name for each in layers.values() for name in each]
    return HEADS_HEAD + imports(found) + listed(names), LAYERS_HEAD + imports(layers) + listed(public)


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
    of_heads, of_layers = heads()
    rooms = {LOSSES: losses(), ENCODERS: towers(), HEADS: of_heads, LAYERS: of_layers}
    return {folder / "__init__.py": text for folder, text in rooms.items()} | stubs


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
        print(f"wrote {path}")
