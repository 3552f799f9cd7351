"""Every example runs, in a folder of its own, and what those of losses say of them is so."""

import re
import runpy
from pathlib import Path

import keras
import pytest

from kzoo.models.contrastive import ContrastiveModel

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
TWO_STEPS = {"epochs": 1, "steps_per_epoch": 2}
CLAIMS = {  # of the numbers in the lines of its table, by what stands before them
    "hard_negatives": lambda of: of["HardNegativeContrastive"][1] > 85.0 > of["InfoNCE"][1],  # shapes swapped
    "matryoshka": lambda of: of["Matryoshka 16"][2] > of["InfoNCE 16"][2] + 2.0,  # recall@10
    "simclr_icons": lambda of: min(of["SimCLR"]) > max(of["untrained"]) + 5.0,
    "supcon_digits": lambda of: min(of["SupCon"]) > max(of["untrained"]) + 2.0,
    "symile_xor": lambda of: of["Symile"][0] > 95.0 and of["InfoNCE on pairs"][0] < 12.0,  # chance is 6.2
}


def percentages(printed):
    """The lines that end with percentages: what stands before -> the percentages."""
    lines = (re.match(r"(\D.*?)((?:\s+[\d.]+%)+)(?:$|   of)", line) for line in printed.splitlines())
    return {" ".join(m[1].split()): [float(each[:-1]) for each in m[2].split()] for m in lines if m}


@pytest.mark.one_other
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path, monkeypatch, capsys):
    assert len(path.read_text().splitlines()) <= 60
    monkeypatch.chdir(tmp_path)
    # what they learn depends on no backend: where nothing is claimed of it, and on the others, two steps are enough
    whole = keras.config.backend() == "torch" and path.stem in CLAIMS
    if not whole:
        fit = ContrastiveModel.fit
        monkeypatch.setattr(ContrastiveModel, "fit", lambda *args, **kwargs: fit(*args, **kwargs | TWO_STEPS))
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed.strip()
    if whole:
        assert CLAIMS[path.stem](percentages(printed)), printed


def test_all_are_there():
    names = {"quickstart", "finetune_pairs", "lit", "zero_shot", "export_onnx", "caption_head", "multi_device"}
    assert {path.stem for path in EXAMPLES} == names | set(CLAIMS)
