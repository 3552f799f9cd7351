"""Rounds in turn: every engine does a case once, then again, so that what slows the machine slows all of them."""

import logging
from dataclasses import dataclass, field

from benchmarks.suite.engines import BASE, LIMIT
from benchmarks.suite.machine import available
from benchmarks.suite.process import EngineError

logger = logging.getLogger("benchmarks")

SPARE = 2 * 2**30  # bytes that stay free while processes stand beside each other
MISCOUNTED = 0.01  # of the parameters: libraries count a table of positions or statistics among them, or do not


@dataclass
class Measured:
    """A case with what was measured.

    Attributes:
        case: the `Case`.
        rounds: list of dicts, engine -> `{"wall": seconds, "cpu": seconds}`.
        engines: engine -> what it said when it was prepared, with its peak of memory.
        failed: engine -> the sentence that says why it took no part.
    """

    case: object
    rounds: list = field(default_factory=list)
    engines: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)


def measure(case, engines, start, rounds) -> Measured:
    """Let engines do a case in turn.

    Those that ratios are to, and the limit, stand beside all others; of the others as many at a time as there is memory
    for, so that each has its rounds beside the same.

    Args:
        case: a `Case`.
        engines: list of `Engine`s that do its kind.
        start: function of an engine to a process with `ask`, `end` and `versions`.
        rounds: how often each does it.
    """
    found, beside, group = Measured(case), {}, {}
    always = [each for each in engines if each.name in (*BASE, *LIMIT)]
    others = [each for each in engines if each not in always]
    try:
        for engine in always:
            _begin(found, beside, engine, start)
        while True:
            group = dict(beside)
            while others and (len(group) == len(beside) or _room_for(found)):
                _begin(found, group, others.pop(0), start)
            _in_turn(found, group, rounds)
            for name in [each for each in group if each not in beside]:
                group[name].end()
            if not others:
                return found
            beside = {name: process for name, process in beside.items() if name not in found.failed}
    finally:
        for process in {**beside, **group}.values():
            process.end()


def _begin(found, group, engine, start):
    """Starts an engine and prepares the case; one that cannot is noted, with its sentence."""
    logger.info("  %s is prepared", engine.name)
    process = None
    try:
        process = start(engine)
        said = process.ask(do="prepare", case=vars(found.case))
        _check_alike(found, said)
        found.engines[engine.name] = said | {"versions": process.versions}
        group[engine.name] = process
        found.engines[engine.name] |= process.ask(do="peak")
    except EngineError as error:
        _fails(found, group, engine.name, process, error)
    except BaseException:  # Ctrl-C while a compiler is at work
        if process is not None:
            process.end()
        raise


def _check_alike(found, said):
    """Engines whose arrays have other shapes, or whose models have other parameters, do not do the same."""
    for name, other in found.engines.items():
        if said["shape"] and other["shape"] and said["shape"] != other["shape"]:
            raise EngineError(f"gives an array of shape {said['shape']}, {name} one of {other['shape']}")
        both = said.get("parameters"), other.get("parameters")
        if all(both) and abs(both[0] - both[1]) > MISCOUNTED * both[1]:
            raise EngineError(f"has a model of {both[0]:,} parameters, {name} one of {both[1]:,}")


def _fails(found, group, name, process, error):
    logger.warning("  %s takes no part: %s", name, error)
    found.failed[name] = str(error)
    found.engines.pop(name, None)
    group.pop(name, None)
    if process is not None:
        process.end()


def _in_turn(found, group, rounds):
    for number in range(rounds):
        seconds, order = {}, list(group)
        for name in order[number % len(order) :] + order[: number % len(order)] if order else ():
            try:
                seconds[name] = group[name].ask(do="run")
            except EngineError as error:
                _fails(found, group, name, group[name], error)
        if seconds:
            found.rounds.append(seconds)
    for name, process in [*group.items()]:
        try:
            found.engines[name]["peak"] = process.ask(do="peak")["peak"]
        except EngineError as error:
            _fails(found, group, name, process, error)


def _room_for(found):
    """Whether the largest process so far would fit once more."""
    free = available()
    largest = max((each.get("peak") or 0 for each in found.engines.values()), default=0)
    return free is None or free > SPARE + largest
