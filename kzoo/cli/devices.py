"""`kzoo train --devices`: what each backend needs before several devices work together."""

import logging
import os
import sys
import tempfile
import time

LAUNCHED = "TORCHELASTIC_RUN_ID"  # in the environment of a process that torchrun has started
CPU_DEVICES = "KZOO_CPU_DEVICES"  # by which a CPU is asked to stand for so many devices
FAILED, INTERRUPTED = 1, 130  # exit codes
PATIENCE = 3.0  # seconds in which the first process says what went wrong, and the others are ended


def is_first() -> bool:
    """Whether this is the process that shows and writes, of those that torchrun has started or alone."""
    return LAUNCHED not in os.environ or os.environ.get("RANK", "0") == "0"


def let_the_first_speak() -> None:
    """Before an error is said that the first process may have as well: it ends the others."""
    if not is_first():
        time.sleep(PATIENCE)


def split_cpu() -> int:
    """Let the CPU stand for as many devices as the environment says, on jax and TensorFlow; returns how many.

    Raises:
        ValueError: the environment says no number.
    """
    said = os.environ.get(CPU_DEVICES, "1")
    if not said.isdecimal() or int(said) < 1:
        raise ValueError(f"{CPU_DEVICES} is {said!r}; give a whole number of at least 1.")
    count, backend = int(said), os.environ.get("KERAS_BACKEND")
    if count > 1 and backend == "jax":
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", said)
    if count > 1 and backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    return count


def wants_processes(devices, backend) -> bool:
    """Whether processes are to be started, as PyTorch has one for each device."""
    return backend == "torch" and devices is not None and devices > 1 and LAUNCHED not in os.environ


def launch(devices, cpus) -> int:
    """Run this command in as many processes, by the launcher of torchrun; returns the exit code.

    Args:
        devices: how many.
        cpus: for how many devices the CPU stands.

    Raises:
        ValueError: more devices than there are.
    """
    import torch
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    on_gpu = torch.cuda.is_available() and os.environ.get("KERAS_TORCH_DEVICE") != "cpu"
    there = torch.cuda.device_count() if on_gpu else cpus
    if devices > there:
        known = f"{there} GPUs" if on_gpu else "no GPU" if cpus == 1 else f"a CPU that stands for {cpus} devices"
        more = "" if on_gpu else f", or have the CPU stand for devices, which trains no faster: {CPU_DEVICES}={devices}"
        raise ValueError(f"devices is {devices}, but PyTorch sees {known}; give at most as many{more}.")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what failed, the processes say
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=devices,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            run_id="kzoo",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-u", "-m", "kzoo.cli", *sys.argv[1:])
        except ChildFailedError as error:
            codes = [failure.exitcode for failure in error.failures.values()]
            return INTERRUPTED if INTERRUPTED in codes else FAILED
        except (SignalException, KeyboardInterrupt):
            return INTERRUPTED
    return 0
