"""TensorFlow: the replicas of a tf.distribute strategy, each of which computes its rows of a batch."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from kzoo.keras_contact import batch_norms, moments_taken
from kzoo.scale import one_device
from kzoo.scale.doing_once import done_by_first
from kzoo.scale.draws import STRIDE, drawing
from kzoo.types import Tensor

SMALL = ("bool", "uint8", "int8", "uint16", "int16")  # dtypes that not every collective of TensorFlow moves
TRIED = ("MirroredStrategy", "MultiWorkerMirroredStrategy", "OneDeviceStrategy")  # of tf.distribute


# -- start --
@contextmanager
def started(devices=None) -> Iterator:
    """What `kzoo.scale.start` does: the scope of a strategy, or nothing where there is one device."""
    import tensorflow as tf

    if tf.distribute.has_strategy():
        raise RuntimeError(
            f"the scope of a tf.distribute.{type(tf.distribute.get_strategy()).__name__} is open already; build and "
            "train the model in it, or leave it before kzoo.scale.start()."
        )
    if workers() > 1:
        if devices is not None:
            raise ValueError(f"devices is {devices}, but TF_CONFIG says what works together; leave it out.")
        strategy = _of_workers()
    else:
        there = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if devices is not None and devices > len(there):
            raise ValueError(
                f"devices is {devices}, but TensorFlow sees {len(there)} of kind {there[0].device_type}; give at most "
                "as many, or split the CPU by tf.config.set_logical_device_configuration before anything is computed."
            )
        names = [each.name for each in there[:devices]]
        if len(names) == 1:
            yield
            return
        strategy = _of_devices(*names)
    with strategy.scope():
        yield


@cache  # collectives of a process are numbered by each strategy from the start: a second one would mix up both
def _of_devices(*names):
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


@cache
def _of_workers():
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy()


def workers() -> int:
    """How many workers TF_CONFIG names, this one among them; 1 where it is not set."""
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    return max(1, sum(len(cluster.get(job, ())) for job in ("chief", "worker")))


def process() -> tuple[int, int]:
    """This worker, from 0, and how many there are."""
    if workers() == 1 or not _of_workers.cache_info().currsize:  # that were not joined
        return 0, 1
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    cluster = json.loads(os.environ["TF_CONFIG"])["cluster"]
    return task["index"] + (len(cluster.get("chief", ())) if task["type"] == "worker" else 0), workers()


def check(model) -> None:
    """Stops at a strategy under which nobody has tried whether a batch gives the gradients that one device gives.

    Raises:
        NotImplementedError: another strategy than those in `TRIED`.
        ValueError: weights that were made outside of its scope, of which each replica needs its own.
    """
    import tensorflow as tf

    strategy = model.distribute_strategy
    name = type(strategy).__name__
    tried = isinstance(strategy, tuple(getattr(tf.distribute, each) for each in TRIED))
    if not tried and name != "_DefaultDistributionStrategy":  # which stands for none
        raise NotImplementedError(
            f"kzoo does not train under tf.distribute.{name}: whether its replicas give the gradients of one device "
            "was never tried; take tf.distribute.MirroredStrategy or MultiWorkerMirroredStrategy, as "
            "kzoo.scale.start() does."
        )
    if strategy.num_replicas_in_sync == 1:
        return
    joined = _of_workers() if _of_workers.cache_info().currsize else None
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and strategy is not joined:
        raise NotImplementedError(
            f"the {name} was not opened by kzoo.scale.start(), without which each worker would show and write what one "
            "does for all; build, compile and train within `with kzoo.scale.start():`."
        )
    optimizer = model.optimizer.variables if model.compiled else ()
    for variable in (*model.variables, *optimizer):
        if not isinstance(variable.value, tf.distribute.DistributedValues):
            raise ValueError(
                f"{variable.path} was made outside of the scope of the {name}, so that its "
                f"{strategy.num_replicas_in_sync} replicas have none of their own; build the model, its loss and its "
                "optimizer within it: `with kzoo.scale.start():`, or `with strategy.scope():`."
            )


def scope_of(model) -> Any:
    """The scope of the strategy that a model was built under."""
    return model.distribute_strategy.scope()


# -- within a step --
def count() -> int:
    """Among how many replicas the batch of this step is shared; 1 outside of a step."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


class Part(one_device.SharedPart):
    """The rows of one replica; see `kzoo.scale.one_device.SharedPart`."""

    def __init__(self, batch):
        import tensorflow as tf

        self.batch = batch
        self.computed = next(iter(batch.values())).shape[0]  # None where it is not known before the step runs
        own = tf.shape(next(iter(batch.values())))[0]
        # the last batch may have no row for a replica: all note what all rows give, so that no mean depends on one
        self.rows = self.own = tf.distribute.get_replica_context().all_reduce("SUM", own)

    def rows_of_all(self, tensor, axis) -> Tensor:
        import tensorflow as tf

        moved = tf.cast(tensor, "int32") if tensor.dtype.name in SMALL else tensor
        whole = tf.distribute.get_replica_context().all_gather(moved, axis=axis)
        shape = tensor.shape.as_list()  # what is static stays so, which a collective forgets
        whole = tf.ensure_shape(whole, [*shape[:axis], None, *shape[axis + 1 :]])
        return tf.cast(whole, tensor.dtype)


def part_of(batch) -> one_device.Part:
    """The part of a batch that this replica was given."""
    return Part(batch) if count() > 1 else one_device.Part(batch)


