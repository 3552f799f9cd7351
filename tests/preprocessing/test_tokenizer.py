"""CLIP's vocabulary against an independent implementation, its file layouts, training, truncation."""

import gzip
import importlib.util
import json
from pathlib import Path

import instant_clip_tokenizer
import numpy as np
import pytest

from kzoo.preprocessing import Tokenizer
from kzoo.preprocessing.bpe import CLIP_MERGES, byte_symbols
from kzoo.preprocessing.cleaning import clean_openai
from kzoo.presets.table import read_row

TEXTS = [
    "a photo of a cat",
    "Hello, World!! it's 2024 and we're HERE",
    "café naïve straße",
    "日本語 テスト 😀 👍🏽",
    "x" * 300,
    " lots   of\n\twhite space ",
    "",
    "A&amp;B &lt;tag&gt; #1 @home e=mc^2...",
]


def toy_simple_vocab(path):
    """A file in the layout of bpe_simple_vocab_16e6.txt.gz whose merges spell out a few words."""
    words = ["cat", "dog", "photo", "of"]
    merges = []
    for word in words:
        symbols = [*word[:-1], word[-1] + "</w>"]
        while len(symbols) > 1:
            pair = (symbols[0], symbols[1])
            symbols[:2] = ["".join(pair)]
            if pair not in merges:
                merges.append(pair)
    filler = [(symbol, other) for symbol in byte_symbols() for other in byte_symbols()]
    merges += [pair for pair in filler if pair not in merges][: CLIP_MERGES - len(merges)]
    lines = ['"bpe_simple_vocab_16e6.txt#version: 0.2', *(" ".join(pair) for pair in merges), "beyond the vocabulary"]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return merges


@pytest.fixture(scope="module")
def clip():
    """CLIP's tokenizer from the vocabulary that the open_clip wheel carries; the package is not imported."""
    folder = Path(importlib.util.find_spec("open_clip").origin).parent
    return Tokenizer.from_file(folder / "bpe_simple_vocab_16e6.txt.gz", 77)


def test_clip_ids_equal_an_independent_implementation(clip):
    independent = instant_clip_tokenizer.Tokenizer()
    expected = independent.tokenize_batch([clean_openai(text) for text in TEXTS], context_length=77)
    with pytest.warns(UserWarning, match="1 of 9 texts are longer than the context of 77 ids"):
        got = clip([*TEXTS, "cat " * 90])["token_ids"]
    assert np.array_equal(got[:-1], expected.astype("int32"))
    assert got[-1, -1] == 49407


def test_clip_ids_known_from_its_papers_code(clip):
    assert clip(["a photo of a cat"])["token_ids"][0, :7].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert clip.decode(clip(["A photo, of a CAT!"])["token_ids"]) == ["a photo , of a cat !"]


def test_clip_by_the_rules_of_its_preset(clip):
    folder = Path(importlib.util.find_spec("open_clip").origin).parent
    rules = read_row("clip_base")["tokenizer"]
    sealed = Tokenizer.from_folder(folder, rules, 77, vocab_size=49408)
    assert sealed.fingerprint() == clip.fingerprint()
    assert np.array_equal(sealed(TEXTS)["token_ids"], clip(TEXTS)["token_ids"])
    with pytest.raises(ValueError, match="has ids up to 49407, but the token table of the preset has 49000 rows"):
        Tokenizer.from_folder(folder, rules, 77, vocab_size=49000)


def test_clip_reads_its_special_tokens_as_open_clip_does(clip):
    ids = clip(["a <end_of_text> <|endoftext|>"])["token_ids"][0]
    assert ids[:3].tolist() == [49406, 320, 49407] and np.count_nonzero(ids == 49407) == 2


def test_decode_of_the_mark_that_ends_words(clip):
    text = "the tag </w> and ></w> are text"
    assert clip.decode(clip([text])["token_ids"]) == ["the tag </ w > and ></ w > are text"]


def test_gz_layout(tmp_path):
    merges = toy_simple_vocab(tmp_path / "bpe_simple_vocab_16e6.txt.gz")
    tokenizer = Tokenizer.from_file(tmp_path, 8)
    assert tokenizer.vocab_size == 49408 and tokenizer.eot_id == 49407
    cat = 512 + merges.index(("ca", "t</w>"))
    rows = tokenizer(["Cat", "cat cat", "zz"])["token_ids"]
    assert rows[0].tolist() == [49406, cat, 49407, 0, 0, 0, 0, 0]
    assert rows[1].tolist() == [49406, cat, cat, 49407, 0, 0, 0, 0]
    assert tokenizer.decode(rows[:2]) == ["cat", "cat cat"]


