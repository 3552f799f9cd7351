"""Captions from the model: the cache against the whole, batches against pictures, bad input."""

import keras
import numpy as np
import pytest
from shared_case import captioner, numpy, toy_pairs

import kzoo
from kzoo.encoders import VisionTransformer
from kzoo.models import Captioner

PAIRS = toy_pairs(4)
PICTURES = PAIRS["images"]
LENGTH = 9
STRATEGIES = {
    "greedy": {},
    "sample": {"seed": 3, "top_k": 40, "num_captions": 2},
    "beam": {"num_beams": 3, "num_captions": 2},
    "contrastive": {"top_k": 3},
}


@pytest.fixture(scope="module")
def coca():
    return captioner("coca_nano", PAIRS["captions"])


@pytest.fixture(scope="module")
def blip():
    return captioner("blip_caption_nano", PAIRS["captions"])


def whole_logits(model, images, token_ids):
    """Logits of the id after each of `token_ids`, from one forward pass over all of them, without a cache."""
    longer = np.pad(token_ids, ((0, 0), (0, 1)))  # the pass leaves out the last
    return numpy(model.call({"images": images, "token_ids": longer}, only=("caption_logits",))["caption_logits"])


@pytest.mark.parametrize("name", ["coca", "blip"])
def test_a_step_equals_the_whole(name, request):
    """With ids that pad among the words, rows of a picture beside each other, and rows at different positions."""
    model, random = request.getfixturevalue(name), np.random.default_rng(0)
    images = model.preprocessor.encode_images(PICTURES[:2])["images"]
    token_ids = random.integers(0, 300, (6, LENGTH)).astype("int32")
    token_ids[::2, 3] = token_ids[:, 6] = model.caption_pad_id
    expected = whole_logits(model, np.repeat(images, 3, axis=0), token_ids)

    memory = model.caption_memory(model({"images": images}, only=("caption_context",))["caption_context"])
    cache, late = model.empty_cache(6, LENGTH), np.arange(6) % 3
    for step in range(LENGTH):
        positions = np.maximum(step - late, 0)
        logits, _, cache = model.caption_step(token_ids, positions, cache, memory, copies=3)
        np.testing.assert_allclose(numpy(logits), expected[np.arange(6), positions], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["coca", "blip"])
def test_greedy_search_takes_the_likeliest_id(name, request):
    model = request.getfixturevalue(name)
    images = model.preprocessor.encode_images(PICTURES)["images"]
    token_ids, scores = model.generate(PICTURES, end_id=None, max_length=LENGTH)
    assert token_ids.shape == (4, LENGTH) and token_ids.dtype == np.int32 and scores.shape == (4,)
    logits = whole_logits(model, images, token_ids)[:, :-1]
    np.testing.assert_array_equal(token_ids[:, 1:], logits.argmax(axis=-1))
    log_p = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1))  # of the likeliest: -log sum exp(z - max)
    np.testing.assert_allclose(scores, -log_p.mean(axis=1), rtol=1e-4, atol=1e-5)
    assert len({tuple(row) for row in token_ids.tolist()}) > 1, "the captions do not depend on the picture"


