"""A training with all that could go wrong when it goes on: dropout, a queue, a schedule, data drawn anew each epoch."""

import keras
from shared_case import numpy, tiny_model, toy_pairs

import kzoo
from kzoo.losses import InfoNCE, QueueContrastive
from kzoo.preprocessing import Augmentation
from kzoo.training import Resume

EPOCHS = 3  # of four steps
PAIRS = toy_pairs(24)


class Killed(BaseException):
    """What a training in this process does not live to see."""


class Curve(keras.callbacks.Callback):
    """The loss of each step by epoch and batch; stops dead after one of them."""

    def __init__(self, dies_after=None, die=None):
        super().__init__()
        self.dies_after, self.die, self.losses = dies_after, die, {}

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.losses[self.epoch, batch] = float(logs["loss"])
        if (self.epoch, batch) == self.dies_after:
            self.die() if self.die else self.stop()

    def stop(self):
        raise Killed


def trainee(loss=None, optimizer=None, seed=1, weight_decay=0.2, dropout=0.1, **options):
    keras.utils.set_random_seed(seed)
    model = tiny_model(depth=1, dropout=dropout)
    queue = QueueContrastive(inputs=("image_embeddings", "text_embeddings"), queue_size=16, dim=12, seed=0)
    rate = keras.optimizers.schedules.CosineDecay(1e-4, 30, warmup_target=2e-3, warmup_steps=4)
    model.compile(
        optimizer or kzoo.training.AdamW(rate, weight_decay=weight_decay),
        loss=loss or InfoNCE() + 0.5 * queue,
        **options,
    )
    return model


def pairs_of(model, **options):
    """A shuffled set, augmented anew each epoch."""
    options = {"seed": 3, "augmentation": Augmentation((0.5, 1.0)), "word_dropout": 0.3} | options
    return kzoo.data.pairs(PAIRS, model.preprocessor, batch_size=6, **options)


def arrays_of(model):
    return model.preprocessor(PAIRS["images"], PAIRS["captions"])


def values_of(model):
    return [numpy(each) for each in (*model.variables, *model.optimizer.variables)]


def train(folder, data=pairs_of, dies_after=None, epochs=EPOCHS, every=2, callbacks=(), make=trainee, **options):
    """`(losses by epoch and batch, history, values of all variables)` of a training; nothing of one that died."""
    model = make()
    x, curve = data(model), Curve(dies_after)
    resume = [] if folder is None else [Resume(folder, every=every)]
    options = {name: each(model) if callable(each) else each for name, each in options.items()}
    try:
        history = model.fit(x, epochs=epochs, verbose=0, callbacks=[curve, *callbacks, *resume], **options)
    except Killed:
        return curve.losses, None, None
    return curve.losses, history, values_of(model)
