"""Cases of which every round is a process of its own: what is imported is imported once."""

import os
import subprocess
import sys
import tempfile
import threading
import time

from benchmarks.suite.process import EngineError

IMPORTED = "from benchmarks.suite.engines.{} import imported; imported()"
RUNTIME = """
import sys
from kzoo.export import runtime
import numpy as np
model = runtime.load(sys.argv[1], threads=int(sys.argv[2]))
side = int(sys.argv[3])
model.embed_batch({"images": np.zeros((1, side, side, 3), "uint8")})
assert "keras" not in sys.modules
"""
IMPORTS = {
    "kzoo_model": "import keras, kzoo",  # which registers all of its classes
    "keras_alone": "import keras",
    **{name: IMPORTED.format(name) for name in ("open_clip_clip", "transformers_clip")},
}


def words_of(engine, case, options) -> list[str]:
    """What an interpreter is started with, for an engine and a case of `STARTS`."""
    if case.kind == "import":
        return ["-c", IMPORTS[engine.module]]
    if case.kind == "help":
        return ["-c", "import sys; sys.argv = ['kzoo', '--help']; from kzoo.cli import main; main()"]
    size = case.numbers
    return ["-c", RUNTIME, options["made"]["export"][case.size], str(options["threads"]), str(size.image_size)]


class Started:
    """Looks like a worker to `rounds.measure`, and starts a process for each request.

    Args:
        python: path of the interpreter.
        words: what it is started with.
        environment, folder: as `Process` takes them.
        processors: numbers of those that it may run on.
        longest: seconds that it may take.
    """

    versions: dict = {}

    def __init__(self, python, words, environment, folder, processors, longest=600):
        self.command, self.environment, self.folder = [str(python or sys.executable), *words], environment, folder
        self.processors, self.longest, self.highest = processors, longest, 0

    def ask(self, do, case=None) -> dict:
        if do == "peak":
            return {"peak": self.highest}
        took = self._once()
        return {"prepare": 0.0, "first": took["wall"], "shape": []} if do == "prepare" else took

    def _once(self):
        start = time.perf_counter()
        with tempfile.TemporaryFile("w+") as said:
            child = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(child.pid, self.processors)
            watch = threading.Timer(self.longest, child.kill)
            watch.start()
            try:
                _, status, used = os.wait4(child.pid, 0)
                wall = time.perf_counter() - start
            except BaseException:  # Ctrl-C
                child.kill()
                child.wait()
                raise
            finally:
                watch.cancel()  # else the run would wait for it
                watch.join()  # it ends a moment after it is told
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                said.seek(0)
                lines = [line.strip() for line in said if line.strip()]
                raise EngineError(lines[-1] if lines else f"ended with status {child.returncode}")
        self.highest = max(self.highest, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        return {"wall": wall, "cpu": used.ru_utime + used.ru_stime}

    def end(self) -> None:
        """There is nothing left to stop: each process ends by itself."""
