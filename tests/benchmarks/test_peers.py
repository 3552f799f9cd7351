"""The environment of the other libraries, without a network."""

import sys
from types import SimpleNamespace

import pytest

from benchmarks.suite import peers as module
from benchmarks.suite.cases import Case
from benchmarks.suite.engines import ENGINES
from benchmarks.suite.peers import OLDER, PACKAGES, Peers
from benchmarks.suite.process import EngineError
from benchmarks.suite.run import Run

pytestmark = pytest.mark.once
NO = "ERROR: No matching distribution found for {}"


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """An environment that is there already, in which nothing can be found and nothing be installed."""
    asked = []

    def without_network(command, **options):
        asked.append(command)
        return SimpleNamespace(returncode=1, stdout="", stderr=f"a warning\n{NO.format(command[-1])}\n")

    found = Peers(tmp_path / "peers")
    (found.folder / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    found.python.parent.mkdir()
    found.python.symlink_to(sys.executable)
    monkeypatch.setattr(module.subprocess, "run", without_network)
    found.make()
    found.asked = asked
    return found


def test_packages_that_cannot_be_installed_are_reported_with_what_pip_says(peers):
    assert set(peers.failed) == {*PACKAGES, OLDER}
    assert peers.failed["timm"] == NO.format("timm")
    assert all("--no-deps" in command for command in peers.asked if "install" in command)
    (seen,) = peers.folder.glob("lib/*/site-packages/*.pth")
    assert any(line.endswith("site-packages") for line in seen.read_text().splitlines())


def test_an_engine_of_such_a_package_takes_no_part_and_those_of_kzoo_do(peers):
    run = Run(peers, 1, {"failed": {("export", "tiny"): "no room"}}, "compiled")
    by_name = {each.name: each for each in ENGINES}
    case = Case("image", "tiny", 8)
    with pytest.raises(EngineError, match="^open_clip_torch cannot be installed: ERROR: No matching distribution"):
        run.start(by_name["open_clip"], case)
    with pytest.raises(EngineError, match="^its export cannot be made: no room$"):
        run.start(by_name["kzoo onnx"], case)
    with pytest.raises(EngineError, match="^its checkpoint cannot be made: full$"):
        run.options["failed"]["checkpoint", "tiny"] = "full"
        run.start(by_name["kzoo jax"], Case("open", "tiny"))
    assert peers.paths(by_name["open_clip"]) == []  # it could not be had


def test_an_environment_that_cannot_be_made_is_reported_and_nothing_of_it_is_left(tmp_path, monkeypatch):
    class Without:
        def __init__(self, with_pip):
            assert with_pip

        def create(self, folder):
            (folder / "bin").mkdir(parents=True)
            (folder / "bin" / "python").touch()
            raise module.subprocess.CalledProcessError(1, ["python", "-m", "ensurepip"])

    monkeypatch.setattr(module.venv, "EnvBuilder", Without)
    found = Peers(tmp_path / "peers")
    found.make()
    assert set(found.failed) == {*PACKAGES, OLDER} and "ensurepip" in found.failed["timm"]
    assert not found.folder.exists()
    found.folder.write_text("a file")
    found.make()
    assert "cannot be made" in found.failed["timm"] and found.folder.read_text() == "a file"


def test_every_engine_has_its_module():
    folder = module.Path(module.__file__).parent / "engines"
    for name in {each.module for each in ENGINES}:
        assert "\ndef prepare(case, options, about):" in (folder / f"{name}.py").read_text()
