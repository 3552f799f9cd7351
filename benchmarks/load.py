"""Opening a checkpoint of the size of ViT-L/14, beside what it is made of and beside transformers.

    KERAS_BACKEND=torch python benchmarks/load.py [PRESET]

Prints, each measured in a process of its own: the time of a plain read of the file, of the library safetensors alone
with every tensor read once, of the look at every number of them, of building the model untrained, of
`kzoo.from_preset`, and of `CLIPModel.from_pretrained` with every weight read once; of `save_to_preset`, and of opening
that folder with `verify=False` and with its fingerprints checked; and by how much the peak of memory rose above what
the imports took, in units of the weights. Needs 5.4 GB of disk for ViT-L/14, which are freed.
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROUNDS = 3
PRESET = sys.argv[1] if len(sys.argv) == 2 else "clip_large_patch14"
RUNS = ("read", "safetensors", "finite", "build", "load", "transformers", "save", "unverified", "verified")


def resident(peak=False):
    """Memory of this process in bytes, now or at its highest."""
    key = "VmHWM:" if peak else "VmRSS:"
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return 1024 * int(line.split()[1])
    raise RuntimeError("this system does not say how much memory a process uses")


def give_back():
    """What was freed goes back to the system; without kzoo, as processes of other libraries call it, too."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def measured(work):
    """Seconds and growth of the peak of memory while `work` runs; its result is kept until then."""
    before, start = resident(), time.perf_counter()
    result = work()
    return {"seconds": time.perf_counter() - start, "bytes": resident(peak=True) - before, "kept": result is not None}


def read(folder):
    def work():
        with open(Path(folder) / "model.safetensors", "rb", buffering=0) as file:
            while file.read(2**24):
                continue
        return True

    return measured(work)


def safetensors(folder):
    from safetensors import safe_open

    def work():
        with safe_open(Path(folder) / "model.safetensors", framework="numpy") as file:
            for name in file.keys():
                file.get_tensor(name).copy()  # as a model holds it
        return True

    return measured(work)


def finite(folder):
    """The look for NaN and infinities alone, at tensors that have just been read, as where a model is filled."""
    from safetensors import safe_open

    from kzoo.files.numbers import check_finite

    spent, before = 0.0, resident()
    with safe_open(Path(folder) / "model.safetensors", framework="numpy") as file:
        for name in file.keys():
            array = file.get_tensor(name).copy()
            start = time.perf_counter()
            check_finite(array, name)
            spent += time.perf_counter() - start
    return {"seconds": spent, "bytes": resident(peak=True) - before, "kept": True}


def build(folder):
    import kzoo

    kzoo.from_preset("clip_nano", load_weights=False)  # imports and starts the backend
    return measured(lambda: kzoo.from_preset(folder, load_weights=False))


def load(folder):
    import kzoo

    kzoo.from_preset("clip_nano", load_weights=False)
    return measured(lambda: kzoo.from_preset(folder))


def save(folder):
    """Over the model of the run before, whose place it takes when it is whole."""
    import kzoo

    model = kzoo.from_preset(folder)
    return measured(lambda: model.save_to_preset(Path(folder) / "kzoo") or model)


def unverified(folder):
    import kzoo

    kzoo.from_preset("clip_nano", load_weights=False)
    return measured(lambda: kzoo.from_preset(Path(folder) / "kzoo", verify=False))


def verified(folder):
    import kzoo

    kzoo.from_preset("clip_nano", load_weights=False)
    return measured(lambda: kzoo.from_preset(Path(folder) / "kzoo"))


def transformers(folder):
    from transformers import CLIPModel

    def work():
        model = CLIPModel.from_pretrained(folder)
        for parameter in model.parameters():
            parameter.sum()  # it maps the file, and reads a weight when it is first used
        return model

    return measured(work)


def write_checkpoint(folder):
    """A CLIP checkpoint of transformers with the tensors of ViT-L/14, all of one random block."""
    from safetensors.numpy import save_file

    from kzoo.layers.initializers import without_values
    from kzoo.presets.build import build
    from kzoo.presets.table import read_row
    from kzoo.weights import transformers_clip
    from kzoo.weights.mapping import expand

    row = read_row(PRESET)
    row["text_encoder"]["eot_id"] = 49407
    model = without_values(build, row)
    config = model_config(row)
    block = np.random.default_rng(0).normal(0, 0.02, 2**26).astype("float32")
    tensors = {}
    for name, _, variables, transform in expand(transformers_clip.entries(config, ()), model):
        parts = [block[: int(np.prod(each.shape))].reshape(each.shape) for each in variables]
        tensors[name] = np.array(transform.to_tensor(parts), order="C")
    save_file(tensors, Path(folder) / "model.safetensors", metadata={"format": "pt"})
    (Path(folder) / "config.json").write_text(json.dumps(config))
    return sum(tensor.nbytes for tensor in tensors.values())


def model_config(row):
    image, text = row["image_encoder"], row["text_encoder"]

    def tower(part):
        return {
            "hidden_size": part["width"],
            "num_hidden_layers": part["depth"],
            "num_attention_heads": part["num_heads"],
            "intermediate_size": part["mlp_dim"],
        }

    vision = tower(image) | {"image_size": image["image_size"], "patch_size": image["patch_size"]}
    words = tower(text) | {"vocab_size": text["vocab_size"], "eos_token_id": text["eot_id"]}
    return {"model_type": "clip", "projection_dim": image["embed_dim"], "vision_config": vision, "text_config": words}


def main():
    if len(sys.argv) == 3:
        print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
        return
    backend = os.environ.get("KERAS_BACKEND", "the default backend")
    with tempfile.TemporaryDirectory() as folder:
        size = write_checkpoint(folder)
        print(f"{PRESET}: {size / 1e9:.2f} GB of weights, {backend}, the fastest of {ROUNDS} runs, in turn")
        results = {}
        for _ in range(ROUNDS):
            for name in RUNS:
                done = subprocess.run(
                    [sys.executable, __file__, name, folder], capture_output=True, text=True, check=True
                )
                results.setdefault(name, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
    seconds = {name: min(each["seconds"] for each in runs) for name, runs in results.items()}
    peaks = {name: max(each["bytes"] for each in runs) / size for name, runs in results.items()}
    for name in results:
        print(f"  {name:<13} {seconds[name]:6.2f} s   peak {peaks[name]:.2f} x the weights")
    made_of = seconds["read"] + seconds["build"]
    print(f"  from_preset / (read + build): {seconds['load'] / made_of:.2f}")
    print(f"  from_preset / transformers:   {seconds['load'] / seconds['transformers']:.2f}")
    print(f"  from_preset / safetensors:    {seconds['load'] / seconds['safetensors']:.2f}")
    print(f"  look at numbers / from_preset: {seconds['finite'] / seconds['load']:.3f}")
    print(f"  with fingerprints / without:  {seconds['verified'] / seconds['unverified']:.2f}")


if __name__ == "__main__":
    main()
