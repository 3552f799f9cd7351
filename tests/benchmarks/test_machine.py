"""What a run is told of its machine."""

import pytest

from benchmarks.suite import machine

pytestmark = pytest.mark.once
# user, nice, system and idle ticks; the first line is of all processors together
COUNTS = "cpu  {} 0 0 0\ncpu0 {} 0 0 900\ncpu1 5 1 {} 900\ncpu2 9 9 9 900\nintr 7\n"


def test_processes_go_where_there_was_the_least_to_do(tmp_path, monkeypatch):
    file = tmp_path / "stat"
    monkeypatch.setattr(machine, "STATISTICS", file)
    monkeypatch.setattr(machine, "processors", lambda: [0, 1, 2])

    def meanwhile(seconds):
        file.write_text(COUNTS.format(70, 50, 3))

    monkeypatch.setattr(machine.time, "sleep", meanwhile)
    for count, wanted in ((1, [2]), (2, [1, 2]), (3, [0, 1, 2])):
        file.write_text(COUNTS.format(0, 0, 0))
        assert machine.idlest(count) == wanted
    monkeypatch.setattr(machine, "STATISTICS", tmp_path / "not-there")
    assert machine.idlest(1) == [0]


def test_a_machine_is_described_without_its_name():
    found = machine.described("a GPU")
    assert found["accelerator"] == "a GPU" and found["processors"] == len(machine.processors())
    assert machine.platform.node() not in map(str, found.values())
