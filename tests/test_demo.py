"""The demos with seconds instead of minutes: everything they leave, and the export's own process."""

import base64
import io
import json
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.cli.terminal import PlainConsole
from kzoo.demo.baselines import baselines, frequent_words
from kzoo.demo.captioner import run_captioner_demo
from kzoo.demo.icons import FEWEST_STEPS, Findings, train_for
from kzoo.demo.run import run_demo


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo")
    console = PlainConsole(record=True, width=160, file=io.StringIO())
    return run_demo(minutes=0.25, output=output, console=console), output, console.export_text()


@pytest.mark.one_other("jax")
def test_it_learns_and_says_so(finished):
    found, _, text = finished
    key = "text_to_image_recall@10"
    assert found.before[key] < 0.05 and found.after[key] > found.before[key]
    (losses,) = found.losses.values()
    assert losses[-1] < losses[0] if len(losses) > 1 else losses[0] < np.log(256)
    for part in (
        "held out",
        "caption to icon",
        "icon to caption",
        "chance",
        "zero-shot by prompt",
        "verified at batch",
    ):
        assert part in text
    assert "[/]" not in text


@pytest.mark.one_other("jax")
def test_the_export_answers_in_a_process_without_keras(finished):
    found, _, text = finished
    assert "a process without Keras answers the same 8 queries" in text
    assert len(found.answers) == len(found.queries) == 8 and all(len(answer) == 5 for answer in found.answers)
    assert max(found.worst_difference.values()) < 1e-5


@pytest.mark.one_other("jax")
def test_what_it_leaves_opens(finished):
    found, output, _ = finished
    model = kzoo.from_preset(output / "model")
    np.testing.assert_allclose(model.encode_text(found.captions[:3]), found.text_embeddings[:3], atol=1e-6)
    served = kzoo.export.runtime.load(output / "onnx")
    np.testing.assert_allclose(served.encode_text(found.captions[:3]), found.text_embeddings[:3], atol=1e-5)


@pytest.mark.one_other("jax")
def test_the_report_is_one_page_with_its_pictures_inside(finished):
    found, output, _ = finished
    page = (output / "report.html").read_text()
    pictures = re.findall(r"data:image/png;base64,([^'\"]+)", page)
    assert len(pictures) == 8 * 5 + 8 + 2  # answers, icons that were asked, loss curve and similarity matrix
    assert all(Image.open(io.BytesIO(base64.b64decode(picture))).size[0] >= 32 for picture in pictures)
    assert all(query in page for query in found.queries)
    assert f"{found.after['text_to_image_recall@1']:.1%}" in page
    assert "http" not in page


def test_too_short_a_training_says_that_nothing_was_learned(model, pairs):
    found = Findings("tiny", None, None, [], 0, "any", 24)
    console = PlainConsole(record=True, width=200, file=io.StringIO())
    model.compile("sgd")
    train_for(1e-4, model, kzoo.data.pairs(pairs, model.preprocessor, batch_size=12), 1e-3, found, console)
    assert 1 <= found.steps < FEWEST_STEPS
    text = console.export_text()
    assert f"nothing was learned: {found.steps} steps are too few; the first of them, most of it compilation" in text
    assert "give more --minutes" in text


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    output = tmp_path_factory.mktemp("captioner")
    console = PlainConsole(record=True, width=160, file=io.StringIO())
    return run_captioner_demo(minutes=0.1, output=output, console=console), output, console.export_text()


@pytest.mark.once
def test_the_captioner_is_scored_beside_its_baselines(captioned):
    found, output, text = captioned
    numbers = json.loads((output / "metrics.json").read_text())
    assert numbers["scores"] == found.scores and numbers["held_out"] == len(found.captions)
    assert numbers["losses"].keys() == {"captioning", "info_nce"}
    for scores in found.scores.values():
        assert all(f"{value:.3f}" in text for value in scores.values())
    for name in ("frequent_words", "nearest_caption", "nearest_picture", "best_caption"):
        assert found.scores[name]["exact_match"] == 0.0
        assert found.scores[name]["word_f1"] <= found.scores["best_caption"]["word_f1"] < 1.0
    assert found.scores["truth"]["exact_match"] == found.scores["truth"]["word_f1"] == 1.0


@pytest.mark.once
def test_the_captioner_opens_and_writes_the_same(captioned):
    found, output, _ = captioned
    model = kzoo.from_preset(output / "model")
    assert model.caption(found.images[:8]) == found.written["greedy"][:8]


@pytest.mark.once
def test_the_captioners_report_shows_icons_with_both_names(captioned):
    found, output, _ = captioned
    page = (output / "report.html").read_text()
    pictures = re.findall(r"data:image/png;base64,([^'\"]+)", page)
    assert len(pictures) == 54 + 8 + 1  # the grid, icons with all that was said of them, the losses
    assert f"{found.scores['beam']['word_f1']:.1%}" in page and f"{found.scores['beam']['cider_d']:.2f}" in page
    first = f"<b>{found.written['beam'][0]}</b>"
    assert first in page and f"{first}<br>{found.captions[0]}" in page
    assert f"{found.unseen_words} of the {len(found.captions)} names" in page
    assert "http" not in page


@pytest.mark.once
def test_baselines_by_hand():
    class Model:
        """Embeds what it is given by a table."""

        def encode_image(self, images):
            return np.array(images, "float32")

        def encode_text(self, texts):
            return np.array([[1, 0], [0, 1], [0.6, 0.8]], "float32")[: len(texts)]

    train = {"images": [[0.6, 0.8], [1, 0], [0, 1]], "captions": ["lock open", "lock", "door open outline"]}
    test = {"images": [[0, 1], [0.9, 0.1]], "captions": ["door open", "lock open outline"]}
    assert baselines(Model(), train, test) == {
        "frequent_words": ["lock open", "lock open"],
        "nearest_caption": ["lock", "lock open"],
        "nearest_picture": ["door open outline", "lock"],
        "best_caption": ["door open outline", "lock open"],
    }


@pytest.mark.once
def test_frequent_words_are_as_many_as_in_the_mean():
    captions = kzoo.data.icons("train", size=8)["captions"]
    counts = Counter(word for caption in captions for word in caption.split())
    assert counts["outline"] > counts["off"] == sorted(counts.values())[-2]
    assert sum(counts.values()) / len(captions) == pytest.approx(2.48, abs=0.1)
    assert frequent_words(captions) == "outline off"
