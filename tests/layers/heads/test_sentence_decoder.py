"""The decoder of RetroMAE: what each place sees, and that it trains a text tower by its embedding."""

import keras
import numpy as np
import pytest
from shared_case import fill, numpy, toy_pairs

import kzoo
from kzoo.data import text_views
from kzoo.encoders import TextTransformer
from kzoo.layers import Classifier, Head, SentenceDecoder
from kzoo.layers.numerics import gelu
from kzoo.losses import Captioning
from kzoo.preprocessing import Preprocessor, RandomTokens

random = np.random.default_rng(0)
H = random.normal(size=(2, 6)).astype("float32")
IDS = random.integers(0, 9, (2, 5)).astype("int32")
REAL = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], "bool")


@pytest.fixture(scope="module")
def decoder():
    layer = SentenceDecoder(9, 7, width=8, num_heads=2, mlp_dim=12)
    layer.build((None, 6))
    fill(layer.attention)
    for seed, weight in enumerate((layer.token_embedding, layer.position_embedding)):
        weight.assign(np.random.default_rng(seed).normal(size=weight.shape).astype("float32"))
    return layer


def test_each_place_alone(decoder):
    """Place by place, with the keys that it sees and no mask."""
    given, table = numpy(decoder(H, IDS, REAL)), numpy(decoder.token_embedding)
    positions = numpy(decoder.position_embedding)[:5]
    for row in range(2):
        h = numpy(decoder.sentence(H[row : row + 1]))
        for place in range(5):
            seen = [other for other in np.flatnonzero(REAL[row]) if other != place]
            query = h + positions[place]
            keys = np.concatenate([h, (table[IDS[row]] + positions)[seen]])
            x = decoder.attention_norm(query[None] + numpy(decoder.attention(query[None], keys[None])))
            x = numpy(decoder.mlp_norm(x + decoder.mlp_down(gelu(decoder.mlp_up(x)))))[0, 0]
            np.testing.assert_allclose(given[row, place], table @ x + numpy(decoder.bias), rtol=1e-4, atol=1e-4)


def test_a_place_never_sees_its_own_token(decoder):
    whole = numpy(decoder(H, IDS, REAL))
    for place in range(5):
        changed = IDS.copy()
        changed[0, place] = (changed[0, place] + 1) % 9
        moved = np.abs(numpy(decoder(H, changed, REAL)) - whole).max(axis=-1)
        assert moved[0, place] == 0.0 and (np.delete(moved[0], place) > 1e-4).all() and not moved[1].any()
    padded = IDS.copy()
    padded[1, 3:] = 8
    np.testing.assert_array_equal(numpy(decoder(H, padded, REAL))[1], whole[1])  # padding is seen by none
    assert np.abs(numpy(decoder(H[::-1].copy(), IDS, REAL)) - whole).max() > 1e-3


def test_while_training_each_place_sees_a_random_part():
    layer = SentenceDecoder(9, 40, width=8, num_heads=2, visible=0.25, seed=0)
    seen = np.concatenate([numpy(layer._seen(np.ones((8, 40), "bool"), training=True)) for _ in range(2)])
    assert seen[..., 0].all() and not seen[:, np.arange(40), np.arange(40) + 1].any()
    rates = seen[..., 1:].sum(axis=-1) / 39
    assert rates.mean() == pytest.approx(0.25, abs=0.02) and len(np.unique(seen.reshape(-1, 41), axis=0)) > 600
    with pytest.raises(ValueError, match="the texts have 41 tokens, but this decoder takes 40 at most"):
        layer(H, np.zeros((2, 41), "int32"), np.ones((2, 41), "bool"))
    with pytest.raises(ValueError, match="visible is 0"):
        SentenceDecoder(9, 7, 8, 2, visible=0)


def test_it_trains_a_tower_on_masked_texts(tmp_path):
    """Both halves of RetroMAE in one loss, fed by the library's masks; the folder opens with its heads."""
    keras.utils.set_random_seed(0)
    captions = toy_pairs(24)["captions"]
    preprocessor = Preprocessor(None, vocabulary={"train": 320, "context_length": 10})
    preprocessor.adapt(captions)
    tower = TextTransformer(320, 10, width=24, depth=1, num_heads=2, embed_dim=12, eot_id=2)
    heads = [
        Head(Classifier(320), "view_1_tokens", "word_logits"),
        Head(
            SentenceDecoder(320, 10, width=16, num_heads=2),
            ("view_1_features", "view_1_labels", "view_1_token_mask"),
            "decoded_logits",
        ),
    ]
    words = Captioning(inputs=("word_logits", "view_1_labels"), mask="view_1_positions")
    again = Captioning(inputs=("decoded_logits", "view_1_labels"), mask="view_1_token_mask")
    model = kzoo.SelfSupervised(tower, projector=False, heads=heads, preprocessor=preprocessor, name="retro")
    masks = RandomTokens(preprocessor.tokenizer, share=0.3, mask_id=319)
    data = text_views(captions, preprocessor, batch_size=12, views=1, masks=masks)
    model.compile(keras.optimizers.Adam(0.01), loss=words + again)
    before = numpy(tower.projection.kernel).copy()  # which the decoder alone reaches
    history = model.fit(data, epochs=8, verbose=0).history
    by_term = [values for name, values in history.items() if name.startswith("captioning")]
    assert len(by_term) == 2 and all(each[-1] < 0.7 * each[0] for each in by_term)
    assert not np.array_equal(numpy(tower.projection.kernel), before)
    model.save_to_preset(tmp_path)
    opened = kzoo.from_preset(tmp_path)
    batch = data[0]
    found, expected = (each(batch, only=("decoded_logits",))["decoded_logits"] for each in (opened, model))
    np.testing.assert_allclose(numpy(found), numpy(expected), atol=1e-5)
