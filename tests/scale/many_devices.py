"""What a process tries that has several devices: each loss on one of them and on all, from the same weights and data.

Run as a script by `test_many_devices.py`, it prints a line of JSON for each case: what it found.
"""

import contextlib
import json
import sys
import tempfile
import traceback
from functools import cache

import keras
import numpy as np
from forked import ended, two_forked
from shared_case import batch_of, captioner, numpy, tiny_model, toy_pairs

import kzoo
from kzoo.encoders import VisionTransformer
from kzoo.layers import Head, Projector
from kzoo.layers.heads import Classifier
from kzoo.losses import Captioning, InfoNCE, NTXent, QueueContrastive, SigmoidContrastive, SupCon, TokenClassification
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


def moco(batch_norm=False):
    tower = VisionTransformer(16, 8, width=24, depth=1, num_heads=2, embed_dim=12, name="image_encoder")
    teacher = None if batch_norm else EMATeacher(0.9)
    return kzoo.SelfSupervised(tower, Projector((16, 8), batch_norm=batch_norm, name="projector"), teacher)


def pairs(model, rows):
    return batch_of(model, rows) | {"labels": np.arange(rows) % 3}


def with_a_hole(model, rows):
    """Pairs whose second batch has weights that add up to no finite number."""
    weights = np.ones(rows, "float32")
    weights[ROWS : 2 * ROWS] = 1e38
    return pairs(model, rows) | {"sample_weight": weights}


def views(model, rows):
    images = np.repeat(np.repeat(toy_pairs(rows, 16)["images"], 1, 1), 1, 2)
    return {"view_1": images, "view_2": images[:, :, ::-1].copy()}


def sgd():
    return keras.optimizers.SGD(0.1)


def clipped():
    return AdamW(1e-3, global_clipnorm=0.05)


def losses_of_pairs(block):
    """Several at once: each of them is logged, and what moves the weights is the sum of their gradients."""
    sup_con = SupCon(inputs=PAIR, labels="labels", block_size=block)
    return InfoNCE(block_size=block) + sigmoid(block) + sup_con + TokenClassification()


def sigmoid(block):
    return SigmoidContrastive(scale=5.0, bias=-5.0, block_size=block)


# name -> model, data, loss of a block size, optimizer, policy of gradients
CASES = {
    "pairs": (with_head, pairs, losses_of_pairs, sgd, "sum"),
    "sam": (dual, pairs, sigmoid, clipped, "sam"),
    "pcgrad": (with_head, with_a_hole, lambda block: TokenClassification() + InfoNCE(block_size=block), sgd, "pcgrad"),
    "teacher": (
        moco,
        views,
        lambda block: QueueContrastive(dim=8, queue_size=20, seed=0, block_size=block),
        sgd,
        "sum",
    ),
    "batch_norm": (lambda: moco(True), views, lambda block: NTXent(0.5, block_size=block), sgd, "sum"),
    "coca": (coca, pairs, lambda block: InfoNCE(block_size=block) + 2.0 * Captioning(), sgd, "sum"),
    "plain": (dual, pairs, lambda block: InfoNCE(block_size=block), clipped, "sum"),
}


