"""The peak of memory while something runs, on the device of the backend, and how much of it is free."""

import ctypes
import gc
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # of Linux
CGROUP, OLD = Path("/sys/fs/cgroup"), "memory/memory"  # of containers, and how their first version named them
COMPILED, LONG = "/jax/core/compile/backend_compile_duration", 1.0  # what jax says of a program, with its seconds


def bytes_of(variable) -> int:
    """Bytes of the numbers of a variable or tensor, those of half a byte rounded up."""
    bits = re.search(r"\d+", keras.backend.standardize_dtype(variable.dtype))  # bool has none
    return math.prod(variable.shape) * (1 if bits is None else -(-int(bits[0]) // 8))


def on_accelerator() -> bool:
    """Whether the backend computes on a device with a memory of its own."""
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_logical_devices("GPU"))
    import torch

    return torch.cuda.is_available()


def can_measure() -> bool:
    """Whether `peak_of` knows the memory that the backend computes in."""
    if on_accelerator():
        return keras.config.backend() != "jax"
    return CLEAR.exists() and os.access(CLEAR, os.W_OK)


def peak_of(run) -> int:
    """By how many bytes the memory in use rises while a function runs, at its highest.

    Raises:
        NotImplementedError: the memory of this process cannot be measured here.
    """
    gc.collect()
    if not on_accelerator():
        return _peak_of_process(run)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats("GPU:0")
        before = tf.config.experimental.get_memory_info("GPU:0")["current"]
        run()
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] - before
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _peak_of_process(run):
    if not CLEAR.exists():
        raise NotImplementedError(
            "the memory of a process is measured on Linux, on a GPU, and on jax, which says it of a compiled step; "
            "measure on one of these, or try a micro_batch_size."
        )
    give_back()  # what was freed before would be taken again without a rise
    before = _resident("VmRSS:")
    CLEAR.write_text("5")  # the peak begins anew
    run()
    return max(0, _resident("VmHWM:") - before)


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library does so when it is asked."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


@contextmanager
def freed_after_compiling() -> Iterator:
    """Within it what XLA took on jax to compile a large program goes back to the system before the program first runs:
    of a training step it is as much as the step itself takes, and would stand beside it."""
    if keras.config.backend() != "jax" or on_accelerator():
        yield
        return
    import jax

    def heard(event, seconds, **about):
        if event == COMPILED and seconds >= LONG:
            give_back()

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)


def _resident(key):
    (line,) = [each for each in STATUS.read_text().splitlines() if each.startswith(key)]
    return 1024 * int(line.split()[1])


def free_memory() -> int | None:
    """Bytes that this process may still take of the memory that steps are computed in; None where nothing says it."""
    if not on_accelerator():
        return _free_on_host()
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        known = jax.local_devices()[0].memory_stats() or {}
        return known["bytes_limit"] - known["bytes_in_use"] if "bytes_limit" in known else None
    if backend == "torch":
        import torch

        return torch.cuda.mem_get_info()[0]
    return _free_of_nvidia()


def _free_of_nvidia():
    """TensorFlow takes all memory of a GPU at once and does not say how much that is."""
    import tensorflow as tf

    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    asked = [command, "--query-gpu=memory.total", "--format=csv,noheader,nounits", "--id=0"]
    total = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    return 2**20 * int(total) - tf.config.experimental.get_memory_info("GPU:0")["current"]


def _free_on_host():
    limits = []
    memory = Path("/proc/meminfo")
    if memory.exists():
        (line,) = [each for each in memory.read_text().splitlines() if each.startswith("MemAvailable:")]
        limits.append(1024 * int(line.split()[1]))
    elif "SC_AVPHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    # a container may have less than its machine
    for most, used in (("memory.max", "memory.current"), (f"{OLD}.limit_in_bytes", f"{OLD}.usage_in_bytes")):
        if (CGROUP / most).exists() and (text := (CGROUP / most).read_text().strip()).isdigit():
            limits.append(int(text) - int((CGROUP / used).read_text()) + _reclaimed((CGROUP / used).parent))
    return max(0, min(limits)) if limits else None


def _reclaimed(group):
    """What of the memory of a container is a copy of files, which gives way."""
    lines = (each.split() for each in (group / "memory.stat").read_text().splitlines())
    return sum(int(size) for name, size in lines if name == "inactive_file")
