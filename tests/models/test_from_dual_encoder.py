"""A captioning decoder on a model that was trained without one: what trains, what it reads, what it writes."""

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import batch_of, numpy, tiny_model, toy_pairs

import kzoo
from kzoo.encoders.token_ids import TextTower
from kzoo.encoders.tower import Input, Tower
from kzoo.layers import SimilarityHead
from kzoo.preprocessing import Tokenizer
from kzoo.preprocessing.vocabularies import frame

HEAD = {"depth": 1, "width": 16, "num_heads": 2}
PAIRS = toy_pairs(6)
COLOURS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]], "float32")


def values(layer):
    return [numpy(variable) for variable in layer.weights]


def same(before, after):
    return all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


# -- what trains --
def test_locked_parts_stay_bit_by_bit(tmp_path):
    """Dropout of a locked tower is off; the lock is in folders and in .keras files too."""
    model = tiny_model(depth=1, dropout=0.5)
    batch = batch_of(model, 6)
    before, embeddings = values(model), model.predict(batch, verbose=0)
    captioner = kzoo.Captioner.from_dual_encoder(model, **HEAD)
    assert all(layer.trainable for layer in (model.image_encoder, model.text_encoder, model.similarity))
    captioner.save_to_preset(tmp_path / "folder")
    captioner.save(tmp_path / "file.keras")
    opened = kzoo.from_preset(tmp_path / "folder")
    expected = numpy(captioner(batch)["caption_logits"])
    for each in (captioner, opened, keras.saving.load_model(tmp_path / "file.keras")):
        np.testing.assert_array_equal(numpy(each(batch)["caption_logits"]), expected)
        decoder = [variable.path for variable in each.text_decoder.trainable_variables]
        assert [variable.path for variable in each.trainable_variables] == decoder
    for each in (captioner, opened):
        start = values(each.text_decoder)
        each.compile(keras.optimizers.SGD(0.1))
        assert set(each.fit(batch, batch_size=6, verbose=0).history) == {"loss", "captioning"}
        assert same(before, values(each)[: len(before)])
        assert not any(np.array_equal(*pair) for pair in zip(start, values(each.text_decoder)))
    assert set(captioner.evaluate(batch, batch_size=6, verbose=0)) == {"loss", "captioning"}
    for name, value in captioner.predict(batch, verbose=0).items():
        np.testing.assert_array_equal(value, embeddings[name])
    with pytest.raises(ValueError, match="has no model of vit and text_transformer and text_decoder"):
        captioner.save_to_preset(tmp_path / "theirs", format="open_clip")


@pytest.mark.parametrize("memory", ["tokens", "embedding"])
def test_unlocked_all_trains_by_the_loss_of_the_model_too(memory):
    model = tiny_model(depth=1, similarity=SimilarityHead(scale=5.0, bias=-5.0, name="similarity"))
    captioner = kzoo.Captioner.from_dual_encoder(model, memory, freeze=False, **HEAD)
    captioner.compile(keras.optimizers.SGD(0.1))
    before, batch = values(captioner), batch_of(model, 6)
    results = captioner.evaluate(batch, verbose=0)
    assert {"info_nce", "captioning", "in_batch_accuracy", "text_to_image_recall@1"} < set(results)
    assert results["loss"] == pytest.approx(results["info_nce"] + 2.0 * results["captioning"], rel=1e-5)
    captioner.fit(batch, batch_size=6, verbose=0)
    still = [variable.path for variable, old in zip(captioner.weights, before) if np.array_equal(numpy(variable), old)]
    assert still == ["similarity/logit_bias"]  # InfoNCE does not read it


# -- texts alone --
class Pixels(Tower):
    """Mean colour of a picture; an image tower without tokens."""

    modality, embed_dim = "image", 3
    inputs = (Input("images", (None, None, 3), "uint8"),)

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True

    def call(self, images, training=None):
        return {"embedding": ops.mean(ops.cast(images, "float32"), axis=(1, 2)) / 255.0 - 0.3}


class Words(TextTower):
    """The colour that a text names with its second id: the space of `Pixels`, by construction."""

    vocab_size, context_length, embed_dim, pad_id = 12, 5, 3, 0
    token_dim = 3

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True

    def call(self, token_ids, padding_mask=None, training=None):
        table = np.zeros((12, 3), "float32")
        table[3:9] = COLOURS - 0.3
        tokens = ops.take(ops.convert_to_tensor(table), token_ids, axis=0)
        return {"embedding": tokens[:, 1], "tokens": tokens}


def colour_texts():
    """Start, name of the colour, one more word, end, padding."""
    names = np.arange(3, 9)
    return np.stack([np.full(6, 1), names, 9 + names % 3, np.full(6, 2), np.full(6, 0)], axis=1).astype("int32")


