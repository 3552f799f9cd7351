"""What the numbers were measured on."""

import os
import platform
import time
from pathlib import Path

STATISTICS = Path("/proc/stat")
MOMENT = 0.5  # seconds


def processors() -> list[int]:
    """Numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return [*range(os.cpu_count() or 1)]


def idlest(count) -> list[int]:
    """So many processors that this process may use, those that had the least to do in the last moment.

    Args:
        count: of processors.
    """
    before = _busy()
    time.sleep(MOMENT)
    after = _busy()
    return sorted(sorted(processors(), key=lambda number: after.get(number, 0) - before.get(number, 0))[:count])


def _busy():
    """Processor -> ticks that it has not been idle, where the system counts them."""
    if not STATISTICS.exists():
        return {}
    found = {}
    for line in STATISTICS.read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdigit():
            user, nice, system = map(int, ticks[:3])
            found[int(name[3:])] = user + nice + system
    return found


def available() -> int | None:
    """Bytes of memory that processes can still be given, None where the system does not say."""
    return _of_file("/proc/meminfo", "MemAvailable", lambda text: 1024 * int(text.split()[0]))


def accelerator() -> str | None:
    """Name of the GPU that torch sees, or None; asked of a process of its own, which the driver's memory goes with."""
    import subprocess
    import sys

    asked = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    return done.stdout.strip() or None if done.returncode == 0 else None


def described(gpu=None) -> dict:
    """The machine for a report: never its name."""
    return {
        "processor": _of_file("/proc/cpuinfo", "model name", str) or platform.processor() or platform.machine(),
        "processors": len(processors()),
        "memory": _of_file("/proc/meminfo", "MemTotal", lambda text: 1024 * int(text.split()[0])),
        "accelerator": gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def _of_file(path, key, read):
    if not Path(path).exists():
        return None
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return read(value.strip())
    return None