# forms in which devices are compared with one; rows of a micro-batch are those of one replica on TensorFlow, of all
# devices on jax
WHOLE, IN_PARTS = {}, {"block": 3, "micro_batch_size": 4 if BACKEND == "jax" else 2}
FORMS = {
    **{name: (WHOLE, IN_PARTS) for name in ("pairs", "teacher", "coca")},
    "sam": (WHOLE,),  # in micro-batches each of its passes, as those below, is a step of those above
    "pcgrad": ({"non_finite": "skip"},),  # which leaves out the second step
    "batch_norm": (WHOLE,),  # whose statistics are those of a micro-batch
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
        options |= {"run_eagerly": is_without_graph(), "jit_compile": BACKEND == "jax"}
        model.compile(optimizer(), loss=loss(block), gradients=gradients, **options)
        history = model.fit(
            data(model, STEPS * ROWS), batch_size=ROWS, shuffle=False, verbose=0, callbacks=[steps]
        ).history
    return model, steps.losses + [each[-1] for each in history.values()], [numpy(each) for each in model.weights]


def is_without_graph():
    """On one device TensorFlow takes longer over making a graph than over three steps without one."""
    if BACKEND != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.distribute.has_strategy()


def apart(one, other):
    """The largest difference between two lists of arrays."""
    return max(
        float(np.max(np.abs(np.asarray(a, "float64") - b), initial=0.0)) for a, b in zip(one, other, strict=True)
    )


@cache
def alone(name):
    """Losses and weights of one device, which several cases are compared with."""
    _, *found = trained(name, contextlib.nullcontext, non_finite=FORMS[name][0].get("non_finite", "stop"))
    return found


def loss(name):
    (losses, weights), found = alone(name), {}
    for options in FORMS[name]:
        _, of_devices, moved = trained(name, devices, **options)
        found[str(options)] = [apart(losses, of_devices), apart(weights, moved)]
    return found


def ways():
    """What each way into a model gives for batches that devices cannot share evenly."""
    model, _, _ = trained("plain", contextlib.nullcontext)
    found = {}
    for rows in (9, 18):  # of nine one replica has no row of the last batch
        batch = pairs(model, rows)
        results = model.evaluate(batch, batch_size=ROWS, verbose=0)
        recalls = [name for name in results if "recall" in name]
        found[f"recall {rows}"] = [results[name] for name in recalls]
        found[f"evaluate {rows}"] = [results[name] for name in results if name not in recalls]
    predicted = model.predict(batch, batch_size=ROWS, verbose=0)
    found["predict"] = [predicted[name] for name in PAIR]
    predicted = model.predict_on_batch(pairs(model, 5))
    found["predict_on_batch"] = [numpy(predicted[name]) for name in PAIR]
    for name in ("test_on_batch", "train_on_batch"):
        found[name] = [float(each) for each in getattr(model, name)(pairs(model, 5), return_dict=True).values()]
    model.fit(pairs(model, 13), batch_size=ROWS, shuffle=False, verbose=0)
    found["fit"] = [numpy(each) for each in model.weights]
    found["encode"] = [model.encode_text(["a red circle"])]
    return found


def rest():
    """How far apart one device and all are, in each of the ways into a model."""
    alone = ways()
    with devices():
        found = ways()
    return {name: apart(alone[name], found[name]) for name in alone}


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

        with devices():
            averaged = dual()
            averaged.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=2))
            found["averages"] = said(lambda: averaged.fit(pairs(averaged, 4), verbose=0))
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
            model, _, _ = trained("plain", contextlib.nullcontext)
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
        losses, weights = alone(name)
        model, of_devices, moved = trained(name, distribution.scope)
        found[name] = [apart(losses, of_devices), apart(weights, moved)]
        with distribution.scope():
            model.evaluate(CASES[name][1](model, 24), batch_size=9, verbose=0)
        split = [each for each in model.trainable_variables if not each.value.sharding.is_fully_replicated]
        found[f"{name} split"] = sum(each.size for each in map(numpy, split)) / model.count_params()
    return found


def work():
    """Operations of a step on one of all devices, as a multiple of its share of what one device does for the batch."""
    from compiled_program import program, step_of

    flops = []
    for on in (contextlib.nullcontext, devices):
        with on():
            model = dual()
            model.compile(sgd(), loss=InfoNCE(block_size=8), micro_batch_size=16)
            model.optimizer.build(model.trainable_variables)
            flops.append(program(step_of(model, batch_of(model, 32)))["flops"])
    return 4 * flops[1] / flops[0]


def processes(children, folder):
    """Two processes, on jax of two devices each, and what each of them has."""
    alone, _ = ways_of_processes()
    codes = [ended(child) for child in children]
    if any(codes):
        raise RuntimeError(f"the processes have ended with {codes}")
    found = {}
    for index in range(2):
        with np.load(f"{folder}/{index}.npz") as arrays:
            found |= {f"{name} {index}": apart([alone[name]], [arrays[name]]) for name in alone}
    opened = kzoo.from_preset(f"{folder}/preset")
    return found | {"preset": apart([alone["kernel"]], [numpy(opened.image_encoder.weights[0])])}


def ways_of_processes():
    """What several processes find together, a dict of arrays."""
    model, losses, _ = trained("plain", contextlib.nullcontext)
    found = {"losses": np.array(losses)}
    results = model.evaluate(pairs(model, 17), batch_size=ROWS, verbose=0)
    found["evaluate"] = np.array(list(results.values()))
    found["predict"] = model.predict(pairs(model, 17), batch_size=ROWS, verbose=0)[PAIR[0]]
    model.fit(pairs(model, 13), batch_size=ROWS, shuffle=False, verbose=0)
    return found | {"kernel": numpy(model.image_encoder.weights[0]), "last": numpy(model.weights[-1])}, model


def process(folder):
    """One of several processes."""
    found, model = ways_of_processes()
    model.save_to_preset(f"{folder}/preset")
    np.savez(f"{folder}/{kzoo.scale.process()[0]}.npz", **found)


def attempt(name, function):
    try:
        print(json.dumps({name: function()}), flush=True)
    except Exception as error:
        traceback.print_exc()
        print(json.dumps({name: f"{type(error).__name__}: {error}"}), flush=True)


def main(chosen, folder):
    cases = {name: lambda name=name: loss(name) for name in FORMS}
    cases |= {"rest": rest, "refused": refused, "saved": saved}
    cases |= {"layouts": layouts, "work": work} if BACKEND == "jax" else {}
    if not chosen or "processes" in chosen:  # forks of this one, before it has made anything; they run beside it
        children = two_forked(lambda: process(folder), devices=2)
        cases["processes"] = lambda: processes(children, folder)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    for each in chosen or cases:
        attempt(each, cases[each])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1:], folder)
