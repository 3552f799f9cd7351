"""CaptioningContrastive is the sum of its terms."""

import numpy as np
import pytest
from shared_case import numpy

from kzoo.losses import Captioning, CaptioningContrastive, InfoNCE

random = np.random.default_rng(0)


def test_coca_is_the_sum_of_its_terms():
    a, b = random.normal(size=(2, 3, 4)).astype("float32")
    logits, labels = random.normal(size=(3, 2, 5)).astype("float32"), np.array([[0, 1], [2, 3], [4, 0]])
    tensors = {
        "image_embeddings": a,
        "text_embeddings": b,
        "caption_logits": logits,
        "caption_labels": labels,
        "caption_mask": np.array([[True, True], [True, False], [False, False]]),
        "sample_weight": np.array([1.0, 2.0, 0.5], "float32"),
        "logit_scale": np.float32(4.0),
    }
    total, _ = CaptioningContrastive(caption_weight=0.7).from_tensors(tensors)
    wanted, _ = (InfoNCE() + 0.7 * Captioning()).from_tensors(tensors)
    assert float(numpy(total)) == pytest.approx(float(numpy(wanted)), rel=1e-6)


def test_what_is_refused():
    with pytest.raises(ValueError, match="give a positive number"):
        CaptioningContrastive(temperature=0.0)
