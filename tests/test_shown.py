"""What objects print, and what notebooks show of them."""

import keras
import numpy as np
import pytest
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.evaluation import recall_at_k
from kzoo.evaluation.results import Results
from kzoo.html import html_table
from kzoo.losses import Captioning, InfoNCE, SupCon

pytestmark = pytest.mark.once


def test_a_preprocessor_and_its_parts():
    model = tiny_model(vocabulary=False)
    images = "<ImageSteps to 16 x 16 pixels, shortest, bicubic, as_shown>"
    assert repr(model.preprocessor) == f"<Preprocessor: {images}, no vocabulary yet>"
    model = tiny_model()
    tokenizer = repr(model.preprocessor.tokenizer)
    size = model.preprocessor.tokenizer.vocab_size
    assert tokenizer == f"<Tokenizer of {size} ids, 10 per text: start 1, end 2, padding 0>"
    assert repr(model.preprocessor) == f"<Preprocessor: {images}, {tokenizer}>"


def test_a_data_set():
    data = kzoo.data.pairs(toy_pairs(12), tiny_model().preprocessor, batch_size=4, seed=3)
    assert repr(data).startswith("<PairDataset of 12 pair")
    assert repr(data).endswith("in 3 batches of 4, shuffled, seed 3>")
    assert "in the order of the source" in repr(data.in_order())


def test_losses_print_as_they_are_written():
    assert repr(InfoNCE()) == str(InfoNCE()) == "InfoNCE()"
    assert repr(InfoNCE(temperature=0.1)) == "InfoNCE(temperature=0.1)"
    assert repr(SupCon(labels="species")) == "SupCon(labels='species')"
    assert repr(InfoNCE() + 2.0 * Captioning()) == "InfoNCE() + 2.0 * Captioning()"
    ramp = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.5)
    assert repr(ramp * InfoNCE()).endswith(" * InfoNCE()")


def test_notebooks_show_tables():
    table = kzoo.list_presets("clip")._repr_html_()
    assert table.startswith("<table><thead><tr><th>name</th>") and "<td>clip_base</td><td>151,277,313</td>" in table
    assert "<tr><td>preset</td><td>clip_base</td></tr>" in kzoo.describe("clip_base")._repr_html_()
    found = recall_at_k(np.eye(4), np.roll(np.eye(4), 1, 0), ks=(1, 4))
    assert found == {f"{way}_recall@{k}": float(k == 4) for way in ("image_to_text", "text_to_image") for k in (1, 4)}
    assert found._repr_html_() == (
        "<table><thead><tr><th></th><th>recall@1</th><th>recall@4</th></tr></thead><tbody>"
        "<tr><td>image to text</td><td>0.0%</td><td>100.0%</td></tr>"
        "<tr><td>text to image</td><td>0.0%</td><td>100.0%</td></tr></tbody></table>"
    )
    plain = "<table><thead><tr><th>measure</th><th>value</th></tr></thead><tbody><tr><td>loss</td><td>0.5000</td></tr>"
    assert Results({"loss": 0.5} | found)._repr_html_() == f"{plain}</tbody></table>{found._repr_html_()}"
    assert Results(loss=0.5)._repr_html_() == f"{plain}</tbody></table>"
    assert html_table([["a<b"]]) == ("<table><thead><tr><th>a&lt;b</th></tr></thead><tbody></tbody></table>")
