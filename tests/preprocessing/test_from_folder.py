"""Vocabularies of every kind by the rules of a preset: ids and padding of transformers, from each file layout."""

import copy
import pickle

import numpy as np
import pytest
import tokenizers
from tokenizers import processors
from toy_vocabularies import RULES, WRITERS
from transformers import (
    BertTokenizer,
    CLIPTokenizer,
    NllbTokenizer,
    RobertaTokenizer,
    Siglip2Tokenizer,
    SiglipTokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
)

from kzoo.preprocessing import Preprocessor, Tokenizer

KINDS = list(WRITERS)
LIBRARY = {
    "clip_bpe": CLIPTokenizer,
    "sentencepiece": SiglipTokenizer,
    "gemma": Siglip2Tokenizer,
    "wordpiece": BertTokenizer,
    "roberta_bpe": RobertaTokenizer,
    "xlm_roberta": XLMRobertaTokenizer,
    "nllb": NllbTokenizer,
}
CLEAN = {"sentencepiece": "siglip", "gemma": "lowercase"}  # what the library's class does by itself
TEXTS = [
    "a photo of a cat",
    "Happy RUNNING dogs, it's 2024!",
    "don't. Photo - cat's (red) e=mc^2",
    "café naïve straße e\u0301",
    "日本語 テスト 😀 👍🏽",
    "fine Ａ №2",
    "x" * 40,
    "the cat " * 9,
    "",
    "a_photo _of_ \t the\n cat ",
    "ΑΣ İx ▁a ▁ cat",
]
SPECIALS = {
    "clip_bpe": ("<|startoftext|>", "<|endoftext|>"),
    "sentencepiece": ("</s>", "<unk>", "<pad>"),
    "gemma": ("<eos>", "<bos>", "<pad>", "<unk>", "<mask>", "<table>"),
    "wordpiece": ("[SEP]", "[CLS]", "[MASK]", "[PAD]", "[UNK]"),
    "roberta_bpe": ("</s>", "<s>", "<mask>", "<pad>", "<unk>"),
    "xlm_roberta": ("</s>", "<s>", "<mask>", "<pad>", "<unk>"),
    "nllb": ("</s>", "<s>", "<mask>", "<pad>", "<unk>", "fra_Latn"),
}
SPELLINGS = (
    *("a {} cat", "a{}cat", "{}", "{} a photo", "a photo {}", "a  {}  the cat", "cat {}{} dog", "a photo {}{}"),
    *("the {}.", "{}_cat"),
)


def vocabulary_of(kind, folder, length=12, **rules):
    """The toy vocabulary of a kind, opened from a folder where it is written first."""
    WRITERS[kind](folder)
    return Tokenizer.from_folder(folder, RULES[kind] | rules, length)


def ids_of_transformers(kind, folder, texts, length):
    """Rows of ids and masks by the library's own class, asked for what the checkpoints were trained with."""
    theirs = LIBRARY[kind].from_pretrained(str(folder), local_files_only=True)
    if kind == "gemma":  # the class has no end of its own: SigLIP 2 appends it
        rows = [[*theirs(text, add_special_tokens=False)["input_ids"][: length - 1], 1] for text in texts]
    else:
        rows = theirs(list(texts), truncation=True, max_length=length)["input_ids"]
    padding = RULES[kind]["pad_id"]
    masks = [[True] * len(row) + [False] * (length - len(row)) for row in rows]
    return [row + [padding] * (length - len(row)) for row in rows], masks


@pytest.mark.filterwarnings("ignore:.*were cut")
@pytest.mark.parametrize("kind", KINDS)
def test_ids_equal_those_of_transformers(tmp_path, kind):
    tokenizer = vocabulary_of(kind, tmp_path, clean=CLEAN.get(kind, "none"))
    batch = tokenizer(TEXTS)
    ids, masks = ids_of_transformers(kind, tmp_path, TEXTS, 12)
    assert batch["token_ids"].tolist() == ids
    assert batch["padding_mask"].tolist() == masks


