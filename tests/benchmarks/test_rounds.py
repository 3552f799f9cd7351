"""Rounds in turn: who stands beside whom, and engines that fail on the way."""

from dataclasses import dataclass, field

import pytest

from benchmarks.suite import rounds
from benchmarks.suite.cases import Case
from benchmarks.suite.engines import ENGINES
from benchmarks.suite.process import EngineError
from benchmarks.suite.rounds import measure

pytestmark = pytest.mark.once
CASE = Case("image", "tiny", 8)
BY_NAME = {each.name: each for each in ENGINES}
OURS = ["open_clip", "products numpy", "kzoo torch", "kzoo jax", "transformers"]


@dataclass
class Fake:
    """Takes the place of a process, and notes what it is asked."""

    log: list
    name: str
    said: dict
    fails_at: int | None = None
    versions: dict = field(default_factory=lambda: {"numpy": "2"})
    runs: int = 0

    def ask(self, do, case=None):
        if do == "peak":
            return {"peak": 100}
        if do == "prepare":
            return {"prepare": 1.0, "first": 2.0, "shape": [8, 24]} | self.said
        self.runs += 1
        if self.runs == self.fails_at:
            raise EngineError("is tired")
        self.log.append(self.name)
        return {"wall": 1.0, "cpu": 1.0}

    def end(self):
        self.log.append(f"end {self.name}")


def measured(count=2, said=None, fails=None, names=OURS):
    log, made = [], {}

    def start(engine):
        if (said or {}).get(engine.name) == "absent":
            raise EngineError("cannot be installed")
        made[engine.name] = Fake(log, engine.name, (said or {}).get(engine.name, {}), (fails or {}).get(engine.name))
        return made[engine.name]

    return measure(CASE, [BY_NAME[name] for name in names], start, count), log


def test_every_engine_runs_once_a_round_and_another_begins_each_time():
    found, log = measured(3)
    assert [list(seconds) for seconds in found.rounds] == [OURS[n:] + OURS[:n] for n in range(3)]
    assert set(log) >= {f"end {name}" for name in OURS}
    assert found.engines["kzoo jax"]["peak"] == 100 and not found.failed


def test_without_memory_for_all_each_of_the_others_runs_beside_what_its_ratio_is_to(monkeypatch):
    monkeypatch.setattr(rounds, "available", lambda: rounds.SPARE)
    found, log = measured(1)
    beside = OURS[:2]
    assert [set(seconds) for seconds in found.rounds] == [{*beside, name} for name in OURS[2:]]
    assert log.index("end kzoo torch") < log.index("kzoo jax") < log.index("end open_clip")


def test_an_engine_that_fails_is_reported_and_the_others_go_on():
    said = {"transformers": "absent", "kzoo jax": {"shape": [8, 25]}, "kzoo torch": {"parameters": 200}}
    said["open_clip"] = {"parameters": 100}
    found, _ = measured(2, said, {"products numpy": 2})
    assert found.failed == {
        "transformers": "cannot be installed",
        "kzoo jax": "gives an array of shape [8, 25], open_clip one of [8, 24]",
        "kzoo torch": "has a model of 200 parameters, open_clip one of 100",
        "products numpy": "is tired",
    }
    assert [set(seconds) for seconds in found.rounds] == [{"open_clip", "products numpy"}, {"open_clip"}]
    assert set(found.engines) == {"open_clip"}


def test_where_all_fail_there_are_no_rounds():
    found, _ = measured(2, {name: "absent" for name in OURS})
    assert not found.rounds and set(found.failed) == set(OURS)


@pytest.mark.parametrize(("at", "begun"), [("run", OURS), ("prepare", OURS[:1])])
def test_processes_end_where_the_run_is_stopped(at, begun):
    log = []

    class Stopped(Fake):
        def ask(self, do, case=None):
            if do == at:
                raise KeyboardInterrupt
            return super().ask(do, case)

    with pytest.raises(KeyboardInterrupt):
        measure(CASE, [BY_NAME[name] for name in OURS], lambda engine: Stopped(log, engine.name, {}), 1)
    assert set(log) == {f"end {name}" for name in begun}