def test_trained_from_texts_alone_it_writes_captions_of_pictures():
    model = kzoo.DualEncoder(Pixels(name="image_encoder"), Words(name="text_encoder"))
    captioner = kzoo.Captioner.from_dual_encoder(model, "embedding", noise=0.1, **HEAD)
    captioner.compile(keras.optimizers.Adam(1e-2))
    texts = colour_texts()
    history = captioner.fit({"token_ids": np.tile(texts, (40, 1))}, batch_size=24, epochs=5, verbose=0).history
    assert set(history) == {"loss", "captioning"} and history["loss"][-1] < 0.5 * history["loss"][0]
    results = captioner.evaluate({"token_ids": texts}, verbose=0)
    assert set(results) == {"loss", "captioning"}
    pictures = np.broadcast_to(COLOURS[:, None, None] * 240 + 5, (6, 8, 8, 3)).astype("uint8")
    written, _ = captioner.generate(pictures, prefix=[1], end_id=2, max_length=5)
    np.testing.assert_array_equal(written, texts)


def test_noise_is_on_texts_that_stand_for_pictures_and_nowhere_else():
    model = tiny_model(depth=1)
    captioner = kzoo.Captioner.from_dual_encoder(model, "embedding", noise=5.0, **HEAD)
    captioner.compile(keras.optimizers.SGD(0.0))
    batch = batch_of(model, 6)
    texts = {name: value for name, value in batch.items() if name != "images"}

    def losses(data):
        steps = (captioner.train_on_batch, captioner.train_on_batch, captioner.test_on_batch)
        return [float(step(data, return_dict=True)["loss"]) for step in steps]

    first, second, without = losses(batch)
    assert first == pytest.approx(second, abs=1e-6) and first == pytest.approx(without, abs=1e-6)
    first, second, without = losses(texts)
    assert abs(first - second) > 1e-5 and abs(first - without) > 1e-5
    # a text is read as its unit-length embedding: as a picture with that embedding would be
    memory = captioner.text_decoder.tokens_of(model.encode_text(PAIRS["captions"]))
    states = captioner.text_decoder(texts["token_ids"][:, :-1], memory)
    np.testing.assert_allclose(
        numpy(captioner(texts)["caption_logits"]), numpy(captioner.text_decoder.logits(states)), atol=1e-5
    )


def test_a_text_that_stands_for_a_picture_is_not_trained():
    """Unlocked, with a loss that reads captions only."""
    model = tiny_model(depth=1)
    captioner = kzoo.Captioner.from_dual_encoder(model, "embedding", freeze=False, **HEAD)
    captioner.compile(keras.optimizers.SGD(0.1), loss=kzoo.losses.Captioning())
    texts = {name: value for name, value in batch_of(model, 6).items() if name != "images"}
    before = values(model.text_encoder)
    captioner.fit(texts, batch_size=6, verbose=0)
    assert same(before, values(model.text_encoder))


# -- what it reads and writes --
def test_an_image_tower_without_tokens():
    model = kzoo.DualEncoder(Pixels(name="image_encoder"), Words(name="text_encoder"))
    with pytest.raises(ValueError, match='Pixels gives an embedding and no tokens; take memory="embedding"'):
        kzoo.Captioner.from_dual_encoder(model)


@pytest.mark.parametrize(
    "name, memory, width",
    [("clip_resnet_nano", "tokens", None), ("align_nano", "tokens", None), ("siglip2_naflex_nano", "embedding", 80)],
)
def test_towers_of_other_kinds(name, memory, width):
    """ResNet; EfficientNet and BERT; patches of any shape: sizes come from the towers."""
    model = kzoo.from_preset(name, load_weights=False)
    captioner = kzoo.Captioner.from_dual_encoder(model, memory, depth=1, width=width)
    decoder, text = captioner.text_decoder, model.text_encoder
    assert (decoder.vocab_size, decoder.context_length) == (text.vocab_size, text.context_length)
    assert decoder.width == (width or text.width) and decoder.start_id is None  # their vocabulary has one
    heads = text.get_config()["num_heads"] if width is None else 1
    assert decoder.get_config()["num_heads"] == heads
    ids, _ = captioner.generate(PAIRS["images"][:2], prefix=[1], end_id=2, max_length=4)
    assert ids.shape == (2, 4)


@pytest.mark.parametrize("memory", ["tokens", "embedding"])
def test_steps_with_a_cache_give_the_logits_of_a_call(memory):
    captioner = kzoo.Captioner.from_dual_encoder(tiny_model(depth=1), memory, **HEAD)
    captioner.text_decoder.token_embedding.assign(np.random.default_rng(0).normal(size=(320, 16)))
    batch = batch_of(captioner, 3)
    expected = numpy(captioner(batch)["caption_logits"])
    decoder = captioner.open_decoder({"images": batch["images"]})
    decoder.begin(1, 10)
    for position in range(9):
        logits, _ = decoder.step(batch["token_ids"], position)
        np.testing.assert_allclose(logits, expected[:, position], rtol=1e-5, atol=1e-5)


