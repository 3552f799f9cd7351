"""Medians, ratios, tables, pictures, and what became slower."""

import json

import numpy as np
import pytest
from PIL import Image
from shared_case import TESTS

from benchmarks.suite import command
from benchmarks.suite.cases import Case, chosen, on_accelerator, on_processor, quick
from benchmarks.suite.comparing import compared
from benchmarks.suite.engines import ENGINES, kzoo_model
from benchmarks.suite.engines import chosen as chosen_engines
from benchmarks.suite.report import markdown, of_limit, speeds
from benchmarks.suite.statistics import Spread, changed, ratios, spread
from benchmarks.suite.work import operations_of, passes_of, products_of

pytestmark = pytest.mark.once
MACHINE = {"processor": "A processor", "processors": 4, "memory": 8 * 10**9, "accelerator": None, "system": "Linux"}
MACHINE |= {"python": "3.12.1", "load": 0.1}
CASE = {"kind": "image", "size": "tiny", "batch": 8, "dtype": "float32"}


def results(rounds, peaks=None, machine=None, failed=None, case=CASE):
    """A run of one case; `rounds` is a list of dicts, engine -> seconds."""
    names = {name for each in rounds for name in each}
    said = {name: {"first": 1.5, "prepare": 2.0, "shape": [8, 24], "versions": {"torch": "2.13"}} for name in names}
    for name, peak in (peaks or {}).items():
        said[name]["peak"] = peak
    found = {"case": case, "name": Case(**case).name, "title": Case(**case).title, "engines": said}
    found |= {"rounds": [{name: {"wall": 9.0, "cpu": each[name]} for name in each} for each in rounds]}
    run = {"machine": MACHINE | (machine or {}), "threads": 1, "clock": "cpu", "when": "now", "not_installed": {}}
    return run | {"cases": [found | {"failed": failed or {}}]}


SLOW_MACHINE = [1.0, 2.0, 4.0, 1.0]  # seconds of a round vary by what else the machine does; the ratio does not
ROUNDS = [
    {"open_clip": 2 * t, "open_clip compiled": (3 if n else 1) * t, "kzoo torch": t, "products jax": t / 2}
    for n, t in enumerate(SLOW_MACHINE)
]


def test_ratios_are_to_the_faster_of_the_same_round():
    assert ratios(ROUNDS, "kzoo torch", ("open_clip", "open_clip compiled")) == [1.0, 2.0, 2.0, 2.0]
    assert ratios(ROUNDS, "absent", ("open_clip",)) == ratios(ROUNDS, "kzoo torch", ("absent",)) == []
    assert speeds(results(ROUNDS), results(ROUNDS)["cases"][0])["kzoo torch"] == Spread(2.0, 1.75, 2.0, 4)


def test_spread_is_that_of_numpy():
    numbers = np.random.default_rng(0).random(11)
    found = spread(numbers)
    assert (found.low, found.median, found.high) == tuple(np.quantile(numbers, (0.25, 0.5, 0.75)))
    with pytest.raises(ValueError, match="no rounds"):
        spread([])


def test_the_limit_is_the_fastest_library_of_each_round():
    run = results(
        [{"products jax": 1.0, "products numpy": 2.0, "kzoo jax": 2.0}, {"products numpy": 1.0, "kzoo jax": 4.0}]
    )
    assert of_limit(run, run["cases"][0])["kzoo jax"].median == pytest.approx(np.median([0.5, 0.25]))


def test_tables_are_sorted_by_time_and_name_what_took_no_part():
    run = results(ROUNDS, {"kzoo torch": 5 * 10**8}, failed={"transformers": "cannot be installed: no network."})
    run["not_installed"] = {"timm": "no network"}
    text = markdown(run)
    rows = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["engine", "products alone, by jax", "kzoo torch", "open_clip", "open_clip compiled"]
    assert "| kzoo torch | 2.00 (1.75 to 2.00) | 1500.0 (1000.0 to 2500.0) | 50% | 1.50 | 2.00 | 500 |" in text
    assert "- transformers took no part: cannot be installed: no network.\n" in text
    assert "- timm cannot be installed: no network" in text and "Versions: torch 2.13." in text
    assert "(No ratio: open_clip took no part.)" in markdown(results([{"kzoo jax": 1.0}]))
    assert "No engine did this." in markdown(results([]))


def test_imports_are_beside_keras_on_the_same_backend():
    run = results([{"keras jax": 1.0, "kzoo jax": 2.0, "open_clip": 4.0}], case=CASE | {"kind": "import"})
    assert speeds(run, run["cases"][0])["kzoo jax"].median == 0.5 and "times as fast as Keras alone" in markdown(run)


