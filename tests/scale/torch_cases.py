"""What the processes of tests/scale/test_torch_processes.py do: torchrun torch_cases.py FOLDER.

Each case is run by one process alone, before they are joined, and then by both together. What comes of it is written to
the folder, one file for each who ran it.
"""

import json
import os
import sys
import time
from pathlib import Path

FOLDER, TESTS = Path(sys.argv[1]), Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "losses")]

import keras  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.distributed.fsdp  # noqa: E402
from feeding import DIM, IMAGES, dual, ema, head, preset, single  # noqa: E402

import kzoo  # noqa: E402
from kzoo import losses  # noqa: E402
from kzoo.layers import Head, Projector  # noqa: E402
from kzoo.layers.heads import AdversarialStates, Classifier  # noqa: E402

ROWS, BATCH = 41, 16  # batches of 16, 16 and 9 rows, of which a process has 8, 8, and 5 or 4
UNEVEN = (33, 35, 41, 42)
CAPTIONER = preset("coca_nano")()


def arrays(rows, seed=0, size=IMAGES.shape[1], length=10):
    """Pictures and ids that are all different, so that no recall hangs on a tie."""
    random = np.random.default_rng(seed)
    ids = random.integers(3, 200, (rows, length)).astype("int32")
    ids[:, -1] = 2
    labels = random.integers(0, 4, rows).astype("int32")
    return {
        "images": random.integers(0, 256, (rows, size, size, 3)).astype("uint8"),
        "token_ids": ids,
        "padding_mask": np.arange(length) < random.integers(5, length + 1, (rows, 1)),
        "labels": labels,
    }


def views(rows):
    pictures = [arrays(rows, seed)["images"] for seed in (1, 2)]
    return {"view_1": pictures[0], "view_2": pictures[1], "labels": arrays(rows)["labels"]}


def captioned(rows):
    known = CAPTIONER.preprocessor(texts=["a red circle"])["token_ids"].shape[1]
    return arrays(rows, size=CAPTIONER.image_encoder.inputs[0].shape[0], length=known)


def two_losses(block_size=None):
    """Each of which is logged, and whose gradients move the weights together."""
    sigmoid = losses.SigmoidContrastive(scale=10.0, bias=-10.0, block_size=block_size)
    return losses.InfoNCE(block_size=block_size) + 0.1 * sigmoid


# name -> model, loss, data, options of compile
CASES = {
    "two losses and a head": (
        dual(head(lambda: Classifier(DIM), "image_features", "image_guesses")),
        lambda: two_losses() + losses.InfoNCE(inputs=("image_guesses", "text_embeddings")),
        arrays,
        {},
    ),
    "in blocks": (dual(), lambda: two_losses(4), arrays, {}),
    "in micro-batches": (dual(), losses.InfoNCE, arrays, {"micro_batch_size": 3}),
    "queue with a teacher": (
        single(teacher=ema),
        lambda: losses.QueueContrastive(dim=DIM, queue_size=24, temperature=0.5),
        views,
        {},
    ),
    "views that lie on the second axis": (
        single(lambda: Projector((16, DIM), batch_norm=False, prototypes=8), teacher=ema),
        lambda: losses.DINO(8),
        views,
        {},
    ),
    "labels": (single(), lambda: losses.SupCon(labels="labels"), views, {}),
    "labels in micro-batches": (
        single(lambda: Projector((16, DIM), batch_norm=False)),
        lambda: losses.SupCon(labels="labels"),
        views,
        {"micro_batch_size": 3},
    ),
    "captions": (preset("coca_nano"), lambda: losses.InfoNCE() + 2.0 * losses.Captioning(), captioned, {}),
    "two passes": (dual(), losses.InfoNCE, arrays, {"gradients": "sam"}),
    "gradients by term": (
        dual(),
        lambda: losses.InfoNCE() + losses.SigmoidContrastive(scale=10.0, bias=-10.0),
        arrays,
        # at a rate of 0.1 the last bit of the weights moves what comes of it by 3e-5
        {"gradients": kzoo.training.PCGrad(seed=3), "optimizer": lambda: keras.optimizers.SGD(0.02)},
    ),
    "momentum": (
        dual(),
        losses.InfoNCE,
        arrays,
        {"optimizer": lambda: keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=1.0)},
    ),
}


