"""The process of an engine: requests and answers, and what becomes of one that fails."""

import io
import json
import os
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.suite.cases import Case
from benchmarks.suite.machine import processors
from benchmarks.suite.process import EngineError, Process, environment_of
from benchmarks.suite.starts import Started
from benchmarks.suite.worker import Worker, serve, versions

pytestmark = pytest.mark.once
CASE = {"kind": "image", "size": "tiny", "batch": 2, "dtype": "float32"}
# answers what it is told, until a request asks for an end
ECHO = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("do") == "die":
        sys.exit("the disk is full")
    if asked.get("do") == "sleep":
        import time; time.sleep(60)
    print(json.dumps({"versions": {}} | asked.get("answer", {})), flush=True)
"""


def talk(module, *requests):
    answers = io.StringIO()
    serve(Worker(module, {"threads": 1}), map(json.dumps, requests), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_an_engine_is_prepared_run_and_asked_for_its_peak():
    calls = []

    def prepare(case, options, about):
        assert case == Case(**CASE) and options == {"threads": 1}
        about["parameters"] = 7

        def run():
            calls.append(1)
            return np.zeros((2, 24))

        return run

    first, took, peak = talk(
        SimpleNamespace(prepare=prepare), {"do": "prepare", "case": CASE}, {"do": "run"}, {"do": "peak"}
    )
    assert first["shape"] == [2, 24] and first["parameters"] == 7 and first["first"] >= 0.0
    assert took.keys() == {"wall", "cpu"} and took["wall"] > 0.0
    assert len(calls) == 2 + 100  # what is quick is repeated
    assert peak["peak"] is None or peak["peak"] >= first["before"] > 0


def test_what_fails_is_an_answer_and_the_next_request_is_heard():
    def prepare(case, options, about):
        raise ImportError("No module named 'timm'\nand a long explanation")

    asked = {"do": "prepare", "case": CASE}
    first, unknown, again = talk(SimpleNamespace(prepare=prepare), asked, {"do": "dance"}, asked)
    assert first == again == {"error": "ImportError: No module named 'timm'"}
    assert unknown == {"error": "KeyError: 'dance'"}


def started(**options):
    return Process([sys.executable, "-c", ECHO], environment_of(None, 1, [], "."), ".", {"do": "begin"}, **options)


def test_a_process_answers_and_says_why_it_ended():
    process = started()
    try:
        assert process.ask(do="run", answer={"wall": 1.0})["wall"] == 1.0
        with pytest.raises(EngineError, match="^OSError: no$"):
            process.ask(do="run", answer={"error": "OSError: no"})
        for _ in range(2):  # asked again it is still dead
            with pytest.raises(EngineError, match="^ended with status 1: the disk is full$"):
                process.ask(do="die")
    finally:
        process.end()


def test_a_process_that_is_interrupted_as_it_starts_is_ended(monkeypatch):
    made = []

    def interrupted(process, **request):
        made.append(process.child)
        raise KeyboardInterrupt

    monkeypatch.setattr(Process, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        started()
    assert made[0].returncode is not None


def test_a_start_that_is_interrupted_leaves_neither_a_process_nor_a_thread(monkeypatch):
    made, before = [], set(threading.enumerate())

    def interrupted(number, options):
        made.append(number)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "wait4", interrupted)
    start = Started(sys.executable, ["-c", "import time; time.sleep(60)"], dict(os.environ), ".", processors())
    with pytest.raises(KeyboardInterrupt):
        start.ask("run")
    with pytest.raises(ProcessLookupError):
        os.kill(made[0], 0)
    assert not set(threading.enumerate()) - before


def test_a_process_that_takes_too_long_is_given_up():
    process = started(longest=5)
    process.longest = 0.2
    try:
        with pytest.raises(EngineError, match=r"^gave no answer within 0\.2 seconds$"):
            process.ask(do="sleep")
    finally:
        process.end()


def test_an_engine_finds_its_backend_and_threads_and_nothing_that_makes_it_faster_or_slower_alone(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = environment_of(SimpleNamespace(backend="torch"), 3, ["a", "b"], "compiled")
    assert "XLA_FLAGS" not in found and "PYTHONDONTWRITEBYTECODE" not in found
    assert found["KERAS_BACKEND"] == "torch"
    assert found["OMP_NUM_THREADS"] == found["TF_NUM_INTRAOP_THREADS"] == "3"
    assert "KERAS_BACKEND" not in environment_of(None, 3, [], "compiled")


def test_versions_of_what_is_not_installed_are_none():
    assert versions(["numpy", "no-such-package-at-all"]) == {
        "numpy": np.__version__,
        "no-such-package-at-all": None,
    }
