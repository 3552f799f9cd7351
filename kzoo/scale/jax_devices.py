"""jax: the devices of keras.distribution, among which a batch stays whole: the compiler shares the work."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np

from kzoo.keras_contact import batches_placed
from kzoo.scale.doing_once import done_by_first
from kzoo.scale.rows import PART, cut, own_rows, whole_rows

# what a launcher sets of each of several processes: keras.distribution, jax itself, a pod of TPUs, Slurm
ADDRESSES = ("KERAS_DISTRIBUTION_JOB_ADDRESSES", "JAX_COORDINATOR_ADDRESS")


# -- start --
@contextmanager
def started(devices=None) -> Iterator:
    """What `kzoo.scale.start` does: `keras.distribution.DataParallel`, or nothing where there is one device."""
    if keras.distribution.distribution() is not None:
        raise RuntimeError(
            f"a keras.distribution.{type(keras.distribution.distribution()).__name__} is set already; build and train "
            "the model under it, or leave it out before kzoo.scale.start()."
        )
    if _of_several_processes():
        _join()
    there = keras.distribution.list_devices()
    if devices is not None and devices > len(there):
        raise ValueError(
            f"devices is {devices}, but jax sees {len(there)}: {', '.join(there[:8])}; give at most as many, or split "
            f"the CPU by JAX_NUM_CPU_DEVICES={devices} in the environment."
        )
    if devices is not None and devices < len(there) and process()[1] > 1:
        raise ValueError(f"devices is {devices}, but {len(there)} belong to the processes of this run; leave it out.")
    if len(there[:devices]) == 1:
        yield
        return
    with keras.distribution.DataParallel(devices=there[:devices], auto_shard_dataset=False).scope():
        yield


def _of_several_processes():
    """Whether the environment says so: that of Keras, of jax, of a pod of TPUs, or of Slurm."""
    several = any(name in os.environ for name in ADDRESSES)
    hosts = os.environ.get("TPU_WORKER_HOSTNAMES", "")
    return several or "," in hosts or (int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in os.environ)


def _join():
    import jax

    if jax.distributed.is_initialized():
        return
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        numbers = [int(os.environ[name]) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID") if name in os.environ]
        keras.distribution.initialize(os.environ["JAX_COORDINATOR_ADDRESS"], *numbers)
    else:
        keras.distribution.initialize()


def process() -> tuple[int, int]:
    """This process, from 0, and how many there are."""
    import jax

    # asked first, as what asks jax for its devices settles that this process has none of others
    return (jax.process_index(), jax.process_count()) if jax.distributed.is_initialized() else (0, 1)


parts_read = process  # data sets give each process its own rows


def check(model) -> None:
    """Stops at a model whose weights are not where the distribution that is set wants them.

    Raises:
        RuntimeError: several processes that were joined, and no distribution.
        ValueError: weights that were made before it was set, or under another one.
        NotImplementedError: a model that is shared among several processes.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        if process()[1] > 1:
            raise RuntimeError(
                f"this is one of {process()[1]} processes of jax, but no distribution is set, so each would train by "
                "itself; build, compile and train within `with kzoo.scale.start():`."
            )
        return
    name = f"keras.distribution.{type(distribution).__name__}"
    if distribution.num_model_replicas < process()[1]:
        raise NotImplementedError(
            f"{name} shares one model among the devices of several processes, of which none could read or save all "
            "weights; let each process hold a whole model, with a mesh whose batch side is a multiple of the processes."
        )
    devices = set(distribution.device_mesh.backend_mesh.devices.flat)
    for variable in (*model.variables, *(model.optimizer.variables if model.compiled else ())):
        if variable.value.sharding.device_set != devices:
            raise ValueError(
                f"{variable.path} is on {len(variable.value.sharding.device_set)} of the {len(devices)} devices of the "
                f"{name}, as it was made before that was set; build the model, its loss and its optimizer within it: "
                "`with kzoo.scale.start():`, or after keras.distribution.set_distribution."
            )


# -- around `fit` and the others --
def feeding() -> Any:
    """Batches whose rows the devices can share are shared; of others every device gets all rows."""
    return nullcontext() if keras.distribution.distribution() is None else batches_placed(placed)


def placed(data) -> tuple:
    """A batch on the devices of the distribution that is set.

    Args:
        data: what a data set yields, with the rows of this process: a dict of arrays, or a tuple that begins with one.
    """
    batch, *rest = keras.utils.unpack_x_y_sample_weight(data)
    shares, count = keras.distribution.distribution().num_model_replicas, process()[1]
    own = len(next(iter(batch.values())))
    rows, parts = own * count, [own] * count
    if PART in batch:
        rows = whole_rows(batch)
        parts = [len(range(*own_rows(rows, index, count).indices(rows))) for index in range(min(rows, count))]
        batch = {name: each for name, each in batch.items() if name != PART}
    even = rows % shares == 0

    def place(array):
        if array is None:
            return None
        return _on_devices(np.asarray(array) if even or count == 1 else _of_all(np.asarray(array), parts, count), even)

    return keras.tree.map_structure(place, (batch, *rest))


def _on_devices(array, even):
    import jax

    distribution = keras.distribution.distribution()
    layout = distribution.get_data_layout(array.shape)
    if not even:
        layout = keras.distribution.TensorLayout([None] * len(array.shape), distribution.device_mesh)
    return jax.make_array_from_process_local_data(layout.backend_layout, array)


def _of_all(array, parts, count):
    """The rows of all processes, of which the first have `parts`, the others none of their own."""
    from jax.experimental import multihost_utils

    most = max(parts)
    padded = np.concatenate([array, np.zeros((most - len(array), *array.shape[1:]), array.dtype)])
    found = multihost_utils.process_allgather(padded)
    return np.concatenate([np.asarray(found[index])[:rows] for index, rows in enumerate(parts)])


def dealt(model, batch) -> dict:
    """The rows of this process of a batch that is given as a whole, on every process."""
    index, count = process()
    return batch if count == 1 else cut(batch, index, count)


def whole(outputs) -> dict:
    """Outputs that every process can read, where several compute them."""
    distribution = keras.distribution.distribution()
    if distribution is None or process()[1] == 1:
        return outputs

    def everywhere(each):
        layout = keras.distribution.TensorLayout([None] * len(each.shape), distribution.device_mesh)
        return keras.distribution.distribute_tensor(each, layout)

    return keras.tree.map_structure(everywhere, outputs)


def once(action, computes=False) -> Any:
    """What process 0 alone does, such as to write a file, while the others wait; all get what it gives.

    Raises:
        NotImplementedError: it `computes` with the model, whose weights are on the devices of all processes.
        RuntimeError: on the others, where process 0 failed; it raises its own error.
    """
    index, count = process()
    if count == 1:
        return action()
    if computes:
        raise NotImplementedError(
            f"this is one of {count} processes of jax, which compute together only; save the model, and export what "
            "was saved in a process of its own."
        )
    return done_by_first(
        action, index, _of_first, "process 0 failed at what it alone does for all processes, such as writing a file."
    )


def _of_first(array):
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(array))


def agreed(value) -> Any:
    """The number that process 0 has, on all of them."""
    return value if process()[1] == 1 else _of_first(np.asarray(value)).item()
