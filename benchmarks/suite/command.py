"""The command line of the suite."""

import argparse
import json
import logging
import sys
from pathlib import Path

from benchmarks.suite import cases, engines
from benchmarks.suite.comparing import compared
from benchmarks.suite.machine import accelerator, processors
from benchmarks.suite.report import markdown
from kzoo.drawing import can_draw
from kzoo.files.single import replacing, try_file
from kzoo.files.strict_json import read_object
from kzoo.files.words import said_by

logger = logging.getLogger("benchmarks")

ROUNDS, QUICK_ROUNDS = 15, 3
NUMBERS, TABLES = "results.json", "results.md"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m benchmarks", description="kzoo beside other libraries, in turn.")
    made.add_argument("--quick", action="store_true", help="towers of a few thousand weights and few rounds")
    made.add_argument("--cases", nargs="+", default=[], metavar="CASE", help="by name or kind: image-8, train, import")
    made.add_argument("--engines", nargs="+", default=[], metavar="ENGINE", help='by name: kzoo, "kzoo jax", open_clip')
    made.add_argument("--rounds", type=_count, help=f"of each case; {ROUNDS}, with --quick {QUICK_ROUNDS}")
    made.add_argument("--threads", type=_count, help="of every library; default: all processors")
    made.add_argument("--output", type=Path, default=Path("build/benchmarks"), help="folder for results")
    made.add_argument("--environment", type=Path, default=Path(".venv-bench"), help="of the other libraries")
    made.add_argument("--compare", type=Path, metavar="OLD.json", help="say what became slower beyond the noise")
    made.add_argument("--results", type=Path, metavar="NEW.json", help="of a run that was, in place of a new one")
    return made


def main(words=None) -> int:
    """Measure, write tables and plots, and compare.

    Returns:
        0, or 1 where `--compare` finds something slower, 2 where what was asked for is not there.
    """
    asked = parser().parse_args(words)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logger.setLevel(logging.INFO)
    try:
        old = _read(asked.compare) if asked.compare else None
        results = _read(asked.results) if asked.results else _measured(asked)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(markdown(results))
    if old is None:
        return 0
    lines, slower = compared(old, results)
    print("\n".join(["", f"## Beside {asked.compare.name}", "", *lines]))
    return int(slower)


def write(results, folder) -> None:
    """`results.json`, `results.md`, and a picture of each case where matplotlib is installed."""
    from benchmarks.suite.plots import draw

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {NUMBERS: json.dumps(results, indent=1), TABLES: markdown(results)}.items():
        with replacing(folder / name) as file:
            file.write(f"{text}\n".encode())
    if can_draw():
        draw(results, folder)


def _measured(asked):
    from benchmarks.suite.run import run

    gpu = None if asked.quick else accelerator()
    there = cases.quick() if asked.quick else cases.on_accelerator() if gpu else cases.on_processor()
    chosen, by = cases.chosen(there, asked.cases), engines.chosen(asked.engines, gpu is not None)
    threads = asked.threads or len(processors())
    if threads > len(processors()):
        raise ValueError(f"--threads is {threads}, but there are {len(processors())} processors.")
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    _try_folder(asked.output)
    if not can_draw():
        logger.warning("matplotlib is not installed, so there will be no pictures")

    def keep(results):
        write(results, asked.output)  # after each case, so that what was measured is there whatever comes

    return run(chosen, by, rounds, threads, asked.environment, gpu, keep)


def _try_folder(folder):
    """Stops where results could not be written, before hours go into them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (NUMBERS, TABLES):
            try_file(folder / name)
    except OSError as error:
        raise ValueError(
            f"--output is {folder}, where no results can be written: {said_by(error.strerror or error)}."
        ) from error


def _read(path):
    """Raises ValueError unless a file is what `write` wrote."""
    try:
        results = read_object(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None
    if not {"cases", "clock", "machine"} <= results.keys():
        raise ValueError(f"{path} is no results.json of the suite; it lacks cases, clock or machine.")
    try:
        markdown(results)  # else it is found out once a new run is over
    except Exception as error:  # whatever a part of another kind makes it stumble over
        raise ValueError(f"{path} is no results.json of this suite, or is damaged: {said_by(error)}.") from error
    return results


def _count(text):
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; give a whole number of at least 1")
    return number
