"""The demo with seconds instead of minutes: everything it leaves, and the export's own process."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import kzoo
from kzoo.demo.run import run_demo


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo")
    console = Console(record=True, width=160, file=io.StringIO())
    return run_demo(minutes=0.4, output=output, console=console), output, console.export_text()


def test_it_learns_and_says_so(finished):
    found, _, text = finished
    key = "text_to_image_recall@10"
    assert found.before[key] < 0.05 and found.after[key] > found.before[key]
    assert found.losses[-1] < found.losses[0] if len(found.losses) > 1 else found.losses[0] < np.log(256)
    for part in (
        "held out",
        "caption to icon",
        "icon to caption",
        "chance",
        "zero-shot by prompt",
        "verified at batch",
    ):
        assert part in text


def test_the_export_answers_in_a_process_without_keras(finished):
    found, _, text = finished
    assert "a process without Keras answers the same 8 queries" in text
    assert len(found.answers) == len(found.queries) == 8 and all(len(answer) == 5 for answer in found.answers)
    assert max(found.worst_difference.values()) < 1e-5


def test_what_it_leaves_opens(finished):
    found, output, _ = finished
    model = kzoo.from_preset(output / "model")
    np.testing.assert_allclose(model.encode_text(found.captions[:3]), found.text_embeddings[:3], atol=1e-6)
    served = kzoo.export.runtime.load(output / "onnx")
    np.testing.assert_allclose(served.encode_text(found.captions[:3]), found.text_embeddings[:3], atol=1e-5)


def test_the_report_is_one_page_with_its_pictures_inside(finished):
    found, output, _ = finished
    page = (output / "report.html").read_text()
    pictures = re.findall(r"data:image/png;base64,([^'\"]+)", page)
    assert len(pictures) == 8 * 5 + 8 + 2  # answers, icons that were asked, loss curve and similarity matrix
    assert all(Image.open(io.BytesIO(base64.b64decode(picture))).size[0] >= 32 for picture in pictures)
    assert all(query in page for query in found.queries)
    assert f"{found.after['text_to_image_recall@1']:.1%}" in page
    assert "http" not in page
