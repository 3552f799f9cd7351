"""What engines open: an export of each size, and a checkpoint in the layout of each library. Of random weights.

python -m benchmarks.suite.making export "ViT-B/32" FOLDER
"""

import sys

from benchmarks.suite.cases import Case
from benchmarks.suite.engines.kzoo_model import built

EXPORTS = {"export": "onnx", "openvino_export": "openvino", "litert_export": "litert"}
FORMATS = {"checkpoint": "transformers", "open_clip_checkpoint": "open_clip"}


def needed(engine, case) -> list[str]:
    """What an engine opens in a case."""
    if engine.module == "kzoo_export":
        return [engine.options.get("export", "export")]
    if case.kind != "open":
        return []
    return ["open_clip_checkpoint" if engine.module == "open_clip_clip" else "checkpoint"]


def wanted(cases, engines) -> list[tuple[str, str]]:
    """What is to be made for cases and engines: pairs of what, and of which size."""
    found = [
        (what, case.size)
        for case in cases
        for each in engines
        if case.kind in each.kinds
        for what in needed(each, case)
    ]
    return [*dict.fromkeys(found)]


def make(what, size, folder) -> None:
    """Write one of them into a folder that is not there yet."""
    model = built(Case("image", size))
    if what in EXPORTS:
        model.export(folder, format=EXPORTS[what])
    else:
        model.save_to_preset(folder, format=FORMATS[what])


if __name__ == "__main__":
    make(*sys.argv[1:])
