"""kzoo's exported graphs, in onnxruntime, OpenVINO or LiteRT."""

import os

from benchmarks.suite.cases import WRITTEN
from benchmarks.suite.engines.kzoo_model import written
from benchmarks.suite.inputs import pixels, token_ids


def prepare(case, options, about):
    from kzoo.export import runtime

    whole = options["made"][options.get("export", "export")][case.size]
    model = runtime.load(whole, threads=options["threads"])
    if case.kind in WRITTEN:
        return written(model, case)
    batch = {"images": pixels(case)} if case.kind == "image" else {"token_ids": token_ids(case)}
    if not options.get("int8"):
        return lambda: model.embed_batch(batch)
    rounded = runtime.load(quantized(whole), threads=options["threads"], verify=False)
    about["cosine"] = float((model.embed_batch(batch) * rounded.embed_batch(batch)).sum(-1).min())
    return lambda: rounded.embed_batch(batch)


def quantized(folder) -> str:
    """The same export at the first level of `quantize="int8"`, whatever it loses on random weights; made once."""
    import shutil
    from pathlib import Path

    from kzoo.export.int8_graphs import in_half, in_int8, prepared, products
    from kzoo.export.onnx_files import save

    made = Path(f"{folder}-int8")
    if made.exists():
        return str(made)
    staged = Path(f"{made}-{os.getpid()}")
    shutil.copytree(folder, staged)
    for graph in staged.glob("*_encoder.onnx"):
        proto = prepared(graph)
        graph.unlink()
        save(in_half(in_int8(proto, [each.name for each in products(proto)])), graph)
    staged.rename(made)
    return str(made)
