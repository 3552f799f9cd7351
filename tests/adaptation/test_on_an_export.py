"""A classifier that was made with a model classifies what an export of it embeds, and what was stored."""

import numpy as np
import pytest
from shared_case import spread, tiny_model, toy_pairs

from kzoo.adaptation import EmbeddingClassifier, GaussianDiscriminant, describe_classes, few_shot
from kzoo.export import runtime

pytestmark = pytest.mark.once


def test_an_export_is_adapted_as_its_model_is(tmp_path):
    model, pairs = tiny_model(depth=1), toy_pairs(24)
    spread(model.image_encoder)
    labels = np.arange(24) % 4  # the colours
    told = {name: [f"a {name} shape", f"a {name} {shape}"] for shape in ["circle"] for name in ("red", "green", "blue")}
    told["grey"] = ["a grey square"]
    classes, texts = describe_classes(model.encode_text, told)
    stored = model.encode_image(pairs["images"])
    shown = few_shot(labels, 3)
    made = GaussianDiscriminant(stored[shown], labels[shown], texts, classes)
    held_out = np.setdiff1d(np.arange(24), shown)
    tuned = made.tuned(stored[held_out], labels[held_out])
    assert tuned.accuracy(stored[held_out], labels[held_out]) > 0.25  # what chance finds
    tuned.save(tmp_path / "colours.safetensors")
    model.export(tmp_path / "onnx", format="onnx")
    export, again = runtime.load(tmp_path / "onnx"), EmbeddingClassifier.load(tmp_path / "colours.safetensors")
    found = again.logits(export.encode_image(pairs["images"]))
    np.testing.assert_allclose(found, tuned.logits(stored), rtol=1e-3, atol=1e-2)
    assert again.classes == classes and np.array_equal(found.argmax(axis=1), tuned.predict(stored))
    assert describe_classes(export.encode_text, told)[0] == classes
