"""What a process tries that has several devices: each loss on one of them and on all, from the same weights and data.

Run as a script by `test_many_devices.py`, it prints a line of JSON for each case: what it found.
"""

import contextlib
import json
import sys
import tempfile
import traceback

import keras
import numpy as np
from shared_case import batch_of, captioner, numpy, tiny_model, toy_pairs

import kzoo
from kzoo.encoders import VisionTransformer
from kzoo.layers import Head, Projector
from kzoo.layers.heads import Classifier
from kzoo.losses import Captioning, InfoNCE, QueueContrastive, SigmoidContrastive, SupCon, TokenClassification
from kzoo.training import AdamW, EMATeacher

BACKEND, ROWS, STEPS = keras.config.backend(), 8, 3
PAIR = ("image_embeddings", "text_embeddings")


# -- models and data --
def dual():
    return tiny_model(depth=1)


def with_head():
    head = Head(Classifier(320), reads="image_features", gives="token_logits")
    model = dual()
    return type(model).from_config(model.get_config() | {"heads": [head]})


def coca():
    return captioner("coca_nano", toy_pairs(24)["captions"])


def moco():
    tower = VisionTransformer(16, 8, width=24, depth=1, num_heads=2, embed_dim=12, name="image_encoder")
    return kzoo.SelfSupervised(tower, Projector((16, 8), name="projector"), EMATeacher(0.9))


def pairs(model, rows):
    return batch_of(model, rows) | {"labels": np.arange(rows) % 3}


def views(model, rows):
    images = np.repeat(np.repeat(toy_pairs(rows, 16)["images"], 1, 1), 1, 2)
    return {"view_1": images, "view_2": images[:, :, ::-1].copy()}


def sgd():
    return keras.optimizers.SGD(0.1)


def clipped():
    return AdamW(1e-3, global_clipnorm=0.05)


# name -> model, data, loss of a block size, optimizer, policy of gradients
CASES = {
    "info_nce": (dual, pairs, lambda block: InfoNCE(block_size=block), clipped, "sum"),
    "sigmoid": (dual, pairs, lambda block: SigmoidContrastive(scale=5.0, bias=-5.0, block_size=block), sgd, "sum"),
    "teacher": (
        moco,
        views,
        lambda block: QueueContrastive(dim=8, queue_size=20, seed=0, block_size=block),
        sgd,
        "sum",
    ),
    "sup_con": (
        dual,
        pairs,
        lambda block: SupCon(inputs=PAIR, labels="labels", block_size=block),
        sgd,
        "sum",
    ),
    "coca": (coca, pairs, lambda block: InfoNCE(block_size=block) + 2.0 * Captioning(), sgd, "sum"),
    "head": (with_head, pairs, lambda block: TokenClassification() + InfoNCE(block_size=block), sgd, "pcgrad"),
    "sam": (dual, pairs, lambda block: InfoNCE(block_size=block), sgd, "sam"),
}


# -- devices --
def devices():
    """The context in which a model is on all devices."""
    return kzoo.scale.start()