def test_on_a_gpu_the_share_of_its_peak_is_a_column():
    case = {"kind": "train", "size": "ViT-L/14", "batch": 64, "dtype": "bfloat16"}
    half = 2 * operations_of(Case(**case)) / 989e12
    text = markdown(results([{"kzoo jax": half, "open_clip": half}], machine={"accelerator": "NVIDIA H100"}, case=case))
    assert "| 494 | 50% |" in text or "| 495 | 50% |" in text


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (Spread(2.0, 1.98, 2.02, 9), Spread(1.6, 1.59, 1.61, 9), -0.2),
        (Spread(2.0, 1.98, 2.02, 9), Spread(2.5, 2.49, 2.51, 9), 0.25),
        (Spread(2.0, 1.5, 2.5, 9), Spread(1.6, 1.3, 1.9, 9), 0.0),  # within the quartiles
        (Spread(2.0, 2.0, 2.0, 9), Spread(1.96, 1.96, 1.96, 9), 0.0),  # by what two runs of the same differ
    ],
)
def test_a_change_is_one_beyond_the_noise(before, after, wanted):
    assert changed(before, after) == pytest.approx(wanted)


def test_slower_heavier_and_broken_engines_are_named():
    old = results(
        [{"open_clip": 2.0, "kzoo jax": 1.0, "kzoo torch": 1.0, "transformers": 2.0}] * 4, {"kzoo torch": 10**8}
    )
    new = results(
        [{"open_clip": 4.0, "kzoo jax": 4.0, "kzoo torch": 1.0}] * 4,
        {"kzoo torch": 2 * 10**8},
        failed={"transformers": "no."},
    )
    lines, worse = compared(old, new)
    assert worse and set(lines) == {
        "- image-8, kzoo jax is 2.00 times slower: 2.00 times as fast as open_clip before, now 1.00 times as fast as "
        "open_clip.",
        "- image-8, kzoo torch is 2.00 times faster: 2.00 times as fast as open_clip before, now 4.00 times as fast as "
        "open_clip.",
        "- image-8, kzoo torch takes more memory: 100 MB before, now 200 MB.",
        "- image-8, transformers does not run any more: no.",
    }
    assert compared(old, old) == (["- Nothing became slower beyond the noise."], False)


def test_seconds_are_compared_on_the_same_machine_only():
    old, new = results([{"kzoo onnx": 1.0}] * 3), results([{"kzoo onnx": 2.0}] * 3)
    assert compared(old, new) == (["- image-8, kzoo onnx is 2.00 times slower: 1000.0 ms before, now 2000.0 ms."], True)
    elsewhere = results([{"kzoo onnx": 2.0}] * 3, machine={"processor": "Another"})
    lines, worse = compared(old, elsewhere)
    assert not worse and "cannot be compared" in lines[0]
    other = results([{"kzoo onnx": 1.0}], case=CASE | {"kind": "text"})
    assert compared(old, other) == (["- The two runs have no case in common."], False)


def test_the_command_compares_files_and_says_what_it_cannot_read(tmp_path, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    command.write(results(ROUNDS), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results(ROUNDS)
    with Image.open(tmp_path / "run" / "image-8.png") as picture:
        assert picture.format == "PNG" and picture.width > 500
    old.write_text(json.dumps(results(ROUNDS)))
    new.write_text(json.dumps(results([each | {"kzoo torch": 2 * each["kzoo torch"]} for each in ROUNDS])))
    assert command.main(["--results", str(new), "--compare", str(old)]) == 1
    assert "kzoo torch is 2.00 times slower" in capsys.readouterr().out
    assert command.main(["--results", str(old), "--compare", str(old)]) == 0
    new.write_text('{"cases": []}')
    assert command.main(["--results", str(new)]) == 2
    assert "lacks cases, clock or machine" in capsys.readouterr().err
    assert command.main(["--quick", "--cases", "dance"]) == command.main(["--quick", "--engines", "dance"]) == 2


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"{", b"[" * 10**5, b"[]", b'{"cases": 3, "clock": "cpu", "machine": {}}', b'{"a": 1, "a": 2}', None],
)
def test_a_damaged_file_is_refused_before_anything_is_measured(content, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "_measured", None)
    old = tmp_path / "old.json"
    if content is not None:
        old.write_bytes(content)
    assert command.main(["--quick", "--compare", str(old)]) == 2
    said = capsys.readouterr().err
    assert str(old) in said and said.count("\n") == 1
    without_rounds = results(ROUNDS)
    without_rounds["cases"][0].pop("rounds")
    old.write_text(json.dumps(without_rounds))
    assert command.main(["--results", str(old)]) == 2 and "rounds" in capsys.readouterr().err


def test_a_folder_that_takes_no_results_is_refused_before_anything_is_measured(tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "results.json").mkdir(parents=True)
    for name in ("file", "file/below", "taken"):
        assert command.main(["--quick", "--output", str(tmp_path / name)]) == 2
        assert f"--output is {tmp_path / name}, where no results can be written" in capsys.readouterr().err


