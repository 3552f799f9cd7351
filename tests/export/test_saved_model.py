"""SavedModel export from the running backend, read back by TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf
from shared_case import tiny_model, toy_pairs

from kzoo.export import ExportError, child
from kzoo.export.manifest import fingerprints


def test_signatures_give_the_models_numbers(tmp_path):
    model = tiny_model()
    manifest = model.export(tmp_path / "saved", format="tf_saved_model")
    assert manifest["format"] == "tf_saved_model" and max(manifest["worst_difference"].values()) < 2e-6
    assert {"saved_model.pb", "variables/variables.index"} <= manifest["fingerprints"].keys()
    with fingerprints(tmp_path / "saved", manifest):
        loaded = tf.saved_model.load(str(tmp_path / "saved"))
    assert {"encode_image", "encode_text", "similarity"} <= set(loaded.signatures)
    pairs = toy_pairs(6)
    batch = model.preprocessor(pairs["images"], pairs["captions"])
    images = loaded.signatures["encode_image"](images=tf.constant(batch["images"]))["image_embeddings"]
    texts = loaded.signatures["encode_text"](token_ids=tf.constant(batch["token_ids"][:4]))["text_embeddings"]
    np.testing.assert_allclose(images.numpy(), model.encode_image(pairs["images"]), atol=2e-6)
    logits = loaded.signatures["similarity"](images=images, texts=texts)["logits"]
    np.testing.assert_allclose(logits.numpy(), model.logits(pairs["images"], pairs["captions"][:4]), atol=1e-4)
    (tmp_path / "saved" / "variables" / "variables.index").write_bytes(b"of another")
    with pytest.raises(ValueError, match="variables.index is not the file that manifest.json was saved with"):
        with fingerprints(tmp_path / "saved", manifest):
            loaded = None


def test_a_failing_process_ends_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(child.sys, "executable", "false")
    with pytest.raises((RuntimeError, ExportError), match="the export on TensorFlow failed: it said nothing"):
        child.export_on("tensorflow", tiny_model(), tmp_path, "onnx")
