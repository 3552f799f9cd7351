"""The process of one engine: reads a request a line as JSON, and answers each with a line.

    {"do": "prepare", "case": {...}}  ->  {"prepare": seconds, "first": seconds, "shape": [...], ...}
    {"do": "run"}                     ->  {"wall": seconds, "cpu": seconds}
    {"do": "peak"}                    ->  {"peak": bytes}

What went wrong is the answer too, `{"error": ...}`. The first line says who this process is, see `begin`.
"""

import gc
import json
import os
import sys
from importlib import import_module, metadata

from benchmarks.suite.cases import Case
from benchmarks.suite.clocks import memory, reset_peak, timed

LEAST_SECONDS = 0.05  # of a measurement: what is quicker is repeated
MOST_REPEATS = 100


class Worker:
    """An engine and the case that it does now.

    Args:
        module: of the engine, with `prepare`.
        options: what `prepare` is given.
    """

    def __init__(self, module, options):
        self.module, self.options, self.run, self.repeats = module, options, None, 1

    def answer(self, request) -> dict:
        return {"prepare": self.prepare, "run": self.measure, "peak": self.peak}[request["do"]](
            **{name: value for name, value in request.items() if name != "do"}
        )

    def prepare(self, case) -> dict:
        """Build what a case needs, and call it twice: the first call compiles, the second says how often to repeat."""
        self.run, about, case = None, {}, Case(**case)
        reset_peak()
        before, found = memory("VmRSS"), []

        def make():
            self.run = self.module.prepare(case, self.options, about)

        prepared = timed(make)
        first = timed(lambda: found.append(self.run()))
        shape = [int(side) for side in getattr(found.pop(), "shape", ())]
        gc.collect()  # else the peak of what builds or opens a model is that of two
        again = timed(self.run)
        self.repeats = max(1, min(MOST_REPEATS, round(LEAST_SECONDS / max(again["wall"], 1e-9))))
        return {"prepare": prepared["wall"], "first": first["wall"], "shape": shape, "before": before} | about

    def measure(self) -> dict:
        gc.collect()  # models are cycles: one that was built before would be freed within what is timed
        return timed(self.run, self.repeats)

    def peak(self) -> dict:
        return {"peak": memory("VmHWM")}


def serve(worker, requests, answers) -> None:
    """Answer until the requests end.

    Args:
        worker: with `answer(request)`.
        requests, answers: text files.
    """
    for line in requests:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:  # whatever a library raises is what is to be reported
            said = next(iter(str(error).strip().splitlines()), "")
            answer = {"error": f"{type(error).__name__}: {said}" if said else type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)


def versions(packages) -> dict:
    """Name -> version of each that is installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def begin(module, threads, processors, packages, options) -> Worker:
    """What the first line says: bound to its processors before a library counts them.

    Args:
        module: name in `engines`.
        threads: of a library that asks for a number.
        processors: numbers of those it may run on.
        packages: whose versions are answered.
        options: of the engine.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors)
    if "torch" in packages:
        import torch

        torch.set_num_threads(threads)
    return Worker(import_module(f"benchmarks.suite.engines.{module}"), options | {"threads": threads})


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    first = json.loads(sys.stdin.readline())
    worker = begin(**first)
    print(json.dumps({"versions": versions(first["packages"])}), file=answers, flush=True)
    serve(worker, sys.stdin, answers)


if __name__ == "__main__":
    main()