def shared(loss) -> Any:
    """Every replica has the loss of the whole batch, and their gradients are summed."""
    return loss / count() if count() > 1 else loss


def averaged(gradients) -> list:
    """The sum over the replicas, each of which has the gradient of `shared`; None stays None."""
    import tensorflow as tf

    there = [each for each in gradients if each is not None]
    if count() == 1 or not there:
        return gradients
    summed = iter(tf.distribute.get_replica_context().all_reduce("SUM", there))
    return [None if each is None else next(summed) for each in gradients]


def whole_statistics(model) -> Any:
    """A context in which batch norms of a model take their statistics from the rows of all replicas."""
    return moments_taken(batch_norms(model) if count() > 1 else [], _whole_moments)


def _whole_moments(x, axes, mask):
    """Mean and variance of the rows of all replicas, in two passes, as of one device."""
    import tensorflow as tf

    numbers = tf.cast(x, "float32")
    weights = tf.ones_like(numbers) if mask is None else tf.cast(mask, "float32")[..., None] * tf.ones_like(numbers)
    context = tf.distribute.get_replica_context()
    number, total = (context.all_reduce("SUM", tf.reduce_sum(each, axes)) for each in (weights, weights * numbers))
    mean = tf.math.divide_no_nan(total, number)
    apart = numbers - tf.reshape(mean, [1 if axis in axes else -1 for axis in range(len(x.shape))])
    variance = tf.math.divide_no_nan(context.all_reduce("SUM", tf.reduce_sum(weights * apart**2, axes)), number)
    return tf.cast(mean, x.dtype), tf.cast(variance, x.dtype)


@contextmanager
def own_draws(model) -> Iterator:
    """Within it dropout of a model draws other numbers than on the other replicas, which have other rows.

    What its loss draws stays the same on all of them. So do the seeds that are saved: those of the first replica.
    """
    import tensorflow as tf

    if count() == 1:
        yield
        return
    seeds, number = drawing(model), tf.distribute.get_replica_context().replica_id_in_sync_group
    shift = STRIDE * tf.cast(number, "int64") % 2**31 * tf.constant([1, 0], "int64")
    for each in seeds:
        each.assign(each + tf.cast(shift, each.dtype))
    yield
    for each in seeds:
        each.assign(each - tf.cast(shift, each.dtype))


def logged(results) -> dict:
    """Results of a step as Keras takes them of several workers: it would average scalars over an axis."""
    import tensorflow as tf

    return {name: tf.reshape(each, (1,)) for name, each in results.items()} if process()[1] > 1 else results


def counted_by(value) -> int:
    """How many replicas count in a variable each for itself, as in those of metrics, which read as the sum of all."""
    import tensorflow as tf

    if not isinstance(value, tf.distribute.DistributedValues):
        return 1
    apart = value.synchronization == tf.VariableSynchronization.ON_READ
    summed = value.aggregation == tf.VariableAggregation.SUM
    return value.distribute_strategy.num_replicas_in_sync if apart and summed else 1


# -- beside `fit` --
def dealt(model, batch) -> dict:
    """A batch that is given as a whole, with its rows dealt to the replicas, as `fit` has them dealt by Keras."""
    import tensorflow as tf

    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync == 1:
        return batch
    rows = len(next(iter(batch.values())))
    data = tf.data.Dataset.from_tensor_slices({name: tf.convert_to_tensor(each) for name, each in batch.items()})
    return next(iter(strategy.experimental_distribute_dataset(data.batch(rows))))


# -- of several workers --
def once(action, computes=False) -> Any:
    """What the first worker alone does, such as to write a file, while the others wait; all get what it gives.

    Raises:
        NotImplementedError: it `computes` with the model, or reads its metrics, which workers can only do together.
        RuntimeError: on the others, where the first one failed; it raises its own error.
    """
    index, number = process()
    if number == 1:
        return action()
    if computes:
        raise NotImplementedError(
            f"this is one of {number} workers of TensorFlow, which compute together only; save_to_preset writes the "
            "model, without its optimizer, and what was written can be exported in a process of its own."
        )
    return done_by_first(
        action, index, _of_first, "the first worker failed at what it alone does for all, such as writing a file."
    )


def agreed(value) -> Any:
    """The number that the first worker has, on all of them: they wait for each other."""
    if process()[1] == 1:
        return value
    own = np.frombuffer(np.float64(value).tobytes(), "uint8")
    return np.frombuffer(_of_first(own).tobytes(), "float64").item()


def of_all(array) -> list:
    """An array of the memory of the host as each worker has it, in their order: of one shape and dtype on all."""
    if process()[1] == 1:
        return [array]
    every = _sent(np.frombuffer(array.tobytes(), "uint8")[None], lambda context, own: context.all_gather(own, axis=0))
    return [np.frombuffer(each.tobytes(), array.dtype).reshape(array.shape) for each in every]


def _of_first(array):
    """An array of whole numbers that the first worker has, on all of them: they wait for each other."""
    import tensorflow as tf

    def of_first(context, own):
        return context.all_reduce("SUM", own * tf.cast(tf.equal(context.replica_id_in_sync_group, 0), own.dtype))

    return _sent(array, of_first)


def _sent(array, collective):
    """What a function of the replica's context and of a tensor gives for an array of small whole numbers."""
    import tensorflow as tf

    @tf.function
    def run(own):
        return collective(tf.distribute.get_replica_context(), own)

    strategy = _of_workers()
    found = strategy.run(run, args=(tf.constant(array.astype("int32")),))
    return strategy.experimental_local_results(found)[0].numpy().astype(array.dtype)