@pytest.mark.filterwarnings("ignore:.*were cut")
@pytest.mark.parametrize("kind", KINDS)
def test_tokenizer_json_of_transformers_gives_the_ids_of_the_original_files(tmp_path, kind):
    texts = [*TEXTS, "a </s> cat", "<s> <pad> <unk>", "<eos> <bos>", "[SEP] [CLS] [MASK]"]
    expected = vocabulary_of(kind, tmp_path)(texts)["token_ids"]
    library = T5Tokenizer if kind == "sentencepiece" else LIBRARY[kind]  # as open_clip's SigLIP repositories have it
    extra = {"extra_ids": 0} if kind == "sentencepiece" else {}
    theirs = library.from_pretrained(str(tmp_path), local_files_only=True, **extra)
    other = tmp_path / "other"
    theirs.save_pretrained(other)
    assert sorted(path.name for path in other.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    opened = Tokenizer.from_folder(other, RULES[kind], 12)
    assert np.array_equal(opened(texts)["token_ids"], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_file_says_of_specials_padding_and_truncation_does_not_count(tmp_path, kind):
    tokenizer = vocabulary_of(kind, tmp_path)
    text = "a photo" if kind != "clip_bpe" else "ab a"
    expected = tokenizer([text])["token_ids"].tolist()
    file = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    file.enable_padding(direction="left", length=5, pad_id=3, pad_token=file.id_to_token(3))
    file.enable_truncation(2, direction="left")
    token = file.id_to_token(4)
    file.post_processor = processors.TemplateProcessing(single=[token, "$A"], special_tokens=[(token, 4)])
    file.decoder = None
    (tmp_path / "tokenizer.json").write_text(file.to_str(), "utf-8")
    opened = Tokenizer.from_folder(tmp_path, RULES[kind], 12)
    assert opened([text])["token_ids"].tolist() == expected
    assert (opened.start_id, opened.eot_id) == (RULES[kind]["start_id"], RULES[kind]["eot_id"])
    assert opened.decode(expected) == [text]


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_around_the_context_length(tmp_path, kind):
    tokenizer = vocabulary_of(kind, tmp_path, length=64)
    text = "a b ab a" if kind == "clip_bpe" else "a photo of the dog"
    batch = tokenizer([text])
    whole = batch["token_ids"][batch["padding_mask"]].tolist()
    for length in (len(whole) + 1, len(whole), len(whole) - 1):
        opened = Tokenizer.from_folder(tmp_path, RULES[kind], length)
        batch, cut = opened.encode([text])
        assert cut == (length < len(whole))
        expected = [*whole[: length - 1], RULES[kind]["eot_id"]] if cut else whole
        assert batch["token_ids"][0].tolist() == expected + [RULES[kind]["pad_id"]] * (length - len(expected))
        assert batch["padding_mask"][0].tolist() == [True] * len(expected) + [False] * (length - len(expected))
    specials = 1 if RULES[kind]["start_id"] is None else 2
    with pytest.raises(ValueError, match=f"context_length is {specials}, but start and end alone take {specials} ids"):
        Tokenizer.from_folder(tmp_path, RULES[kind], specials)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_text_is_start_and_end(tmp_path, kind):
    tokenizer = vocabulary_of(kind, tmp_path, length=6)
    rules = RULES[kind]
    specials = [rules["eot_id"]] if rules["start_id"] is None else [rules["start_id"], rules["eot_id"]]
    batch = tokenizer([""])
    assert batch["token_ids"].tolist() == [specials + [rules["pad_id"]] * (6 - len(specials))]
    assert batch["padding_mask"].sum() == len(specials)
    assert tokenizer.decode(batch["token_ids"]) == [""]
    assert tokenizer([])["token_ids"].shape == (0, 6)


@pytest.mark.parametrize(
    "kind, text, expected",
    [
        ("clip_bpe", "AB a", "ab a"),
        ("sentencepiece", "A_photo of the cat!", "a photo of the cat"),
        ("gemma", "Ein Ä 😀  of\nit's", "ein ä 😀  of\nit's"),
        ("wordpiece", "Running cats, café", "running cats, cafe"),
        ("roberta_bpe", "A café of 日本 😀", "A café of 日本 😀"),
        ("xlm_roberta", "a café of 日本", "a café of 日本"),
        ("nllb", "a café of 日本", "a café of 日本"),
    ],
)
def test_decode(tmp_path, kind, text, expected):
    tokenizer = vocabulary_of(kind, tmp_path, length=48)
    ids = tokenizer([text, text])["token_ids"]
    assert tokenizer.decode(ids) == [expected, expected]
    assert tokenizer.decode(ids[:, : ids[0].tolist().index(tokenizer.eot_id)]) == [expected, expected]  # no end yet
    after_the_end = np.concatenate([ids, ids], axis=1)
    assert tokenizer.decode(after_the_end) == [expected, expected]


def test_decode_leaves_special_ids_out(tmp_path):
    tokenizer = vocabulary_of("wordpiece", tmp_path)
    cat = tokenizer.vocabulary.token_to_id("cat")
    assert tokenizer.decode([[101, cat, 103, 100, cat, 0, 102, cat]]) == ["cat cat"]


@pytest.mark.filterwarnings("ignore:.*already has.*")
@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_that_a_text_spells_are_read_as_transformers_reads_them(tmp_path, kind):
    tokenizer = vocabulary_of(kind, tmp_path, length=40, clean=CLEAN.get(kind, "none"))
    texts = [spelling.format(*[token] * 2) for token in SPECIALS[kind] for spelling in SPELLINGS]
    texts += [each for token in SPECIALS[kind] for each in (token.upper(), token.lower(), token[:-1], token[1:])]
    expected = np.array(ids_of_transformers(kind, tmp_path, texts, 40)[0])
    for again in (tokenizer, copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert np.array_equal(again(texts)["token_ids"], expected)
    again = Tokenizer.from_json(tokenizer.to_json(), **tokenizer.get_config())
    assert np.array_equal(again(texts)["token_ids"], expected) and again.to_json() == tokenizer.to_json()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "clip_bpe"])
def test_special_tokens_that_a_text_spells_are_text_where_nothing_says_else(tmp_path, kind):
    tokenizer = vocabulary_of(kind, tmp_path, length=64)
    ids = {tokenizer.start_id, tokenizer.eot_id, tokenizer.pad_id} - {None}
    text = " ".join(["a", *map(tokenizer.vocabulary.id_to_token, ids), "b"])
    config = {name: value for name, value in tokenizer.get_config().items() if name != "reads_specials"}
    plain = Tokenizer.from_json(tokenizer.to_json(), **config)  # as models were saved that did not say it
    for each in (plain, copy.deepcopy(plain), pickle.loads(pickle.dumps(plain))):
        batch = each([text])
        inner = batch["token_ids"][batch["padding_mask"]][tokenizer.start_id is not None : -1].tolist()
        assert len(inner) > 4 and not ids & set(inner)


def test_a_vocabulary_of_its_own_has_no_words_that_are_none():
    tokenizer = Tokenizer.train(["a cat", "the end of text"], 320, 64)
    batch = tokenizer(["a <end_of_text> cat <pad> <start_of_text>"])
    assert not {0, 1, 2} & set(batch["token_ids"][batch["padding_mask"]][1:-1].tolist())


def test_texts_of_other_languages(tmp_path):
    tokenizer = vocabulary_of("nllb", tmp_path)
    theirs = NllbTokenizer.from_pretrained(str(tmp_path))
    assert len(tokenizer.languages) == 202 and tokenizer.languages[0] == "ace_Arab"
    theirs.src_lang = "fra_Latn"
    french = tokenizer.in_language("fra_Latn")
    assert french(["a photo"])["token_ids"][0, :5].tolist() == [*theirs("a photo")["input_ids"], 1]
    opened = Tokenizer.from_folder(tmp_path, RULES["nllb"] | {"language": "fra_Latn"}, 12)
    assert opened.start_id == french.start_id and opened.fingerprint() == french.fingerprint()
    with pytest.raises(ValueError, match="language is 'French', but this vocabulary knows 202 languages: ace_Arab, "):
        tokenizer.in_language("French")
    preprocessor = Preprocessor(None, tokenizer)
    preprocessor.set_language("fra_Latn")
    again = Preprocessor.from_config(preprocessor.get_config())
    assert np.array_equal(again(texts=["a photo"])["token_ids"], french(["a photo"])["token_ids"])
    assert again.rules()["language"] == "fra_Latn" and again.tokenizer.start_id == french.start_id


def test_most_vocabularies_have_no_language(tmp_path):
    tokenizer = vocabulary_of("wordpiece", tmp_path)
    assert tokenizer.languages == []
    with pytest.raises(ValueError, match="language is 'eng_Latn', but this vocabulary has no languages"):
        tokenizer.in_language("eng_Latn")


def test_clipa_pads_where_a_text_spells_the_end(tmp_path):
    tokenizer = vocabulary_of("wordpiece", tmp_path, eot_id=0)
    cat = tokenizer.vocabulary.token_to_id("cat")
    assert tokenizer(["cat [SEP] cat"])["token_ids"][0, :5].tolist() == [101, cat, 0, cat, 0]


@pytest.mark.filterwarnings("ignore:.*were cut")
def test_clipa_ends_with_padding(tmp_path):
    tokenizer = vocabulary_of("wordpiece", tmp_path, eot_id=0)
    ends_in_sep = vocabulary_of("wordpiece", tmp_path)
    rows, reference = tokenizer(["a cat", "the cat " * 9]), ends_in_sep(["a cat", "the cat " * 9])
    assert np.array_equal(rows["token_ids"], np.where(reference["token_ids"] == 102, 0, reference["token_ids"]))
    assert np.array_equal(rows["padding_mask"], reference["padding_mask"])
    assert tokenizer.decode(rows["token_ids"][:1]) == ["a cat"]


def test_cased_and_lower_cased_wordpiece(tmp_path):
    cased = vocabulary_of("wordpiece", tmp_path, lowercase=False)
    theirs = BertTokenizer.from_pretrained(str(tmp_path), do_lower_case=False, local_files_only=True)
    expected = theirs("Photo café photo", padding="max_length", max_length=12)["input_ids"]
    assert cased(["Photo café photo"])["token_ids"][0].tolist() == expected
    # the rule counts, not what a tokenizer.json says
    theirs.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    lower = Tokenizer.from_folder(tmp_path, RULES["wordpiece"], 12)
    assert lower(["Photo"])["token_ids"].tolist() == lower(["photo"])["token_ids"].tolist()


def test_rules_may_set_their_own_context_length(tmp_path):
    assert vocabulary_of("wordpiece", tmp_path, length=12, context_length=9).context_length == 9


@pytest.mark.parametrize(
    "kind, names",
    [
        ("clip_bpe", "tokenizer.json, vocab.json with merges.txt, bpe_simple_vocab_16e6.txt.gz"),
        ("sentencepiece", "tokenizer.json, spiece.model"),
        ("gemma", "tokenizer.json, tokenizer.model"),
        ("wordpiece", "tokenizer.json, vocab.txt"),
        ("roberta_bpe", "tokenizer.json, vocab.json with merges.txt"),
        ("xlm_roberta", "tokenizer.json, sentencepiece.bpe.model"),
    ],
)
def test_a_folder_without_a_vocabulary(tmp_path, kind, names):
    (tmp_path / "vocab.json").write_text("{}")  # half of a pair is none
    with pytest.raises(FileNotFoundError, match=f"holds no vocabulary of kind {kind}; looked for {names}"):
        Tokenizer.from_folder(tmp_path, RULES[kind], 12)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "nllb"])  # whose file keeps its own
