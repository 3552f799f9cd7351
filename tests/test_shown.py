"""What objects print, and what notebooks show of them."""

import copy
import inspect
import pickle
from importlib import import_module

import keras
import numpy as np
import pytest
from shared_case import tiny_model, toy_pairs

import kzoo
from kzoo.evaluation import recall_at_k
from kzoo.evaluation.results import Results
from kzoo.html import html_table
from kzoo.layers import Head, Projector
from kzoo.losses import Captioning, InfoNCE, SupCon
from kzoo.preprocessing import Augmentation, CutMix, PatchSteps, RandomPatches
from kzoo.training import EMATeacher

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


@pytest.mark.parametrize(
    "room", ["adaptation", "data", "encoders", "layers", "losses", "models", "preprocessing", "training"]
)
def test_no_public_object_prints_its_address(room):
    module = import_module(f"kzoo.{room}")
    public = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    classes = {name: each for name, each in public.items() if inspect.isclass(each)}
    assert classes and not [name for name, each in classes.items() if each.__repr__ is object.__repr__]


def test_what_has_no_words_of_its_own_prints_how_it_was_made():
    augmentation = Augmentation((0.5, 1.0), flip=0.5)
    for made, shown in (
        (CutMix(beta=0.4), "CutMix(beta=0.4)"),
        (CutMix(), "CutMix()"),
        (RandomPatches((2, 2), 0.5), "RandomPatches(grid=(2, 2), share=0.5)"),
        (kzoo.data.SameGroup(np.arange(20) // 5), "SameGroup(groups=<int64 array (20,)>)"),
        (kzoo.data.SameGroup([0, 0, 1, 1]), "SameGroup(groups=[0, 0, 1, 1])"),
        (kzoo.training.TimeBudget(5, learning_rate=1e-3), "TimeBudget(minutes=5, learning_rate=0.001)"),
        (kzoo.training.AdamW(1e-4, weight_decay=0.2), "AdamW(learning_rate=0.0001)"),
        (PatchSteps(16, 256), "<PatchSteps to at most 256 patches of 16 x 16 pixels, bilinear, as_shown>"),
        (augmentation, "Augmentation(scale=(0.5, 1.0), flip=0.5)"),
        (copy.deepcopy(augmentation), "Augmentation(scale=(0.5, 1.0), flip=0.5)"),
        (pickle.loads(pickle.dumps(augmentation)), "Augmentation(scale=(0.5, 1.0), flip=0.5)"),
    ):
        assert repr(made) == shown


def test_a_data_set():
    data = kzoo.data.pairs(toy_pairs(12), tiny_model().preprocessor, batch_size=4, seed=3)
    assert repr(data).startswith("<PairDataset of 12 pair")
    assert repr(data).endswith("in 3 batches of 4, shuffled, seed 3>")
    assert "in the order of the source" in repr(data.in_order())


def of_views():
    encoder = keras.Sequential([keras.layers.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(6)])
    return kzoo.SelfSupervised(encoder, Projector((8, 5)), EMATeacher())


def with_a_head():
    model = tiny_model(depth=1)
    head = Head(Projector((7,)), reads="*_features", gives="*_projected")
    return type(model)(model.image_encoder, model.text_encoder, heads=[head])


@pytest.mark.parametrize(
    "make, shapes",
    [
        (with_a_head, ["{embedding: (None, 12), tokens: (None, None, 24)}", "(None, 7)", "()", "{}"]),
        (of_views, ["(None, 6)", "(None, 5)"]),
        (lambda: kzoo.from_preset("coca_nano", load_weights=False), ["(None, None, 32)"]),
    ],
)
def test_a_summary_shows_the_shapes_of_what_layers_give(make, shapes, monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    model, lines = make(), []
    if model.teacher is None:
        model.compile("sgd")
    model.summary(line_length=200, print_fn=lines.append)
    table = "".join(lines)
    assert "?" not in table and all(f"│ {shape} " in table for shape in shapes), table
    assert all("compute_output_shape" not in vars(layer) for layer in model.layers)


def test_a_model_prints_its_towers_and_its_loss(tmp_path):
    model = tiny_model(depth=1)
    start = f"<DualEncoder {model.name!r}: image 12, text 12; {model.count_params():,} parameters"
    assert repr(model) == f"{start}>"
    model.compile("sgd", loss=InfoNCE(0.1))
    assert repr(model) == f"{start}, compiled with InfoNCE(temperature=0.1)>"
    model.save(tmp_path / "model.keras")
    again, tables = kzoo.load_model(tmp_path / "model.keras"), []
    assert repr(again) == repr(model)
    again.summary(print_fn=tables.append)
    assert "?" not in tables[0] and "{embedding:" in tables[0]


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
