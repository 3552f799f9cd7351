"""The environment of the other libraries: made beside the project, on the packages that kzoo itself runs on.

All engines thereby have one torch, one jax and one Keras, and the packages of the peers cannot change those of kzoo.
"""

import logging
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from kzoo.files.words import said_by

logger = logging.getLogger("benchmarks")

# none of their needs: what they import is there, and torchvision's would replace a torch without CUDA
PACKAGES = {"open_clip_torch": "open_clip", "timm": "timm", "torchvision": "torchvision", "ftfy": "ftfy"}
PACKAGES |= {"regex": "regex", "transformers": "transformers", "keras-hub": "keras_hub"}
# open_clip borrows the search of a transformers before 5, which lies apart and is seen by open_clip alone
OLDER, OLDER_PACKAGES = "older", ("transformers==4.56.2", "huggingface_hub<1", "tokenizers>=0.22,<0.23")


class Peers:
    """The environment in a folder, with what could not be installed.

    Args:
        folder: of the environment; it is made where it is not there.

    Attributes:
        python: path of its interpreter.
        failed: package -> why it could not be installed.
    """

    def __init__(self, folder):
        self.folder, self.failed = Path(folder).absolute(), {}
        self.python = self.folder / "bin" / "python"

    def make(self) -> None:
        """Install what is not there yet, and note what cannot be."""
        if not self.python.exists():
            logger.info("making %s for the other libraries", self.folder)
            try:
                self._create()
            except (OSError, ValueError, subprocess.CalledProcessError) as error:  # a system without pip, a full disk
                why = f"the environment {self.folder} cannot be made ({said_by(error)})"
                self.failed = dict.fromkeys((*PACKAGES, OLDER), why)
                logger.warning("the other libraries take no part: %s", why)
                return
        self._seen("kzoo_environment.pth").write_text("\n".join(_packages_of_kzoo()) + "\n")
        for package, module in PACKAGES.items():
            if self._finds(module):
                continue
            self._install(package, [package])
        if not (self.folder / OLDER / "transformers").is_dir():
            self._install(OLDER, ["--target", str(self.folder / OLDER), *OLDER_PACKAGES])

    def paths(self, engine) -> list:
        """Folders that an engine's modules are found in first."""
        return [self.folder / OLDER] if engine.module == "open_clip_clip" and OLDER not in self.failed else []

    def _create(self):
        was_there = self.folder.exists()
        try:
            venv.EnvBuilder(with_pip=True).create(self.folder)
        except BaseException:
            if not was_there:  # half of it would pass for all of it in the next run
                shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _seen(self, name):
        (folder,) = self.folder.glob("lib/python*/site-packages")
        return folder / name

    def _finds(self, module):
        asked = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        return subprocess.run([str(self.python), "-c", asked]).returncode == 0

    def _install(self, name, arguments):
        command = [str(self.python), "-m", "pip", "install", "--quiet", "--no-deps", *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            errors = [line for line in lines if line.startswith("ERROR")] or lines
            self.failed[name] = errors[-1] if errors else f"pip ended with status {done.returncode}"
            logger.warning("%s cannot be installed: %s", name, self.failed[name])


def _packages_of_kzoo():
    """Folders of packages that this interpreter has, those that its own `.pth` files add too."""
    own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return sorted(own | {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))})
