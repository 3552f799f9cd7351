"""A bi-encoder and a cross-encoder of texts that teach each other."""

import numpy as np
import pytest
from shared_case import spread, tiny_model, toy_pairs

import kzoo
from kzoo.adaptation import TransEncoder
from kzoo.retrieval import CURSearch

CAPTIONS = toy_pairs(16)["captions"]
PAIRS = [*zip(CAPTIONS, CAPTIONS[1:] + CAPTIONS[:1]), *zip(CAPTIONS, CAPTIONS)]
FIRST, SECOND = map(list, zip(*PAIRS))
TEMPLATE = "{} {}"


def texts(seed=None):
    model = tiny_model(depth=1)
    if seed is None:
        spread(model.text_encoder)
    return kzoo.SelfSupervised(model.text_encoder, False, preprocessor=model.preprocessor)


@pytest.mark.one_other
def test_each_learns_what_the_other_says():
    model = texts()
    before = model.get_weights()
    both = TransEncoder(model, TEMPLATE)
    cosines = both.similarities(FIRST, SECOND)
    rows = model.encode_text(FIRST), model.encode_text(SECOND)
    np.testing.assert_allclose(cosines, (rows[0] * rows[1]).sum(axis=1), atol=1e-5)
    history = both.fit(PAIRS, cycles=2, epochs=10, learning_rate=5e-3, batch_size=16)
    assert len(history) == 2 and all(set(each) == {"bi_to_cross", "cross_to_bi"} for each in history)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights()))
    found, scores = both.similarities(FIRST, SECOND), both.pair_scores(FIRST, SECOND)
    assert history[1]["cross_to_bi"] == pytest.approx(np.mean((found - scores) ** 2), abs=0.02)
    assert np.mean((found - scores) ** 2) < np.var(scores) + 0.02


@pytest.mark.once
def test_several_teach_each_other_and_score_for_a_search():
    models = [texts(), texts(seed=1)]
    both = TransEncoder(models, TEMPLATE)
    alone = [TransEncoder(each, TEMPLATE) for each in models]
    expected = np.mean([each.similarities(FIRST, SECOND) for each in alone], axis=0)
    np.testing.assert_allclose(both.similarities(FIRST, SECOND), expected, atol=1e-6)
    both.fit(PAIRS, cycles=1, batch_size=16)
    assert len(both.cross_encoders) == len(both.bi_encoders) == 2
    matrix = both.score(CAPTIONS[:3], CAPTIONS)
    assert matrix.shape == (3, 16) and 0.0 <= matrix.min() <= matrix.max() <= 1.0
    np.testing.assert_allclose(matrix[1, 2], both.pair_scores(CAPTIONS[1:2], CAPTIONS[2:3])[0], atol=1e-5)
    search = CURSearch(both.score, CAPTIONS[4:8], CAPTIONS, anchor_items=4)
    found = search.search(CAPTIONS[:3], k=3, budget=16)
    np.testing.assert_allclose(found.scores, -np.sort(-matrix, axis=1)[:, :3], atol=1e-5)


@pytest.mark.once
def test_what_cannot_be_is_said_in_a_sentence():
    model = tiny_model(depth=1)
    pictures = kzoo.SelfSupervised(model.image_encoder, False, preprocessor=model.preprocessor)
    bare = tiny_model(depth=1, vocabulary=False)
    both = TransEncoder(model, TEMPLATE)
    refused = [
        (ValueError, "with two {}", lambda: TransEncoder(model, "{}")),
        (TypeError, "models holds 3", lambda: TransEncoder(3)),
        (ValueError, "models is empty", lambda: TransEncoder([])),
        (ValueError, "has no text tower", lambda: TransEncoder(pictures)),
        (ValueError, "has no vocabulary", lambda: TransEncoder(bare)),
        (TypeError, "pairs is", lambda: both.fit(["ab", "cd"])),
        (ValueError, "pairs is empty", lambda: both.fit([])),
        (TypeError, "text", lambda: both.fit([("a", 3)] * 40)),
        (ValueError, "batch_size of 32 is more than", lambda: both.fit(PAIRS[:4])),
    ]
    for error, sentence, call in refused:
        with pytest.raises(error, match=sentence) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1 and str(caught.value).endswith("."), caught.value