def test_beam_search_is_the_search_by_hand(coca):
    """Two ids of a vocabulary, so that every caption can be scored by whole forward passes."""
    images = coca.preprocessor.encode_images(PICTURES[:1])["images"]
    start = [1, 7]

    def log_p(token_ids):
        longer = np.pad(np.array([token_ids], "int32"), ((0, 0), (0, 5 - len(token_ids))))  # one shape for all
        logits = whole_logits(coca, images, longer)[0, len(token_ids) - 1].astype("float64")
        return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())

    beams = [(0.0, start)]  # plain beam search of width 5 over captions of fixed length
    for _ in range(3):
        ways = [(total + step, [*ids, word]) for total, ids in beams for word, step in enumerate(log_p(ids))]
        beams = sorted(ways, key=lambda way: -way[0])[:5]
    options = {"prefix": start, "end_id": None, "max_length": 5, "num_beams": 5, "num_captions": 5}
    token_ids, scores = coca.generate(PICTURES[:1], strategy="beam", length_penalty=0.0, **options)
    assert token_ids[0].tolist() == [ids for _, ids in beams]
    np.testing.assert_allclose(scores[0], [total for total, _ in beams], rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_batch_gives_what_its_pictures_give_one_by_one(coca, strategy):
    options = {"strategy": strategy, "max_length": LENGTH, **STRATEGIES[strategy]}
    together, scores = coca.caption(PICTURES, return_scores=True, **options)
    again, in_parts = coca.caption(PICTURES, return_scores=True, batch_size=1, **options)
    assert together == again
    np.testing.assert_allclose(scores, in_parts, rtol=1e-4, atol=1e-5)
    several = options.get("num_captions", 1) > 1
    assert scores.shape == ((4, 2) if several else (4,)) and isinstance(together[0], list if several else str)


def test_steps_are_compiled_once(coca, monkeypatch):
    """Later pictures, later weights and another way to the same shapes run what the first call compiled."""
    calls, step = [], Captioner.caption_step
    monkeypatch.setattr(Captioner, "caption_step", lambda *args, **kwargs: calls.append(1) or step(*args, **kwargs))
    coca.generate(PICTURES, end_id=None, max_length=7)
    first = len(calls)
    assert first == (6 if keras.config.backend() == "torch" else 1)
    before, _ = coca.generate(PICTURES, end_id=None, max_length=7)
    kernel = coca.text_decoder.final_norm.beta
    kept = numpy(kernel)
    kernel.assign(kept + np.linspace(-3.0, 3.0, kept.size).astype("float32"))
    after, _ = coca.generate(PICTURES[::-1], end_id=None, max_length=7)
    kernel.assign(kept)
    assert len(calls) == (18 if keras.config.backend() == "torch" else first)
    assert not np.array_equal(before[::-1], after), "new weights change nothing"


def test_a_prefix_begins_every_caption(coca):
    captions = coca.caption(PICTURES, prefix="a big", max_length=LENGTH)
    assert all(text.startswith("a big") for text in captions)
    each = coca.caption(PICTURES, prefix=["a big", "a", "a big red", "a"], max_length=LENGTH)
    assert each[0] == captions[0] and each[2].startswith("a big red")
    ids = coca.preprocessor.tokenizer(["a big"])["token_ids"][0][:3].tolist()
    token_ids, _ = coca.generate(PICTURES, prefix=ids, max_length=LENGTH)
    assert coca.preprocessor.tokenizer.decode(token_ids) == captions


def test_the_end_ends_a_caption(coca):
    free, _ = coca.generate(PICTURES, end_id=None, max_length=LENGTH)
    end_id = int(free[0, 4])
    token_ids, _ = coca.generate(PICTURES, end_id=end_id, max_length=LENGTH)
    ends = (free == end_id).argmax(axis=1)
    for row, whole, end in zip(token_ids, free, ends):
        stop = end + 1 if end else LENGTH
        assert row[:stop].tolist() == whole[:stop].tolist() and set(row[stop:]) <= {coca.caption_pad_id}
    late, _ = coca.generate(PICTURES, end_id=end_id, max_length=LENGTH, min_length=LENGTH)
    assert not np.any(late == end_id)


def test_ids_and_texts_are_streamed(coca):
    steps, texts = [], []
    token_ids, _ = coca.generate(PICTURES, max_length=LENGTH, on_token=lambda ids: steps.append(ids.copy()))
    width = len(steps) + 1
    np.testing.assert_array_equal(np.concatenate(steps, axis=1), token_ids[:, 1:width])
    captions = coca.caption(PICTURES, max_length=LENGTH, batch_size=3, on_token=texts.append)
    assert [len(each) for each in texts] == sorted((len(each) for each in texts), reverse=True)
    of_first = [each for each in texts if len(each) == 3]
    assert of_first[-1] + texts[-1] == captions


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"images": []}, "images is empty; give at least one"),
        ({"strategy": "magic"}, "strategy 'magic' is unknown; choose one of greedy, sample, beam, contrastive"),
        ({"strategy": "beam", "num_beams": 0}, "num_beams is 0; give a whole number of at least 1"),
        ({"prefix": "a big red circle and " * 9}, "1 of 1 prefixes are longer than the context of 15 ids; shorten"),
        ({"prefix": ["a", "b"]}, "prefix has 2 texts for 4 pictures; give one for each, or one string for all"),
        ({"max_length": 99}, "max_length is 99; give a whole number from 1 to 15"),
        ({"temperature": 0.5}, "temperature is set, but strategy 'greedy' does not read it, only 'sample'"),
    ],
)
def test_bad_input(coca, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        coca.caption(**{"images": PICTURES} | options)


def test_bad_ids(coca):
    with pytest.raises(ValueError, match="prefix has ids from 1 to 512, but this model.s vocabulary has the ids 0"):
        coca.generate(PICTURES, prefix=[1, 512])
    with pytest.raises(ValueError, match="prefix 0 has 16 ids, but the decoder can hold 15; shorten it"):
        coca.generate(PICTURES, prefix=[1] * 16)


def test_a_model_without_a_vocabulary():
    """The preset's rules may know how a caption begins and ends; a model of arrays only is told."""
    bare = kzoo.from_preset("coca_nano", load_weights=False)
    assert bare.generate(PICTURES)[0][:, 0].tolist() == [1] * 4
    with pytest.raises(ValueError, match="has no vocabulary yet"):
        bare.caption(PICTURES)
    images = bare.preprocessor.encode_images(PICTURES)["images"]
    towers = (bare.image_encoder, bare.text_encoder, bare.text_decoder)
    of_arrays = Captioner(*towers)
    given = {"prefix": [1], "end_id": 2}
    np.testing.assert_array_equal(of_arrays.generate(images, **given)[0], bare.generate(PICTURES)[0])
    with pytest.raises(ValueError, match="no tokenizer says which id begins a text; give prefix"):
        of_arrays.generate(images, end_id=2)
    with pytest.raises(ValueError, match="end_id is not given, and there is no tokenizer"):
        of_arrays.generate(images, prefix=[1])


def test_an_image_tower_without_tokens(coca):
    class Pooled(VisionTransformer):
        token_dim = property(lambda self: None, lambda self, value: None)

    tower = Pooled(32, 16, width=24, depth=1, num_heads=2, embed_dim=32)
    with pytest.raises(ValueError, match="Pooled gives an embedding and no tokens, but this decoder"):
        Captioner(tower, coca.text_encoder, coca.text_decoder, preprocessor=coca.preprocessor)