class Steps(keras.callbacks.Callback):
    """The loss that each step logs, which is the mean of the epoch so far."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))


def trained(name, on, block=None, **options):
    make, data, loss, optimizer, gradients = CASES[name]
    keras.utils.set_random_seed(0)
    steps = Steps()
    with on():
        model = make()
        model.compile(optimizer(), loss=loss(block), gradients=gradients, jit_compile=BACKEND == "jax", **options)
        history = model.fit(
            data(model, STEPS * ROWS), batch_size=ROWS, shuffle=False, verbose=0, callbacks=[steps]
        ).history
    return model, steps.losses + [each[-1] for each in history.values()], [numpy(each) for each in model.weights]


def apart(one, other):
    """The largest difference between two lists of arrays."""
    return max(
        float(np.max(np.abs(np.asarray(a, "float64") - b), initial=0.0)) for a, b in zip(one, other, strict=True)
    )


def loss(name):
    _, losses, weights = trained(name, contextlib.nullcontext)
    found = {}
    for kind, options in {"whole": {}, "blocks": {"block": 3}}.items():
        _, of_devices, moved = trained(name, devices, **options)
        found[kind] = [apart(losses, of_devices), apart(weights, moved)]
    return found


def rest():
    """Batches that devices cannot share evenly, in each of the ways into a model."""
    model, _, _ = trained("info_nce", contextlib.nullcontext)
    with devices():
        other, _, _ = trained("info_nce", contextlib.nullcontext)
        found = {}
        for rows in (9, 11, 17, 18):
            batch = pairs(model, rows)
            one, all_devices = (each.evaluate(batch, batch_size=ROWS, verbose=0) for each in (model, other))
            found[f"evaluate {rows}"] = apart(list(one.values()), list(all_devices.values()))
            recalls = [name for name in one if "recall" in name]
            found[f"recall {rows}"] = float(any(one[name] != all_devices[name] for name in recalls) or not recalls)
        predicted = [each.predict(batch, batch_size=ROWS, verbose=0) for each in (model, other)]
        found["predict"] = apart(*([each[name] for name in PAIR] for each in predicted))
        predicted = [each.predict_on_batch(pairs(model, 5)) for each in (model, other)]
        found["predict_on_batch"] = apart(*([numpy(each[name]) for name in PAIR] for each in predicted))
        tested = [each.test_on_batch(pairs(model, 5), return_dict=True) for each in (model, other)]
        found["test_on_batch"] = apart(*([float(value) for value in each.values()] for each in tested))
        logs = [each.train_on_batch(pairs(model, 5), return_dict=True) for each in (model, other)]
        found["train_on_batch"] = apart(*([float(value) for value in each.values()] for each in logs))
        for each in (model, other):
            each.fit(pairs(model, 13), batch_size=ROWS, shuffle=False, verbose=0)
        found["fit"] = apart(*([numpy(value) for value in each.weights] for each in (model, other)))
        found["encode"] = apart([model.encode_text(["a red circle"])], [other.encode_text(["a red circle"])])
    return found


def said(function):
    """The error of a call, "" where there is none."""
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def refused():
    """What is not right on many devices, and what is said of it."""
    before = dual()
    before.compile("sgd")
    found = {}
    with devices():
        found["start"] = said(lambda: devices().__enter__())
        found["compile"] = said(lambda: dual_of(before).compile("sgd"))
        found["fit"] = said(lambda: before.fit(pairs(before, 4), verbose=0))
    found["devices"] = said(lambda: kzoo.scale.start(99).__enter__())
    with kzoo.scale.start(1):
        found["one"] = said(lambda: before.fit(pairs(before, 4), verbose=0))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.distribute.experimental.CentralStorageStrategy(["CPU:0", "CPU:1"]).scope():
            found["strategy"] = said(lambda: dual().compile("sgd"))
    return found


def dual_of(model):
    """Another model of the same layers, not compiled yet."""
    return type(model)(model.image_encoder, model.text_encoder, model.similarity, model.preprocessor)


def saved():
    """A model that was trained on all devices, opened on one."""
    with tempfile.TemporaryDirectory() as folder:
        with devices():
            model, _, _ = trained("info_nce", contextlib.nullcontext)
            model.save_to_preset(f"{folder}/preset")
            model.save(f"{folder}/model.keras")
            whole = [numpy(each) for each in model.weights]
        found = {}
        for name in ("preset", "model.keras"):
            path = f"{folder}/{name}"
            other = keras.models.load_model(path) if name.endswith("keras") else kzoo.from_preset(path)
            found[name] = apart(whole[: len(other.weights)], [numpy(each) for each in other.weights][: len(whole)])
        on_all = said(lambda: model.fit(pairs(model, ROWS), verbose=0))  # after its scope was left
    return found | {"fit afterwards": on_all}


def layouts():
    """Weights that devices share, two by two."""
    mesh = keras.distribution.DeviceMesh((2, 2), ["batch", "model"])
    distribution = keras.distribution.ModelParallel(layout_map=kzoo.scale.layout_map(mesh), auto_shard_dataset=False)
    found = {}
    for name in ("teacher", "coca"):
        _, losses, weights = trained(name, contextlib.nullcontext)
        model, of_devices, moved = trained(name, distribution.scope)
        found[name] = [apart(losses, of_devices), apart(weights, moved)]
        with distribution.scope():
            model.evaluate(CASES[name][1](model, 24), batch_size=9, verbose=0)
        split = [each for each in model.trainable_variables if not each.value.sharding.is_fully_replicated]
        found[f"{name} split"] = sum(each.size for each in map(numpy, split)) / model.count_params()
    return found


def attempt(name, function):
    try:
        print(json.dumps({name: function()}), flush=True)
    except Exception as error:
        traceback.print_exc()
        print(json.dumps({name: f"{type(error).__name__}: {error}"}), flush=True)


if __name__ == "__main__":
    if BACKEND == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    cases = {name: lambda name=name: loss(name) for name in CASES}
    cases |= {"rest": rest, "refused": refused, "saved": saved} | ({"layouts": layouts} if BACKEND == "jax" else {})
    for each in sys.argv[1:] or cases:
        attempt(each, cases[each])
