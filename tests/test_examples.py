"""Every example runs as it stands, in a folder of its own."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path, monkeypatch, capsys):
    assert len(path.read_text().splitlines()) <= 60
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_all_are_there():
    names = {"quickstart", "finetune_pairs", "lit", "zero_shot", "export_onnx", "caption_head"}
    names |= {"simclr_icons", "supcon_digits", "symile_xor", "matryoshka", "hard_negatives"}
    assert {path.stem for path in EXAMPLES} == names