def test_by_hand_a_file_has_the_start_and_end_of_its_kind(tmp_path, kind):
    expected = vocabulary_of(kind, tmp_path, clean="none")
    opened = Tokenizer.from_file(tmp_path, 12, pad_id=RULES[kind]["pad_id"])
    texts = ["a photo of", "ab"]
    assert np.array_equal(opened(texts)["token_ids"], expected(texts)["token_ids"])
    (file, *_) = sorted(tmp_path.iterdir(), reverse=True)
    assert Tokenizer.from_file(file, 12, RULES[kind]["pad_id"]).fingerprint() == expected.fingerprint()


@pytest.mark.parametrize(
    "files, sentence",
    [
        ({"tokenizer.json": b"{]"}, "tokenizer.json is not JSON"),
        ({"vocab.json": b"{}", "merges.txt": b"#version: 0.2\n"}, "neither the end of text of CLIP"),
        ({"vocab.json": b"[1]", "merges.txt": b"#version: 0.2\n"}, "holds no JSON object"),
        ({"vocab.json": b"{]", "merges.txt": b"#version: 0.2\n"}, "vocab.json is not JSON"),
        ({"vocab.json": b'{"</s>": 0, "<unk>": 1}', "merges.txt": b"#version: 0.2\na b\n"}, "vocab.json is damaged"),
        ({"bpe_simple_vocab_16e6.txt.gz": b"plain"}, "txt.gz is damaged"),
        ({"vocab.txt": b"a\nb\n"}, r"holds no \[UNK\], so it is no vocabulary of kind wordpiece"),
        ({"vocab.txt": b"\xff\xfe"}, "vocab.txt is not UTF-8"),
    ],
)
def test_damaged_files(tmp_path, files, sentence):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        Tokenizer.from_file(tmp_path, 12)
