"""What is wrong with a folder, collected: sentences, and the files that no reader would open."""

import os
import stat
from typing import Any

from kzoo.files import limits
from kzoo.files.opening import KINDS, OPENED, check_inside, home_of
from kzoo.files.strict_json import read_json
from kzoo.files.words import on_one_line

LOOKED_AT = (*OPENED, ".onnx", ".data")  # endings of files that some reader opens
BY_NAME = {"tokenizer.json": "VOCABULARY", "vocab.json": "VOCABULARY"}  # JSON files of other sizes than a config


class Findings(list):
    """Sentences on what is wrong, each once."""

    def note(self, sentence) -> None:
        sentence = on_one_line(sentence)  # names in it, also of files, may hold anything
        if sentence not in self:
            self.append(sentence)

    def attempt(self, function, *args) -> Any:
        """What a function returns, or None where it stopped with a sentence, which is noted."""
        try:
            return function(*args)
        except (ValueError, OSError) as error:
            self.note(str(error))
            return None


def check_files(folder, found) -> None:
    """Links that leave a folder, pipes and devices in it, and JSON that is none."""
    home = home_of(folder)
    for path in sorted(folder.iterdir()):
        if not path.name.endswith(LOOKED_AT):
            continue
        if path.is_symlink():
            before = len(found)
            found.attempt(check_inside, path, home)
            if len(found) > before:
                continue
        try:
            mode = stat.S_IFMT(os.stat(path).st_mode)
        except OSError as error:
            found.note(f"{path} cannot be opened: {error.strerror}.")
            continue
        if mode not in (stat.S_IFREG, stat.S_IFDIR):
            found.note(f"{path} is {KINDS.get(mode, 'no regular file')}, but a file is expected.")
        elif path.suffix == ".json" and mode == stat.S_IFREG:
            limit = "INDEX" if path.name.endswith(".index.json") else BY_NAME.get(path.name, "CONFIG")
            found.attempt(read_json, path, getattr(limits, limit), False)
