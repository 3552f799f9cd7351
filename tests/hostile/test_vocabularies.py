"""Vocabularies of a stranger: none makes books of a letter, and none gives a text other ids the next time."""

import base64
import json
import struct

import pytest
from reading import grown, refused, within

from kzoo.data.sources import read_source
from kzoo.files.strict_json import parse_json
from kzoo.preprocessing import Tokenizer
from kzoo.preprocessing.vocabulary_file import check_vocabulary

pytestmark = pytest.mark.once
MIB = 2**20


@pytest.fixture(scope="module")
def vocabulary():
    return json.loads(Tokenizer.train(["a cat", "a dog"], 300, 8).to_json())


def opened(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    return Tokenizer.from_file(tmp_path / "tokenizer.json", 8)(["a cat"])["token_ids"].tolist()


def steps(*normalizers):
    return {"normalizer": {"type": "Sequence", "normalizers": list(normalizers)}}


def replacement(text):
    return {"type": "Replace", "pattern": {"String": "a"}, "content": text}


MAP = base64.b64encode(struct.pack("<II", 4, 0) + b"a" * 2000 + b"\0").decode()
BOMBS = {
    "a long step": steps(replacement("a" * 2000)),
    "two steps": steps(replacement("a" * 1000), replacement("a" * 1000)),
    "many short steps": steps(*25 * [replacement("aa")]),
    "steps within steps": steps(steps(replacement("a" * 40))["normalizer"], steps(replacement("a" * 40))["normalizer"]),
    "many beginnings": steps(*2000 * [{"type": "Prepend", "prepend": "a" * 1000}]),
    "a map behind a step": steps(replacement("b"), {"type": "Precompiled", "precompiled_charsmap": MAP}),
}


@pytest.mark.parametrize("what", BOMBS)
def test_steps_that_make_books_of_a_letter(tmp_path, vocabulary, what):
    assert grown(lambda: refused(lambda: opened(tmp_path, vocabulary | BOMBS[what]))) < 100 * MIB


def test_steps_of_good_vocabularies(tmp_path, vocabulary):
    before = opened(tmp_path, vocabulary)
    own = vocabulary["normalizer"]["normalizers"]
    assert opened(tmp_path, vocabulary | steps(*own, replacement("a"), {"type": "NFKC"})) == before


def test_ids_that_are_drawn(tmp_path, vocabulary):
    for dropout in (0.5, 1, "0", True):
        drawn = vocabulary | {"model": vocabulary["model"] | {"dropout": dropout}}
        assert f"model says dropout={dropout!r}" in refused(lambda drawn=drawn: opened(tmp_path, drawn))
    for dropout in (None, 0.0):
        opened(tmp_path, vocabulary | {"model": vocabulary["model"] | {"dropout": dropout}})


def test_what_stands_twice_is_found_at_once(tmp_path, vocabulary):
    """Whoever counts each name among all would look for hours."""
    names = [f"n{number}" for number in range(200_000)]
    added = [{"id": number, "content": name} for number, name in enumerate([*names, names[-1]], start=1000)]
    (tmp_path / "wide.csv").write_text(",".join(["image", "caption", *names, names[-1]]) + "\n")
    text = json.dumps(dict.fromkeys(names))[:-1] + ', "n199999": 1}'
    with within(8):
        assert "'n199999' twice" in refused(lambda: parse_json(text, "it"))
        assert "'n199999' twice" in refused(lambda: check_vocabulary(vocabulary | {"added_tokens": added}, "it"))
        assert "two columns 'n199999'" in refused(lambda: read_source(tmp_path / "wide.csv"))


def around(**step):
    single = [{"Sequence": {"id": "A", "type_id": 0}}]
    return {"post_processor": {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}} | step}


TEXT, END = {"Sequence": {"id": "A", "type_id": 0}}, "<end_of_text>"
LONG = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a" * 2000, -1]]}
ROBERTA = {"type": "RobertaProcessing", "sep": [END, 2], "cls": ["<s>", 99999]}
ODD = {
    "a piece of 2,000 characters": {"model": LONG},
    "merges, more than there are ways": lambda found: found["model"].update(merges=500 * found["model"]["merges"]),
    "a normalizer of more than 64 steps": steps(*65 * [{"type": "Lowercase"}]),
    "a character map that is damaged": steps({"type": "Precompiled", "precompiled_charsmap": "/////w=="}),
    "a character map that is no base64": steps({"type": "Precompiled", "precompiled_charsmap": "!"}),
    "has 50 texts in its post_processor": around(single=50 * [TEXT]),
    "has 0 texts in its post_processor": around(single=[]),
    "but a token and its id": around(special_tokens={END: {"id": END, "ids": [10**9], "tokens": [END]}}),
    "but tokens with their ids": around(special_tokens={END: {"id": END, "ids": [1, 2], "tokens": [END]}}),
    "['<s>', 99999] around texts": {"post_processor": ROBERTA},
    "adds '<x>' as id 5000, but by its other tokens it is id": lambda found: found["added_tokens"].append(
        found["added_tokens"][0] | {"id": 5000, "content": "<x>"}
    ),
}


@pytest.mark.parametrize("said", ODD)
def test_odd_parts_of_a_vocabulary(tmp_path, vocabulary, said):
    content = json.loads(json.dumps(vocabulary))
    content.update(ODD[said]) if isinstance(ODD[said], dict) else ODD[said](content)
    assert said in refused(lambda: opened(tmp_path, content))


def test_a_list_of_tokens_with_a_mark_of_its_encoding(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n", encoding="utf-8-sig")
    assert Tokenizer.from_file(tmp_path / "vocab.txt", 5)(["a"])["token_ids"].tolist() == [[2, 4, 3, 0, 0]]


def varint(number):
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def test_a_model_whose_map_says_more_than_it_has(tmp_path):
    pieces = b"".join(b"\x0a\x05\x0a\x01" + each for each in (b"?\x18\x02", b"a\x18\x01"))
    (tmp_path / "spiece.model").write_bytes(pieces + b"\x1a\x06\x12\x04" + b"\xff" * 4)
    assert "a character map that is damaged" in refused(lambda: Tokenizer.from_file(tmp_path / "spiece.model", 8))


def test_a_piece_without_end(tmp_path):
    piece = b"a" * 300_000
    inner = b"\x0a" + varint(len(piece)) + piece
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a" + varint(len(inner)) + inner)
    with within(8):
        assert "a piece of 300,000 characters" in refused(lambda: Tokenizer.from_file(tmp_path / "tokenizer.model", 8))
