"""Files made by hypothesis for each reader, until a time is over: `make fuzz SECONDS=600`; not run by `make test`.

Each target takes bytes or values of JSON and must end as a reader may: with a result, or with one sentence. What ends
otherwise is printed with the smallest case that hypothesis finds, and the exit code is 1.

    PYTHONPATH=tests python tests/hostile/fuzz.py --seconds 60 [--only picture]
"""

import argparse
import datetime
import io
import json
import shutil
import sys
import tarfile
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from reading import Hang, mutations, outcome
from safetensors.numpy import load_file, save_file
from shared_case import TESTS, tiny_model

import kzoo
from kzoo.adaptation import EmbeddingClassifier, ZeroShot, adapters, load_adapter, remove_adapter
from kzoo.data.sources import read_source
from kzoo.export.manifest import read_manifest
from kzoo.files.strict_json import parse_json
from kzoo.preprocessing import ImageSteps, Preprocessor, Tokenizer
from kzoo.presets import schema
from kzoo.presets.foreign import recognise
from kzoo.presets.table import flat
from kzoo.weights import TensorFiles
from kzoo.weights.hdf5 import Hdf5

ROUND = 40  # cases of a target before the next has its turn
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def spoilt(content):
    """Bytes of a good file, damaged here and there, or others altogether."""
    return st.binary(max_size=400) | st.integers(0, 2**32 - 1).map(lambda number: _damaged(content, number))


def _damaged(content, number):
    random = np.random.default_rng(number)
    for _ in range(1 + number % 3):
        *_, content = mutations(content or b"\0", random, 1 + int(random.integers(5)))
    return content


def respelt(config):
    """A JSON object of which one to three fields, at any depth, hold something else."""
    paths = list(_paths(config))
    return st.lists(st.tuples(st.sampled_from(paths), JSON), min_size=1, max_size=3).map(
        lambda changes: _changed(config, changes)
    )


def _paths(config, at=()):
    for key, value in config.items():
        yield (*at, key)
        if isinstance(value, dict):
            yield from _paths(value, (*at, key))


def _changed(config, changes):
    copy = json.loads(json.dumps(config))
    for (*parents, key), value in changes:
        inner = copy
        for parent in parents:
            inner = inner.get(parent) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner[key] = value
    return copy


def tar_of(members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return content.getvalue()


def parquet_of(columns):
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content, row_group_size=2)
    return content.getvalue()


def columns(picture):
    """Columns of parquet files, of all kinds, where a picture and a caption are expected."""
    kinds = st.sampled_from(
        [
            *(
                pa.array([value] * 3)
                for value in (picture, b"", "a", 1, 1.5, None, True, ["a"], [["a"]], {"bytes": picture})
            ),
            *(pa.array([value] * 3) for value in ({"bytes": None}, {"path": "a"}, [], datetime.date(1, 1, 1))),
            pa.array([2**62] * 3, pa.timestamp("us")),
            pa.array(["a", "b", "a"]).dictionary_encode(),
            pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
            pa.array(["a", None, ""], pa.large_string()),
            pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff", b"a", b""]).buffers()),
        ]
    )
    return st.fixed_dictionaries({"image": kinds, "caption": kinds}, optional={"labels": kinds})


def tensors_of(good):
    """Tensors of which one to three are others, in number, shape, dtype or name."""
    arrays = st.one_of(
        st.sampled_from(list(good.values())),
        st.sampled_from(["float32", "float16", "float64", "int8", "bool"]).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=24))
        ),
    )
    names = st.sampled_from([*good, *(name.replace("lora_A", "lora_B") for name in good)]) | st.text(max_size=20)
    return st.dictionaries(names, arrays, min_size=1, max_size=3).map(lambda changes: good | changes)


