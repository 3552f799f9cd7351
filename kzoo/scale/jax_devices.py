"""jax: the devices of keras.distribution, among which a batch stays whole: the compiler shares the work."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras

from kzoo.keras_contact import batches_placed
from kzoo.scale.one_device import averaged, count, part_of, scope_of, shared, whole_statistics

__all__ = [
    "averaged",
    "check",
    "count",
    "dealt",
    "feeding",
    "part_of",
    "process",
    "scope_of",
    "shared",
    "started",
    "whole_statistics",
]

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
    return keras.distribution.process_id(), keras.distribution.num_processes()
