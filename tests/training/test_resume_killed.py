"""Processes that are killed with SIGKILL at steps and at changes of files drawn by chance, and started again."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

KILLS = 2  # more, and others, by KZOO_KILLS and KZOO_KILLS_SEED


def losses(paths):
    """Loss by step of all curves; a step that was made twice has made the same loss twice."""
    found = {}
    for path in paths:
        for line in path.read_text().splitlines():
            step, loss = line.split()
            assert found.setdefault(int(step), loss) == loss, (path.name, step)
    return found


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(tmp_path):
    script = Path(__file__).with_name("killed_runs.py")
    seed = os.environ.get("KZOO_KILLS_SEED", "1")
    kills = os.environ.get("KZOO_KILLS", str(KILLS))
    done = subprocess.run([sys.executable, script, tmp_path, seed, kills], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": -9") >= 2, done.stdout
    pairs = [("whole", "parts")]
    if keras.config.backend() == "torch":
        assert "both: [-9, -9]" in done.stdout, done.stdout
        pairs.append(("together", "both"))
    for whole, parts in pairs:
        whole, parts = tmp_path / whole, tmp_path / parts
        assert losses(parts.glob("curve-*")) == losses(whole.glob("curve-*"))
        with np.load(whole / "end.npz") as before, np.load(parts / "end.npz") as after:
            assert before.files == after.files and len(before.files) > 50
            assert all(np.array_equal(before[name], after[name]) for name in before.files)
    killed = re.search(r"in two processes: \[(-?\d+), -9\]\non (one|three): -9", done.stdout)
    assert killed and int(killed[1]) != 0, done.stdout
    # on one device, on two, on others and on two again: sums are added up in other orders, and nothing else differs
    wanted = losses([tmp_path / "one" / "curve-whole"])
    found = [losses([path]) for path in (tmp_path / "devices").glob("curve-*")]
    assert len(found) == 3 and set().union(*found) == wanted.keys()
    for each in found:
        assert all(abs(float(loss) - float(wanted[step])) < 1e-5 for step, loss in each.items())
    with np.load(tmp_path / "one" / "end.npz") as before, np.load(tmp_path / "devices" / "end.npz") as after:
        np.testing.assert_allclose(after["arr_0"], before["arr_0"], rtol=0, atol=1e-5)
        for name in before.files[1:]:  # Adam makes steps of the noise in biases of keys, which have no gradient
            atol = 1e-3 if before[name].ndim == 1 else 5e-5
            np.testing.assert_allclose(after[name], before[name], rtol=0, atol=atol, err_msg=name)
