"""Bad input, found before it reaches a graph: each check stops with one sentence."""

import warnings

from kzoo import keras_contact, losses
from kzoo.arguments import AMOUNT, COUNT, INNER, shown
from kzoo.models.slots import rows_of_bag
from kzoo.scale.engine import count
from kzoo.scale.rows import whole_rows


def contents(batch) -> str:
    """What stands where a batch should be, for a sentence: its keys, or its type."""
    return f"the keys {list(batch)}" if isinstance(batch, dict) else f"the type {type(batch).__name__}"


def check_rows(batch) -> None:
    """The arrays of a batch have the same number of rows, at least one."""
    shapes = {name: tuple(value.shape) for name, value in batch.items() if _is_array(name, value)}
    rows = {name: shape[0] for name, shape in shapes.items() if shape}
    if 0 in rows.values() and count() == 1:  # of several replicas one may have no row of the last batch
        raise ValueError(f"the batch is empty: {rows}; give at least one row.")
    if len({count for count in rows.values() if count is not None}) > 1:
        raise ValueError(f"the arrays of a batch have different numbers of rows: {rows}.")


def _is_array(name, value):
    if not hasattr(value, "shape"):
        raise ValueError(
            f"{name!r} of the batch is of type {type(value).__name__}, but an array with a row for each sample is "
            "expected; make one with numpy.asarray, or with model.preprocessor."
        )
    return True


def check_arrays(slot, tower, batch, bag) -> None:
    """The arrays of a slot are what its tower declares, row by row.

    Shapes are checked for every kind of tensor; values only where they are numpy arrays, which is how batches arrive
    from users. Checking tensors would stall an accelerator at every step.
    """
    arrays = slot.given(batch)
    if bag is not None:
        if bag == 0:
            raise ValueError(f"{slot.first} have shape {tuple(batch[slot.first].shape)}: the bags are empty.")
        arrays = {name: rows_of_bag(each) for name, each in arrays.items()}
    tower.check(arrays, slot.arrays, any_size=slot.any_size)


def check_alone(loss, batch, batch_size=None) -> None:
    """Stops at a batch of one row, if the loss tells rows of a batch apart."""
    if loss.needs_two() and 1 in (whole_rows(batch), batch_size):
        raise ValueError(ALONE)


ALONE = (
    "a batch of one pair has no negative, so a contrastive loss is 0 and nothing is learned or measured; give at least "
    "2 rows, and a batch_size of at least 2."
)


def check_fit(epochs, initial_epoch, batch_size) -> None:
    """Numbers of epochs and rows are whole, and not below what there can be."""
    AMOUNT("epochs", epochs)
    AMOUNT("initial_epoch", initial_epoch)
    (COUNT | None)("batch_size", batch_size)


def check_steps(steps_per_epoch) -> None:
    (COUNT | None)("steps_per_epoch", steps_per_epoch)


def check_split(validation_split, batch, loss) -> None:
    """A share of the rows that leaves pairs to train on, and some to measure that tell each other apart.

    Args:
        validation_split: share of the rows that are held out.
        batch: dict of arrays; None of a data set.
        loss: that is trained.

    Raises:
        ValueError: no share, one beside a data set, or one that leaves a single pair on a side.
    """
    if not validation_split:
        return
    if batch is None:
        raise ValueError("validation_split is of arrays, and a data set is given; give another one as validation_data.")
    INNER.said("a share of the rows, a number above 0 and below 1")("validation_split", validation_split)
    rows = next(iter(batch.values())).shape[0]
    trained = int(rows * (1.0 - validation_split))  # as Keras has it
    if loss.needs_two() and 1 in (trained, rows - trained):
        what = "train on" if trained == 1 else "measure"
        raise ValueError(f"validation_split={validation_split} of {rows} rows leaves one to {what}, but {ALONE}")


def check_callbacks(callbacks) -> None:
    for each in callbacks:
        if isinstance(each, type) or not hasattr(each, "set_model"):
            raise TypeError(
                f"callbacks hold {shown(each, typed=True)}; give an object of one, such as "
                "keras.callbacks.EarlyStopping('val_loss')."
            )


def check_class_weight(class_weight) -> None:
    if class_weight is not None:
        raise ValueError(
            "class_weight weighs samples by their class, which pairs do not have; weigh the samples themselves: "
            "sample_weight, an array with a number for each row."
        )


def check_compiled(model) -> None:
    if not model.compiled:
        raise ValueError("the model is not compiled; call model.compile() before it is trained or evaluated.")


def check_trained(model) -> None:
    """What is trained is what the optimizer was made for: Keras compiles its steps for that."""
    if not model.trainable_variables:
        raise ValueError(
            "all weights of the model are locked, so nothing would be trained; set trainable = True of a part, and "
            "call compile again."
        )
    before = keras_contact.optimized(model)
    if before is None:
        return
    now = model.trainable_variables
    lists = {"locked": _without(before, now), "opened": _without(now, before)}
    changes = [f"{len(each)} were {how} (the first is {each[0].path})" for how, each in lists.items() if each]
    if changes:
        raise ValueError(
            f"of the weights that are trained {' and '.join(changes)} since the optimizer was made; call compile "
            "again, with a new optimizer, and fit after that."
        )


def _without(variables, others):
    there = set(map(id, others))
    return [each for each in variables if id(each) not in there]


def check_compile(options) -> None:
    """Arguments of `compile` that Keras has for targets are refused by name."""
    for name in ("metrics", "weighted_metrics"):
        if options.get(name) is not None:
            raise TypeError(
                f"compile was given {name}={options[name]!r}, which compare predictions with targets, and pairs have "
                "none; evaluate gives accuracy and recall by itself, other numbers come from a callback."
            )
    if options.get("loss_weights") is not None:
        raise TypeError(
            f"compile was given loss_weights={options['loss_weights']!r}; weigh the terms of the loss itself: "
            "loss=InfoNCE() + 2.0 * Captioning()."
        )


def check_own_loss(model, loss) -> None:
    """Says that weights of a loss, such as a learnt temperature, go along to a second model."""
    terms = [each for each in keras_contact.layers_within(loss) if isinstance(each, losses.Loss)]
    fixed = {id(constant) for term in terms for constant in term.constants.values()}
    own = [weight for weight in loss.weights if id(weight) not in fixed]
    shared = [each.path for each in own if getattr(each, "trained_by", model.identity) is not model.identity]
    if shared:
        warnings.warn(
            f"the loss was compiled with another model before: {len(shared)} of its weights (the first is "
            f"{shared[0]}) are as that one left them, and both train them from now on; give each model a loss of "
            "its own.",
            stacklevel=4,
        )
    for weight in own:
        keras_contact.untracked(weight, "trained_by", model.identity)