# -- tokenizers without a start id --
def without_start(pad_id, **options):
    """A tiny captioner whose tokenizer, as SigLIP's, ends texts with id 2 and does not begin them."""
    model = tiny_model(vocabulary=False, depth=1)
    vocabulary = Tokenizer.train(toy_pairs(24)["captions"], 320, 10).vocabulary
    frame(vocabulary, None, 2)
    model.preprocessor.tokenizer = Tokenizer(vocabulary, 10, pad_id)
    assert model.preprocessor.tokenizer.start_id is None
    return kzoo.Captioner.from_dual_encoder(model, **HEAD, **options)


@pytest.mark.parametrize("pad_id, start_id", [(0, 0), (1, 1), (2, 0)])
def test_the_start_id_is_padding_unless_that_is_the_end(pad_id, start_id, tmp_path):
    captioner = without_start(pad_id)
    batch = batch_of(captioner, 4)
    targets = captioner(batch, only=("caption_labels", "caption_mask", "caption_context"))  # every id is predicted
    np.testing.assert_array_equal(numpy(targets["caption_labels"]), batch["token_ids"])
    np.testing.assert_array_equal(numpy(targets["caption_mask"]), batch["padding_mask"])
    logits = numpy(captioner(batch)["caption_logits"])
    assert logits.shape == (4, 10, 320)
    # row t has read the start and the ids before t
    tokens = targets["caption_context"]
    behind = np.pad(batch["token_ids"], ((0, 0), (1, 0)), constant_values=start_id)[:, :-1]
    expected = captioner.text_decoder.logits(captioner.text_decoder(behind, tokens))
    np.testing.assert_allclose(logits, numpy(expected), atol=1e-5)
    captioner.save_to_preset(tmp_path / "folder")
    again = kzoo.from_preset(tmp_path / "folder")
    np.testing.assert_array_equal(numpy(again(batch)["caption_logits"]), logits)
    written, _ = again.generate(PAIRS["images"][:2], max_length=6)
    assert (written[:, 0] == start_id).all()


def test_captions_keep_their_first_id():
    """Given as a prefix, and written."""
    captioner = without_start(pad_id=2, memory="embedding")
    captioner.text_decoder.token_embedding.assign(np.random.default_rng(0).normal(size=(320, 16)))
    images, captions, tokenizer = PAIRS["images"][:3], PAIRS["captions"][:3], captioner.preprocessor.tokenizer
    longest = captioner.preprocessor(texts=captions)["padding_mask"].sum(axis=1).max()
    written = captioner.caption(images, prefix=captions, max_length=int(longest) + 1)
    assert all(text.startswith(caption) for text, caption in zip(written, captions))
    ids, _ = captioner.generate(images, max_length=5)
    seen = []
    assert captioner.caption(images, max_length=5, on_token=seen.append) == tokenizer.decode(ids[:, 1:])
    assert len(seen) == 4 and seen[0] == tokenizer.decode(ids[:, 1:2]) and seen[-1] == tokenizer.decode(ids[:, 1:])


# -- dtypes and refusals --
@pytest.mark.parametrize("memory", ["tokens", "embedding"])
def test_half_precision(memory):
    captioner = kzoo.Captioner.from_dual_encoder(tiny_model(depth=1, dtype="mixed_bfloat16"), memory, **HEAD)
    assert captioner.text_decoder.compute_dtype == "bfloat16"
    captioner.compile(keras.optimizers.Adam(1e-2))
    losses = captioner.fit(batch_of(captioner, 6), batch_size=6, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert len(captioner.caption(PAIRS["images"][:2], max_length=4)) == 2


def test_refusals(model):
    captioner = kzoo.Captioner.from_dual_encoder(model, **HEAD)
    with pytest.raises(TypeError, match="a decoder is put on a DualEncoder, but model is a Captioner"):
        kzoo.Captioner.from_dual_encoder(captioner)
    with pytest.raises(ValueError, match="memory 'image' is unknown; choose one of tokens, embedding"):
        kzoo.Captioner.from_dual_encoder(model, "image")
    with pytest.raises(ValueError, match="noise is 0.1, but it is for embeddings"):
        kzoo.Captioner.from_dual_encoder(model, noise=0.1)
    naflex = kzoo.from_preset("siglip2_naflex_nano", load_weights=False)
    with pytest.raises(ValueError, match="pads its tokens, and a decoder cannot tell padding from picture"):
        kzoo.Captioner.from_dual_encoder(naflex)
    captioner.compile()
    texts = {name: value for name, value in batch_of(model, 6).items() if name != "images"}
    with pytest.raises(ValueError, match="a batch has no 'images'; give them, or train from texts alone"):
        captioner.fit(texts, batch_size=3, verbose=0)