def targets(place):
    """Name of a reader -> `(strategy, function of a case)`; files are written into a folder."""
    peft = TESTS / "adaptation" / "peft" / "clip_lora"
    for name in ("adapter", "configured", "filled"):
        shutil.copytree(peft, place / name)
    adapter, adapted_as = (
        (peft / "adapter_model.safetensors").read_bytes(),
        json.loads((peft / "adapter_config.json").read_text()),
    )
    adapting = kzoo.from_preset(TESTS / "fixtures" / "hf_clip_tiny")
    model = tiny_model(depth=1)
    model.save_to_preset(place / "model")
    model.save(place / "model.keras")
    keras_file = (place / "model.keras").read_bytes()
    steps = model.preprocessor
    model = {path.name: path.read_bytes() for path in (place / "model").iterdir() if path.is_file()}
    config, vocabulary = json.loads(model["config.json"]), json.loads(model["tokenizer.json"])
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 255, (16, 16, 3), "uint8"))
    pictures = {}
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        picture.save(place / "picture", kind)
        pictures[kind] = (place / "picture").read_bytes()
    picture.save(place / "0.png")
    fixtures = TESTS / "fixtures"
    h5 = (TESTS / "presets" / "saved_by_0_1" / "model.weights.h5").read_bytes()
    npz = (fixtures / "bv_siglip_plain" / "model.npz").read_bytes()
    table = b'image,caption\n0.png,"a, cat"\n0.png,"a\nb"\n'

    def written(name, read):
        def run(content):
            (place / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
            read(place / name)

        return run

    def all_tensors(path):
        tensors = TensorFiles(place / path.parent.name, path.stem, endings=(path.suffix[1:],))
        for name in tensors:
            tensors.read(name)

    def all_datasets(path):
        file = Hdf5(path)
        for name in file.shapes:
            file.read(name)

    def foreign(path):
        found = recognise(path.parent)
        if found is not None:
            found.row()

    def all_samples(path):
        shard = path.with_suffix(".tar") if path.suffix == ".json" else path
        index = path if path.suffix == ".json" else None
        for column in ((), "labels"):
            data = kzoo.data.shards(
                shard, steps, 2, shuffle=False, skip_broken=True, columns=column, workers=0, index=index
            )
            for number in range(min(len(data), 8)):
                data[number]

    def written_vocabulary(content):
        config = {"context_length": 8, "pad_id": 0, "clean": "none", "json": json.dumps(content)}
        Preprocessor.from_config({"images": None, "tokenizer": config, "vocabulary": {}}).tokenizer(["a cat"])

    def written_classifier(kept):
        metadata = {"kzoo_classifier": json.dumps(kept)}
        save_file({"zero_shot": np.eye(2, dtype="float32")}, place / "kept.safetensors", metadata)
        classified(place / "kept.safetensors")

    def adapted(path):
        assert not adapters(adapting), "an adapter that was refused has been added"
        load_adapter(adapting, path.parent)
        remove_adapter(adapting)

    def written_tensors(tensors):
        save_file(tensors, place / "filled" / "adapter_model.safetensors")
        adapted(place / "filled" / "adapter_model.safetensors")

    ZeroShot(np.eye(2), ("wren", "robin")).save(place / "classifier.safetensors")
    classifier = (place / "classifier.safetensors").read_bytes()
    kept = {"kind": "ZeroShot", "classes": ["wren", "robin"], "numbers": {"scale": 100.0}}
    for name in ("safetensors", "npz", "foreign", "indexed"):
        (place / name).mkdir()
    record = {"captions": ["a cat", "b"], "caption": "a", "labels": 3}
    png, text = ("0.png", pictures["PNG"]), ("1.txt", b"a")
    tar = tar_of([png, ("0.json", json.dumps(record).encode()), ("1.jpg", pictures["JPEG"]), text])
    (place / "indexed" / "shards.tar").write_bytes(tar)
    known = {"name": "shards.tar", "samples": 2, "bytes": len(tar), "sha256": "0" * 64}
    index = {"kzoo": "shards", "version": 1, "samples": 2, "shards": [known]}
    pairs = {"image": [pictures["PNG"]] * 5, "caption": ["a", "b", "c", "d", "e"], "labels": range(5)}
    found = {
        "json": (st.text(max_size=200) | JSON.map(json.dumps), lambda text: parse_json(text, "a text")),
        "config": (respelt(config), lambda changed: schema.check(flat(changed), "config.json")),
        "tokenizer.json": (respelt(vocabulary), written_vocabulary),
        "manifest": (JSON | respelt({"kzoo": "1", "graphs": {}} | config), written("manifest.json", _manifest)),
        "safetensors": (spoilt(model["model.safetensors"]), written("safetensors/model.safetensors", all_tensors)),
        "classifier": (spoilt(classifier), written("classifier.safetensors", classified)),
        "classifier's metadata": (JSON | respelt(kept), written_classifier),
        "adapter": (spoilt(adapter), written("adapter/adapter_model.safetensors", adapted)),
        "adapter's config": (respelt(adapted_as), written("configured/adapter_config.json", adapted)),
        "adapter's tensors": (tensors_of(load_file(peft / "adapter_model.safetensors")), written_tensors),
        "keras": (spoilt(keras_file), written("model.keras", kzoo.load_model)),
        "npz": (spoilt(npz), written("npz/model.npz", all_tensors)),
        "h5": (spoilt(h5), written("weights.h5", all_datasets)),
        "csv": (spoilt(table), written("pairs.csv", read_source)),
        "jsonl": (spoilt(b'{"image": "0.png", "caption": "a"}\n' * 3), written("pairs.jsonl", read_source)),
        "vocab.txt": (spoilt(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n"), written("vocab.txt", _vocabulary)),
        "spiece.model": (spoilt(b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02"), written("spiece.model", _vocabulary)),
    }
    shards = {
        "tar": (spoilt(tar), written("shards.tar", all_samples)),
        "tar's record": (
            (JSON | respelt(record)).map(lambda each: tar_of([png, ("0.json", json.dumps(each).encode()), text])),
            written("record.tar", all_samples),
        ),
        "index": (JSON | respelt(index), written("indexed/shards.json", all_samples)),
        "parquet": (spoilt(parquet_of(pairs)), written("shards.parquet", all_samples)),
        "parquet's columns": (columns(pictures["PNG"]).map(parquet_of), written("columns.parquet", all_samples)),
    }
    found |= shards | {f"picture {kind}": (spoilt(content), ImageSteps(8)) for kind, content in pictures.items()}
    for name in ("hf_clip_tiny", "hf_siglip_tiny", "hf_align_tiny", "hf_blip_caption_tiny"):
        content = json.loads((fixtures / name / "config.json").read_text())
        found[name] = respelt(content), written("foreign/config.json", foreign)
    return found


def _manifest(path):
    read_manifest(path.parent)


def classified(path):
    EmbeddingClassifier.load(path).predict(np.eye(2))


def _vocabulary(path):
    Tokenizer.from_file(path, 8)(["a cat"])


def rounds(name, strategy, read, until, number):
    """Try a target some times; the error that it must not end with, or None."""
    settings_ = settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )

    @seed(number)
    @settings_
    @given(strategy)
    def attempt(case):
        if time.monotonic() < until:
            outcome(lambda: read(case))

    try:
        attempt()
    except (Exception, Hang):
        return f"== {name}, seed {number}\n{traceback.format_exc()}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", default="", help="part of the name of a target")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed, counts = [], {}
    with tempfile.TemporaryDirectory() as place:
        chosen = {name: each for name, each in targets(Path(place)).items() if options.only in name}
        until, number = time.monotonic() + options.seconds, options.seed
        while time.monotonic() < until and chosen:
            for name, (strategy, read) in list(chosen.items()):
                problem = rounds(name, strategy, read, until, number)
                counts[name] = counts.get(name, 0) + ROUND
                if problem is not None:
                    failed.append(problem)
                    del chosen[name]  # one fault of a reader is enough at a time
            number += 1
    print("\n".join(f"{count:8,} cases of {name}" for name, count in counts.items()))
    print("\n".join(failed), file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