def trained(name):
    """Loss and weights after three steps of a case."""
    make_model, make_loss, make_data, options = CASES[name]
    keras.utils.set_random_seed(7)
    model = make_model()
    optimizer = options.get("optimizer", lambda: keras.optimizers.SGD(0.1))()
    model.compile(optimizer, loss=make_loss(), **{key: each for key, each in options.items() if key != "optimizer"})
    history = model.fit(make_data(ROWS), batch_size=BATCH, shuffle=False, verbose=0).history
    # by their numbers: in the names of Keras is how many layers a process has made
    weights = {str(number): numpy(each) for number, each in enumerate(weights_of(model))}
    return {f"log {key}": np.array(each) for key, each in history.items()} | weights


def weights_of(model):
    """All that a training changes, but for seeds."""
    return [each for each in [*model.variables, *model.optimizer.variables] if each.name != "seed_generator_state"]


def measured(model):
    """What `evaluate` and `predict` say of sets that no batch divides, by the number of their rows."""
    found = {}
    for rows in UNEVEN:
        data = arrays(rows, seed=rows)
        found |= {f"{rows} {key}": np.array(each) for key, each in evaluated(model, data).items()}
        found |= {f"{rows} {key}": each for key, each in model.predict(data, batch_size=BATCH, verbose=0).items()}
    source = {"images": arrays(35)["images"], "captions": [f"a {number} red circle" for number in range(35)]}
    data = kzoo.data.pairs(source, model.preprocessor, BATCH, shuffle=True)
    found |= {f"pairs {key}": np.array(each) for key, each in model.evaluate(data, verbose=0).items()}
    model.fit(data, epochs=2, verbose=0, validation_data=data.in_order())
    found |= {f"fitted {key}": np.array(each) for key, each in model.history.history.items()}
    return found


def evaluated(model, data):
    return model.evaluate(data, batch_size=BATCH, verbose=0)


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def make_measured():
    keras.utils.set_random_seed(3)
    model = dual()()
    model.compile(keras.optimizers.SGD(0.1), loss=losses.InfoNCE())
    return model


def keep(name, who, found):
    np.savez(FOLDER / f"{name}.{who}.npz", **found)


def said(function):
    """The error of what is refused, as text."""
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


# -- what only several processes can do wrong --
class Noted(keras.layers.Layer):
    """A head with dropout that remembers what it kept."""

    def __init__(self, seed=5, **kwargs):
        super().__init__(**kwargs)
        self.dropout, self.kept, self.built = keras.layers.Dropout(0.5, seed=seed), [], True

    def call(self, x, training=None):
        kept = self.dropout(keras.ops.ones_like(x), training=training)
        if training:
            self.kept.append(numpy(kept))
        return x * kept


class Numbers(torch.utils.data.Dataset):
    """Rows of arrays, which remembers the numbers of those that were asked for."""

    def __init__(self, rows):
        self.arrays, self.asked = arrays(rows), []

    def __len__(self):
        return len(self.arrays["labels"])

    def __getitem__(self, number):
        self.asked.append(number)
        return {name: each[number] for name, each in self.arrays.items()}