def test_vocab_and_merges_layout(tmp_path):
    vocab = {"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab</w>": 4, "<|startoftext|>": 5, "<|endoftext|>": 6}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    rows = Tokenizer.from_file(tmp_path, 6, pad_id=6)(["AB a", "b"])
    assert rows["token_ids"].tolist() == [[5, 4, 2, 6, 6, 6], [5, 3, 6, 6, 6, 6]]
    assert rows["padding_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]]


def test_tokenizer_json_layout(tmp_path):
    trained = Tokenizer.train(["a cat", "a dog"], 300, 8)
    (tmp_path / "tokenizer.json").write_text(trained.to_json())
    opened = Tokenizer.from_file(tmp_path, 8)
    assert np.array_equal(opened(["a cat", "new"])["token_ids"], trained(["a cat", "new"])["token_ids"])


def test_nothing_of_the_kind(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no vocabulary; expected tokenizer.json"):
        Tokenizer.from_file(tmp_path, 8)


def test_merges_without_a_version_line(tmp_path):
    (tmp_path / "vocab.json").write_text('{"<|endoftext|>": 0}')
    (tmp_path / "merges.txt").write_text("a b\n")
    with pytest.raises(ValueError, match="a merges file starts with its version"):
        Tokenizer.from_file(tmp_path, 8)


def test_trained_vocabulary():
    captions = ["book lock open outline", "book open", "lock"] * 5
    tokenizer = Tokenizer.train(captions, 300, 8)
    rows = tokenizer(["book lock", "Book  LOCK", "unseen wörd ☃"])
    ids, mask = rows["token_ids"], rows["padding_mask"]
    assert ids.shape == (3, 8) and ids.dtype == np.int32 and mask.dtype == bool
    assert np.array_equal(ids[0], ids[1])
    assert ids[0, 0] == 1 and tokenizer.eot_id == 2 and ids[0, mask[0].sum() - 1] == 2
    assert ids.max() < tokenizer.vocab_size <= 300
    assert tokenizer.decode(ids[:2]) == ["book lock", "book lock"]


def test_any_text_survives_a_trained_vocabulary():
    tokenizer = Tokenizer.train(["a"], 259, 64)
    assert tokenizer.decode(tokenizer(["snow ☃ and 日本"])["token_ids"]) == ["snow ☃ and 日本"]


def test_truncation_is_counted_and_keeps_the_end():
    tokenizer = Tokenizer.train(["a"], 259, 5)
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than the context of 5 ids"):
        ids = tokenizer(["abcdefgh", "a"])["token_ids"]
    assert ids[0, -1] == tokenizer.eot_id and ids[0, 0] == 1


def test_config_round_trips():
    tokenizer = Tokenizer.train(["a cat"], 280, 6)
    again = Tokenizer.from_json(tokenizer.to_json(), **tokenizer.get_config())
    assert (again.start_id, again.eot_id) == (tokenizer.start_id, tokenizer.eot_id) == (1, 2)
    assert np.array_equal(again(["a cat"])["token_ids"], tokenizer(["a cat"])["token_ids"])


@pytest.mark.parametrize(
    "texts, sentence",
    [("a cat", "texts is one string"), (["a", 3], "text 1 is of type int"), ([None], "text 0 is of type NoneType")],
)
def test_only_lists_of_strings(texts, sentence):
    with pytest.raises(TypeError, match=sentence):
        Tokenizer.train(["a"], 259, 5)(texts)


def test_half_of_a_surrogate_pair():
    with pytest.raises(ValueError, match=r"text 1 holds half of a surrogate pair, '\\ud83d'"):
        Tokenizer.train(["a"], 259, 5)(["a", "a \ud83d"])


def test_bad_arguments():
    with pytest.raises(ValueError, match="bytes and special ids alone need 259"):
        Tokenizer.train(["a"], 100, 5)
    trained = Tokenizer.train(["a"], 259, 5)
    with pytest.raises(ValueError, match="pad_id 999 is not in the vocabulary"):
        Tokenizer(trained.vocabulary, 5, pad_id=999)
    with pytest.raises(ValueError, match="clean 'soap' is unknown"):
        Tokenizer(trained.vocabulary, 5, clean="soap")
