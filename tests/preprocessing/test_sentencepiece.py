"""Vocabularies of sentencepiece: the ids of the library itself, on any text, without the library."""

import re

import pytest
import sentencepiece
import tokenizers
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2
from toy_vocabularies import RULES, WORDS, WRITERS, gemma_model, siglip_model, trained, xlm_model

from kzoo.preprocessing import Tokenizer
from kzoo.preprocessing.charsmap import Charsmap
from kzoo.preprocessing.sentencepiece_model import build, read_model

LENGTH = 400  # no text of these tests is cut
ODD = (
    *(" ", "  ", "\n", "\t", "▁", "\u00a0", "\u200b", "\u3000", "\x00", "\x7f", "\ufeff", "¨", "☃", "😀", "👍🏽"),
    *("e\u0301", "e\u0323\u0302", "\ufb01\u0301", "ﬁ", "Ａ", "№", "ｶﾞ", "각", "각", "क्षि", "İ", "ΑΣ", "ß"),
    *("</s>", "<s>", "<unk>", "<pad>", "<mask>", "<eos>", "<0x41>", "<table>", "<extra_id_0>", "0", "ab", "A"),
)
CHARACTERS = st.integers(0, 0x2FFFF).filter(lambda code: not 0xD800 <= code < 0xE000).map(chr)
TEXTS = st.lists(st.sampled_from(ODD + tuple(WORDS)) | CHARACTERS, max_size=12).map("".join)
MODELS = {
    "siglip": siglip_model(),
    "several_words_a_piece": siglip_model(split_by_whitespace=False),
    "byte_fallback": trained(model_type="unigram", vocab_size=500, byte_fallback=True),
    "symbols_of_the_user": siglip_model(user_defined_symbols=["<table>", "ab"]),
    "no_space_before_the_text": siglip_model(add_dummy_prefix=False),
    "white_space_kept": siglip_model(normalization_rule_name="identity", remove_extra_whitespaces=False),
    "unchanged_characters": siglip_model(normalization_rule_name="identity"),
    "bpe": trained(model_type="bpe", vocab_size=300),
    "gemma": gemma_model(),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Name -> the ids that kzoo gives to a text, and the `SentencePieceProcessor`."""
    found = {}
    for name, data in MODELS.items():
        path = tmp_path_factory.mktemp("models") / "some.model"
        path.write_bytes(data)
        tokenizer = Tokenizer(build(read_model(path)), LENGTH)
        found[name] = tokenizer, sentencepiece.SentencePieceProcessor(model_proto=data)
    return found


def ids_of(tokenizer, text):
    batch = tokenizer([text])
    return batch["token_ids"][batch["padding_mask"]].tolist()


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=TEXTS)
@example("a photo of a cat")
@example("")
@example("   ")
@example(" </s> <unk>it's </s></s>")
def test_ids_equal_those_of_sentencepiece(opened, name, text):
    tokenizer, processor = opened[name]
    if "bpe" not in name and name != "gemma":
        # "aa" + "a" and "a" + "aa" score the same: there float32 decides for sentencepiece, float64 for tokenizers
        assume(not re.search(r"(.+)\1\1", processor.normalize(text)))
    assert ids_of(tokenizer, text) == processor.encode(text)


@pytest.mark.parametrize("rule", ["nmt_nfkc", "nfkc_cf"])
def test_every_character_is_mapped_as_sentencepiece_does(rule):
    raw = {"add_dummy_prefix": False, "escape_whitespaces": False, "remove_extra_whitespaces": False}
    theirs = sentencepiece.SentencePieceNormalizer(rule_name=rule, **raw)
    charsmap = Charsmap(_charsmap_of(trained(model_type="unigram", vocab_size=300, normalization_rule_name=rule)))
    codes = (*range(0xD800), *range(0xE000, 0x11000), *range(0x1D000, 0x1F800), *range(0x2F800, 0x2FA20))
    characters = list(map(chr, codes))  # the rest maps to itself in every released map
    for start in range(0, len(characters), 4096):
        text = "-".join(characters[start : start + 4096])
        assert charsmap(text) == theirs.normalize(text)
    assert charsmap("plain ASCII, twice") == theirs.normalize("plain ASCII, twice")


def _charsmap_of(data):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(data)
    return model.normalizer_spec.precompiled_charsmap


def test_the_map_that_tokenizers_would_lose_an_accent_in(opened):
    """Its `Precompiled` turns e with dot below and circumflex into e with dot below."""
    tokenizer, processor = opened["siglip"]
    text = "e\u0323\u0302"
    inside = tokenizers.Tokenizer.from_str(tokenizer.to_json()).normalizer.normalize_str(text)
    assert inside == "▁ẹ" and processor.normalize(text) == "▁ệ"
    assert ids_of(tokenizer, text) == processor.encode(text)


def test_the_map_survives_tokenizer_json(opened):
    tokenizer, processor = opened["siglip"]
    again = Tokenizer.from_json(tokenizer.to_json(), **tokenizer.get_config())
    twice = Tokenizer.from_json(again.to_json(), **again.get_config())
    assert tokenizer.fingerprint() == again.fingerprint() == twice.fingerprint()
    for text in ("ﬁne №2 Ａ", "e\u0323\u0302", "a </s> b"):
        assert ids_of(twice, text) == processor.encode(text)


def test_parsed_fields_are_those_of_the_protocol_buffer(tmp_path):
    for data in MODELS.values():
        (tmp_path / "some.model").write_bytes(data)
        expected = sentencepiece_model_pb2.ModelProto()
        expected.ParseFromString(data)
        model, rules = read_model(tmp_path / "some.model"), expected.normalizer_spec
        assert model.pieces == [(piece.piece, piece.score, piece.type) for piece in expected.pieces]
        assert (model.algorithm, model.byte_fallback) == (
            expected.trainer_spec.model_type,
            expected.trainer_spec.byte_fallback,
        )
        assert model.charsmap == rules.precompiled_charsmap
        assert (model.add_dummy_prefix, model.remove_extra_whitespaces) == (
            rules.add_dummy_prefix,
            rules.remove_extra_whitespaces,
        )


def test_xlm_ids_are_those_of_sentencepiece_plus_one(tmp_path):
    WRITERS["xlm_roberta"](tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path, RULES["xlm_roberta"] | {"clean": "none"}, LENGTH)
    tokenizer = Tokenizer.from_json(tokenizer.to_json(), **tokenizer.get_config() | {"reads_specials": False})
    processor = sentencepiece.SentencePieceProcessor(model_proto=xlm_model())
    for text in ("a photo of a cat", "☃ it's <s></s>", "", "ﬁne café"):
        expected = [3 if index == 0 else index + 1 for index in processor.encode(text)]
        assert ids_of(tokenizer, text) == [0, *expected, 2]
    assert tokenizer.vocabulary.token_to_id("<mask>") == processor.get_piece_size() + 1 == tokenizer.vocab_size - 1


def test_xlm_ids_need_the_order_of_fairseq(tmp_path):
    (tmp_path / "sentencepiece.bpe.model").write_bytes(siglip_model())
    with pytest.raises(ValueError, match="starts with '<pad>', but XLM-R's pieces start with <unk>, <s>, </s>"):
        Tokenizer.from_folder(tmp_path, RULES["xlm_roberta"], 16)


def test_sentinels_of_t5_come_from_no_text(tmp_path):
    """mT5's vocabulary, which SigLIP's multilingual models have, ends with 100 ids that its token table lacks."""
    plain = siglip_model()
    rows = sentencepiece.SentencePieceProcessor(model_proto=plain).get_piece_size()
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(plain)
    for number in range(3):
        model.pieces.add(piece=f"▁<extra_id_{number}>", score=0.0, type=4)
    (tmp_path / "spiece.model").write_bytes(model.SerializeToString())
    tokenizer = Tokenizer.from_folder(tmp_path, RULES["sentencepiece"] | {"clean": "none"}, LENGTH, vocab_size=rows)
    assert tokenizer.vocab_size == rows + 3
    assert tokenizer(["a <extra_id_1> cat"])["token_ids"].max() < rows


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda data: data[: len(data) // 2], "is no sentencepiece model"),
        (lambda data: b"", "it holds no pieces"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "is no sentencepiece model"),
        (lambda data: trained(model_type="char", vocab_size=60), "is a word or character model"),
        (lambda data: trained(model_type="bpe", vocab_size=300, user_defined_symbols=["<x>"]), "reads neither"),
    ],
)
def test_files_that_are_no_model_of_ours(tmp_path, damage, sentence):
    (tmp_path / "spiece.model").write_bytes(damage(siglip_model()))
    with pytest.raises(ValueError, match=f"{tmp_path}/spiece.model.*{sentence}"):
        Tokenizer.from_folder(tmp_path, RULES["sentencepiece"], 16)
