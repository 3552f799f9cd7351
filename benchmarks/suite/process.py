"""The parent's end of a worker: requests out, answers in, and an error that says what went wrong."""

import json
import os
import queue
import subprocess
import tempfile
import threading

LONGEST = 1800  # seconds that an answer may take: a compiler at work


class EngineError(RuntimeError):
    """An engine cannot do a case; the sentence is what is reported."""


class Process:
    """A worker that runs.

    Args:
        command: list of words.
        environment: dict, all of it.
        folder: that it runs in.
        first: dict, what the worker is told first.
        longest: seconds that an answer may take.
    """

    def __init__(self, command, environment, folder, first, longest=LONGEST):
        self.longest, self.said = longest, tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.versions = self.ask(**first)["versions"]
        except BaseException:  # Ctrl-C, too: nobody else knows of it yet
            self.end()
            raise

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def ask(self, **request) -> dict:
        """Send a request and wait for its answer.

        Raises:
            EngineError: the worker says so, has ended, or takes too long.
        """
        try:
            print(json.dumps(request), file=self.child.stdin, flush=True)
            line = self.lines.get(timeout=self.longest)
        except queue.Empty:
            raise EngineError(f"gave no answer within {self.longest} seconds") from None
        except OSError:
            line = None
        if line is None:
            raise EngineError(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer

    def _last_words(self):
        status = self.child.wait()
        self.said.seek(0)
        lines = [line.strip() for line in self.said if line.strip()]
        why = f"signal {-status}" if status < 0 else f"status {status}"
        return f"ended with {why}" + (f": {lines[-1]}" if lines else "")

    def end(self) -> None:
        """Stop it and give its memory back."""
        self.child.kill()
        self.child.wait()
        for each in (self.child.stdin, self.child.stdout, self.said):
            try:
                each.close()
            except OSError:  # a request that was never read
                continue


def environment_of(engine, threads, paths, cache) -> dict:
    """What a process of an engine finds around it: nothing that speeds up or slows down one of them alone.

    Args:
        engine: an `Engine`, or None.
        threads: how many each library may start.
        paths: that modules are found in, before those of its own environment.
        cache: folder for what torch compiles: of this run alone, so that a first call is a first call.
    """
    ours = ("XLA_FLAGS", "KERAS_BACKEND", "PYTHONPATH", "JAX_COMPILATION_CACHE_DIR")
    # kzoo alone would be compiled by each process, while pip has compiled the others
    ours += ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    kept |= {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    kept |= {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": "1"}
    kept |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONWARNINGS": "ignore"}
    kept |= {"TORCHINDUCTOR_CACHE_DIR": str(cache), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return kept | ({"KERAS_BACKEND": engine.backend} if engine and engine.backend else {})
