"""Time and memory of a process, as the system counts them."""

import gc
import time
from pathlib import Path

STATUS, CLEARED = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # of the highest memory so far, see proc(5)


def memory(key) -> int | None:
    """Bytes of this process, `"VmRSS"` now or `"VmHWM"` at most; None where the system does not say."""
    if not STATUS.exists():
        return None
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    return None


def reset_peak() -> None:
    """From here on `VmHWM` counts anew, where the system lets a process ask for it."""
    gc.collect()
    try:
        CLEARED.write_text(RESET_PEAK)
    except OSError:  # the peak is then that of all cases so far, which is at least this one's
        return


def timed(run, repeats=1) -> dict:
    """Seconds of a call, `"wall"` by the clock and `"cpu"` of all threads together."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        run()
    return {
        "wall": (time.perf_counter() - wall) / repeats,
        "cpu": (time.process_time() - cpu) / repeats,
    }
