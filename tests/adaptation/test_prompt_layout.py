"""Where a context stands in the texts of classes, by ids, under tokenizers of every kind."""

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from kzoo.adaptation.prompts.layout import laid_out, plain_ids, room_for
from kzoo.preprocessing import ImageSteps, Preprocessor, Tokenizer

pytestmark = pytest.mark.once
NAMES = ["cat", "great_cat", "dog cat"]
WORDS = ["a", "photo", "of", "cat", "dog", "great"]


def of_bytes():
    return Tokenizer.train([f"a photo of a {name.replace('_', ' ')}." for name in NAMES], 300, 16)


def of_pieces(joined=False):
    """As sentencepiece has it: a mark before each word, no start, the end's id is that of padding."""
    pieces = ["</s>", "<unk>", "▁", *(f"▁{word}" for word in WORDS), *"x.", *(["▁cat."] if joined else [])]
    vocabulary = tokenizers.Tokenizer(models.Unigram([(each, -1.0) for each in pieces], unk_id=1))
    vocabulary.pre_tokenizer = pre_tokenizers.Metaspace()
    vocabulary.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    return Tokenizer(vocabulary, 14, pad_id=0)


def of_word_parts():
    """As BERT has it: start and end, and what is not known is one id."""
    words = {each: place for place, each in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", *WORDS])}
    vocabulary = tokenizers.Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    vocabulary.normalizer, vocabulary.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    vocabulary.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return Tokenizer(vocabulary, 14, pad_id=0)


KINDS = [of_bytes, of_pieces, of_word_parts, lambda: of_pieces(joined=True)]


def preprocessor(tokenizer):
    return Preprocessor(ImageSteps(16), tokenizer)


@pytest.mark.parametrize("make", KINDS)
def test_the_context_of_a_text_stands_in_that_text(make):
    tokenizer = make()
    count = len(plain_ids(tokenizer, ["a photo of a"])[0])
    found = laid_out(preprocessor(tokenizer), NAMES, count, "end", "a photo of a")
    whole = tokenizer([f"a photo of a {name.replace('_', ' ')}." for name in NAMES])
    np.testing.assert_array_equal(found.token_ids, whole["token_ids"])
    np.testing.assert_array_equal(found.padding_mask, whole["padding_mask"])
    assert found.token_ids.dtype == np.int32
    first = int(tokenizer.start_id is not None)
    np.testing.assert_array_equal(found.places[:, first : first + count], np.tile(np.arange(count), (3, 1)))
    assert (np.delete(found.places, np.s_[first : first + count], axis=1) == -1).all()


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("position, half", [("end", 5), ("middle", 2), ("front", 0)])
def test_names_stand_as_within_a_sentence_and_the_end_stays(make, position, half):
    tokenizer = make()
    found = laid_out(preprocessor(tokenizer), NAMES, 5, position)
    bare = [ids[len(plain_ids(tokenizer, ["a"])[0]) :] for ids in plain_ids(tokenizer, [f"a {n}" for n in WORDS[3:5]])]
    for ids, mask, places, name in zip(found.token_ids, found.padding_mask, found.places, NAMES):
        assert sorted(places[places >= 0]) == [0, 1, 2, 3, 4]
        real = ids[mask]
        assert tokenizer.eot_id == real[-1] and tokenizer.start_id in (None, real[0])
        assert not {tokenizer.eot_id, tokenizer.pad_id, tokenizer.start_id} & {*ids[places >= 0]}
        said = [int(each) for each, place in zip(ids, places) if place < 0][: mask.sum() - 5]
        plain = plain_ids(tokenizer, [f"a {name.replace('_', ' ')}."])[0][len(plain_ids(tokenizer, ["a"])[0]) :]
        start = [] if tokenizer.start_id is None else [tokenizer.start_id]
        assert said == [*start, *plain, tokenizer.eot_id]
        if name == "cat" and plain[: len(bare[0])] == bare[0]:  # a full stop of its own stands behind all of it
            row = [*start, *(bare[0] if half == 0 else []), *[None] * (half or 5)]
            shown = [None if place >= 0 else int(each) for each, place in zip(ids, places)]
            assert shown[: len(row)] == row and shown[mask.sum() - 2] == plain[-1]


@pytest.mark.parametrize("made", KINDS)
def test_the_room_for_a_context_is_what_the_longest_name_leaves(made):
    steps = preprocessor(made())
    room = room_for(steps, NAMES)
    assert laid_out(steps, NAMES, room).padding_mask.all(axis=1).any()
    with pytest.raises(ValueError, match="give a smaller n_ctx, or a shorter name"):
        laid_out(steps, NAMES, room + 1)


def test_names_that_leave_no_room_and_texts_that_are_nothing():
    steps = preprocessor(of_word_parts())
    for call, sentence in (
        (
            lambda: laid_out(steps, ["cat", "dog"], 11),
            "class name 'cat' and a context of 11 take 15 ids, but .* has 14",
        ),
        (lambda: laid_out(steps, ["cat", "dog " * 20], 1), "text 'x dog dog .* is longer than the 14 ids"),
        (lambda: laid_out(steps, ["cat", "__"], 1), "class name '__' has no letter"),
        (lambda: laid_out(steps, NAMES, 1, "end", " "), "leaves nothing"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()