def together(index):
    """What is written down of this process, a dict of JSON."""
    found = {}

    # other weights at the start, and dropout
    keras.utils.set_random_seed(index)
    layer = Noted()
    model = dual(lambda: Head(layer, "image_features", "image_noted"))()
    loss = losses.InfoNCE() + losses.InfoNCE(inputs=("image_noted", "text_embeddings"))
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    model.fit(arrays(16), batch_size=16, verbose=0)
    found["kept"] = layer.kept[0].tolist()
    found["weights"] = [float(np.abs(numpy(each)).sum()) for each in model.variables]
    found["seed"] = numpy(layer.dropout.seed_generator.state).tolist()

    # rows of a loader, each read once
    numbers = Numbers(42)
    model.fit(torch.utils.data.DataLoader(numbers, batch_size=8, shuffle=True), verbose=0)
    found["asked"] = sorted(numbers.asked)
    own = torch.utils.data.DataLoader(Numbers(41), batch_size=8)
    found["of a loader"] = [float(each) for each in model.evaluate(own, verbose=0).values()]
    found["of arrays"] = [float(each) for each in model.evaluate(arrays(41), batch_size=8, verbose=0).values()]
    batches = [arrays(8, seed) for seed in range(3)]
    found["of a generator"] = [float(each) for each in model.evaluate(iter(batches), verbose=0).values()]

    # what is refused, on both
    other = (batch | {"images": batch["images"] ^ np.uint8(index)} for batch in batches)
    found["other data"] = said(lambda: model.fit(other, verbose=0))
    found["fewer batches"] = said(lambda: model.fit(iter(batches[: 3 - index]), verbose=0))
    found["backup"] = said(
        lambda: model.fit(arrays(16), callbacks=[keras.callbacks.BackupAndRestore(FOLDER / "b")], verbose=0)
    )
    found["one evaluates"] = said(lambda: evaluated(model, arrays(9)) if index else model.fit(arrays(16), verbose=0))
    moved = preset("coca_nano", head(*ADVERSARIAL))()
    found["a head over rows"] = said(lambda: moved.compile("sgd", loss=losses.Captioning() + losses.AdversarialPairs()))
    found["sharded"] = said(lambda: sharded(single()()))
    found["compiled"] = said(lambda: compiled_by_torch(dual()()))
    found["start again"] = said(lambda: kzoo.scale.start().__enter__())
    found["process"] = kzoo.scale.process()

    # files are written once
    model.save(FOLDER / f"model {index}.keras")
    model.save_to_preset(FOLDER / f"preset {index}")
    model.save_weights(FOLDER / f"model {index}.weights.h5")
    log = keras.callbacks.CSVLogger(FOLDER / f"log {index}.csv")
    best = keras.callbacks.ModelCheckpoint(FOLDER / f"best {index}.keras")
    model.fit(arrays(16), callbacks=[log, best], verbose=0)
    found["saves in vain"] = said(lambda: model.save_to_preset("/dev/null/no"))
    model.fit(arrays(16), epochs=100, callbacks=[kzoo.training.TimeBudget(0.01, 0.1)], verbose=0)
    found["losses"] = model.history.history["loss"]
    found["on a batch"] = {key: float(each) for key, each in model.train_on_batch(arrays(9), return_dict=True).items()}
    return found


ADVERSARIAL = (
    lambda: AdversarialStates(8, 32),
    ("image_tokens", "caption_linear_logits", "caption_labels", "caption_mask"),
    ("source", "target", "imposter", "distant"),
)


def compiled_by_torch(model):
    model.compile("sgd", loss=losses.InfoNCE(), jit_compile=True)
    model.fit(arrays(16), verbose=0)


def sharded(model):
    model.compile("sgd", loss=losses.SupCon(labels="labels"))
    torch.distributed.fsdp.fully_shard(model, mesh=torch.distributed.device_mesh.init_device_mesh("cpu", (2,)))
    model.fit(views(16), verbose=0)


def failing(index, batches):
    for number, batch in enumerate(batches):
        if index == 1 and number == 1:
            raise ZeroDivisionError("process 1 fails here")
        yield batch


def main():
    torch.set_num_threads(1)
    index = int(os.environ["RANK"])
    for number, name in enumerate(CASES):
        if number % 2 == index:
            keep(name, "alone", trained(name))
    if index == 0:
        keep("measured", "alone", measured(make_measured()))
    try:
        with kzoo.scale.start():
            for name in CASES:
                keep(name, index, trained(name))
            keep("measured", index, measured(make_measured()))
            (FOLDER / f"{index}.json").write_text(json.dumps(together(index)))
            make_measured().fit(failing(index, [arrays(8, seed) for seed in range(3)]), verbose=0)
    except BaseException as error:
        (FOLDER / f"{index}.error").write_text(f"{type(error).__name__}: {error}")
        time.sleep(2 * index)  # else torchrun ends the other before it has written its own
        raise


main()