def test_without_matplotlib_there_are_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "can_draw", lambda: False)
    command.write(results(ROUNDS), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "results.md"]


def test_what_stopped_in_the_middle_says_after_how_many_rounds():
    text = markdown(results([*ROUNDS, {"open_clip": 1.0}], failed={"kzoo torch": "killed.", "timm": "absent."}))
    assert "- kzoo torch stopped after 4 of 5 rounds: killed.\n- timm took no part: absent.\n" in text


def test_a_round_or_two_do_not_show_the_noise():
    old, new = results([{"kzoo onnx": 1.0}] * 3), results([{"kzoo onnx": 2.0}] * 2)
    lines, worse = compared(old, new)
    assert not worse and lines == [
        "- image-8, kzoo onnx cannot be compared: fewer than 3 rounds do not show the noise."
    ]


def test_cases_and_engines_have_names_of_their_own_and_are_chosen_by_them():
    for cases in (on_processor(), on_accelerator(), quick()):
        names = [each.name for each in cases]
        assert len(set(names)) == len(names)
        assert chosen(cases, []) == cases and chosen(cases, [names[0]]) == cases[:1]
    assert [each.name for each in chosen(on_processor(), ["train"])] == ["train-8", "train-32"]
    with pytest.raises(ValueError, match=r"^no case image-256-bfloat16 \(image-256-bfloat16: on a GPU alone.*image-8"):
        chosen(on_processor(), ["image-256-bfloat16"])
    assert len({each.name for each in ENGINES}) == len(ENGINES)
    assert [each.name for each in chosen_engines(["kzoo jax", "open_clip"])] == ["open_clip", "kzoo jax"]
    assert {each.module for each in chosen_engines(["products"])} == {"products"} and len(
        chosen_engines(["keras"])
    ) == 3
    assert {each.backend for each in chosen_engines(["kzoo"], accelerator=True)} == {"torch", "jax"}


def test_products_are_those_of_a_forward_pass():
    found = products_of(Case("image", "tiny", 2))
    # by hand: 16 patches of 8 x 8 pixels, two blocks of width 48 on 17 tokens with 3 heads, a projection to 24
    assert found == {
        (1, 32, 192, 48): 1,
        (1, 34, 48, 144): 2,
        (1, 34, 48, 48): 2,
        (1, 34, 48, 192): 2,
        (1, 34, 192, 48): 2,
        (6, 17, 16, 17): 2,
        (6, 17, 17, 16): 2,
        (1, 2, 48, 24): 1,
    }
    both = operations_of(Case("image", "ViT-B/32", 8)) + operations_of(Case("text", "ViT-B/32", 8))
    assert operations_of(Case("train", "ViT-B/32", 8)) == 3 * both
    with pytest.raises(ValueError, match="not counted"):
        products_of(Case("open", "tiny"))


@pytest.mark.parametrize(("size", "parameters"), [("RN50", 38_316_896), ("ConvNeXt-tiny", 28_606_560)])
def test_products_of_a_convolutional_tower_have_its_weights(size, parameters):
    weights = sum(
        inner * columns * times
        for (count, _, inner, columns), times in products_of(Case("image", size, 1)).items()
        if count == 1
    )
    assert 0.98 < weights / parameters < 1  # the rest are norms, biases, depthwise kernels and positions
    assert operations_of(Case("image", size, 8)) == 8 * operations_of(Case("image", size, 1))


def test_products_of_captions_are_those_of_each_id_and_of_each_beam():
    one, beams = Case("greedy", "tiny CoCa", 2), Case("beam", "tiny CoCa", 2)
    (first, once), (step, ids) = passes_of(one)
    # by hand: two blocks of the text tower and two of the decoder of width 32, with one more attention and MLP there
    assert (once, ids) == (1, one.caption_length - 1)
    assert {rows for count, rows, _, _ in step if count == 1} == {2} and step[1, 2, 32, 512] == 1
    weights = sum(inner * columns * times for (count, _, inner, columns), times in step.items() if count == 1)
    assert weights == 4 * 12 * 32**2 + 2 * 10 * 32**2 + 32 * 512
    assert first == passes_of(beams)[0][0] and {rows for count, rows, _, _ in passes_of(beams)[1][0] if count == 1} == {
        8
    }


def test_a_case_opens_the_checkpoint_of_its_size():
    tiny = TESTS / "fixtures" / "hf_clip_tiny"
    options = {"made": {"checkpoint": {"ViT-L/14": "nowhere", "tiny": str(tiny)}}}
    assert kzoo_model.prepare(Case("open", "tiny"), options, {})().name == "hf_clip_tiny"
