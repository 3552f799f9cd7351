"""One run: which process does what, and what comes out as a dict that JSON can hold."""

import datetime
import logging
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.suite.cases import STARTS
from benchmarks.suite.machine import described, idlest
from benchmarks.suite.making import needed, wanted
from benchmarks.suite.peers import Peers
from benchmarks.suite.process import EngineError, Process, environment_of
from benchmarks.suite.rounds import measure
from benchmarks.suite.starts import Started, words_of

logger = logging.getLogger("benchmarks")

ROOT = Path(__file__).parents[2]


class Run:
    """Starts the processes of engines.

    Args:
        peers: a `Peers`, or None where no engine lives there.
        threads: of every library.
        options: what engines are given beside their own.
        cache: folder for what torch compiles.
    """

    def __init__(self, peers, threads, options, cache):
        self.peers, self.threads, self.options, self.cache = peers, threads, options, cache
        self.processors = idlest(threads)

    def start(self, engine, case) -> Process | Started:
        """The process of an engine for a case.

        Raises:
            EngineError: it cannot be had.
        """
        lacking = () if self.peers is None else [each for each in engine.packages if each in self.peers.failed]
        if engine.peer and lacking:
            raise EngineError(f"{lacking[0]} cannot be installed: {self.peers.failed[lacking[0]]}")
        for what in needed(engine, case):
            if why := self.options["failed"].get((what, case.size)):
                raise EngineError(f"its {what.replace('_', ' ')} cannot be made: {why}")
        python = self.peers.python if engine.peer else sys.executable
        paths = [*(self.peers.paths(engine) if engine.peer else ()), ROOT]
        environment, options = (
            environment_of(engine, self.threads, paths, self.cache),
            {**self.options, **engine.options},
        )
        options.pop("failed")
        if case.kind in STARTS:
            words = words_of(engine, case, options | {"threads": self.threads})
            return Started(python, words, environment, ROOT, self.processors)
        command = [str(python), "-m", "benchmarks.suite.worker"]
        first = {"module": engine.module, "threads": self.threads, "processors": self.processors}
        return Process(command, environment, ROOT, first | {"packages": engine.packages, "options": options})


def run(cases, engines, rounds, threads, environment, gpu=None, keep=lambda results: None) -> dict:
    """Measure.

    Args:
        cases: list of `Case`s.
        engines: list of `Engine`s.
        rounds: of each case.
        threads: of every library.
        environment: folder of the peers' environment.
        gpu: name of the GPU, or None.
        keep: function of the results so far, called after each case.

    Returns:
        dict, as it is written to results.json.
    """
    peers = Peers(environment) if any(each.peer for each in engines) else None
    if peers is not None:
        peers.make()
    results = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": described(gpu),
        "threads": threads,
        # on one processor the seconds of CPU are those of the work, whatever else the machine does meanwhile
        "clock": "cpu" if threads == 1 and gpu is None else "wall",
        "not_installed": {} if peers is None else peers.failed,
        "cases": [],
    }
    with tempfile.TemporaryDirectory(prefix="kzoo-bench-") as folder:
        cache = Path(folder) / "compiled"
        runner = Run(peers, threads, _made(wanted(cases, engines), Path(folder), threads, cache), cache)
        for case in cases:
            logger.info("%s: %s", case.name, case.title)
            able = [each for each in engines if case.kind in each.kinds and _reads(each, case)]
            found = measure(case, able, lambda engine, case=case: runner.start(engine, case), rounds)
            results["cases"].append(asdict(found) | {"name": case.name, "title": case.title})
            keep(results)
    return results


def _reads(engine, case):
    """Whether an engine has the model of a case: keras-hub and transformers have none but CLIP's transformers."""
    return not case.numbers.named or engine.module in ("kzoo_model", "kzoo_export", "open_clip_clip", "products")


def _made(pairs, folder, threads, cache):
    """Options for engines: where exports and checkpoints of each size lie, and why one could not be made."""
    options = {"made": {}, "failed": {}}
    for number, (what, size) in enumerate(pairs):
        logger.info("%s of %s is made", what, size)
        place = folder / f"{number}-{what}"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.suite.making", what, size, str(place)],
            env=environment_of(None, threads, [ROOT], cache) | {"KERAS_BACKEND": "torch"},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            options["failed"][what, size] = next(iter(done.stderr.strip().splitlines()[-1:]), "it says nothing")
            logger.warning("%s of %s: %s", what, size, options["failed"][what, size])
        else:
            options["made"].setdefault(what, {})[size] = str(place)
    return options
