"""A preset and its vocabulary stay together: foreign vocabularies are refused, edited and exchanged ones too."""

import hashlib
import json

import numpy as np
import pytest
import tokenizers
from toy_vocabularies import RULES, WRITERS

from kzoo.preprocessing import ImageSteps, Preprocessor, Tokenizer
from kzoo.preprocessing.sealing import fingerprint


def opened(written, folder, **rules):
    WRITERS[written](folder)
    return Tokenizer.from_folder(folder, RULES[written] | rules, 12)


@pytest.mark.parametrize(
    "kind, rules, sentence",
    [
        ("wordpiece", {"eot_id": 103}, r"has '\[MASK\]' at id 103, where the preset expects \[SEP\] or \[PAD\]"),
        ("wordpiece", {"start_id": 0}, r"has '\[PAD\]' at id 0, where the preset expects \[CLS\]"),
        ("wordpiece", {"pad_id": 5}, r"has '\[unused4\]' at id 5, where the preset expects \[PAD\]"),
        ("wordpiece", {"special_ids": {"unk": 3}}, r"has '\[unused2\]' at id 3, where the preset expects \[UNK\]"),
        ("wordpiece", {"special_ids": {"mask": 30000}}, r"has no token at id 30000, where the preset expects \[MASK\]"),
        ("wordpiece", {"special_ids": {"dot": 1}}, "has no special token 'dot', only pad, unk, start, sep, mask, end"),
        ("clip_bpe", {"eot_id": 5}, r"has '<\|startoftext\|>' at id 5, where the preset expects <\|endoftext\|> or"),
        ("clip_bpe", {"eot_id": 49407}, "has no token at id 49407"),
        ("clip_bpe", {"pad_id": 7}, "has no token at id 7, where the preset expects its padding"),
        ("sentencepiece", {"special_ids": {"unk": 3}}, "at id 3, where the preset expects <unk>"),
        ("gemma", {"eot_id": 2}, "has '<bos>' at id 2, where the preset expects <eos>"),
        ("roberta_bpe", {"start_id": 3}, "has '<unk>' at id 3, where the preset expects <s>"),
        (
            "xlm_roberta",
            {"special_ids": {"mask": 250001}},
            "has no token at id 250001, where the preset expects <mask>",
        ),
    ],
)
def test_special_ids_of_another_model(tmp_path, kind, rules, sentence):
    with pytest.raises(ValueError, match=sentence):
        opened(kind, tmp_path, **rules)


@pytest.mark.parametrize(
    "written, asked, sentence",
    [
        ("gemma", "sentencepiece", "holds a vocabulary of type BPE, but one of kind sentencepiece is of type Unigram"),
        ("xlm_roberta", "gemma", "holds a vocabulary of type Unigram, but one of kind gemma is of type BPE"),
        ("roberta_bpe", "wordpiece", "holds a vocabulary of type BPE, but one of kind wordpiece is of type WordPiece"),
        ("wordpiece", "clip_bpe", "holds a vocabulary of type WordPiece, but one of kind clip_bpe is of type BPE"),
        ("roberta_bpe", "clip_bpe", "at id 5, where the preset expects"),
        ("sentencepiece", "xlm_roberta", "has '</s>' at id 1, where the preset expects <pad>"),
    ],
)
def test_tokenizer_json_of_another_kind(tmp_path, written, asked, sentence):
    text = opened(written, tmp_path).to_json()
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=sentence):
        Tokenizer.from_folder(other, RULES[asked], 12)


def test_a_model_file_of_another_kind(tmp_path):
    WRITERS["gemma"](tmp_path)
    (tmp_path / "tokenizer.model").rename(tmp_path / "spiece.model")
    with pytest.raises(ValueError, match="spiece.model holds a vocabulary of type BPE"):
        Tokenizer.from_folder(tmp_path, RULES["sentencepiece"], 12)


@pytest.mark.parametrize("kind", WRITERS)
def test_ids_beyond_the_token_table(tmp_path, kind):
    rows = opened(kind, tmp_path).vocab_size
    if kind == "xlm_roberta":
        rows -= 1  # its mask comes last, from no text
    Tokenizer.from_folder(tmp_path, RULES[kind], 12, vocab_size=rows)
    with pytest.raises(ValueError, match=f"up to {rows - 1}, but the token table of the preset has {rows - 1} rows"):
        Tokenizer.from_folder(tmp_path, RULES[kind], 12, vocab_size=rows - 1)


def test_a_special_token_that_was_added_to_clip(tmp_path):
    """Its texts may name special tokens, and a tower that pools at the largest id would pool at this one."""
    file = tokenizers.Tokenizer.from_str(opened("clip_bpe", tmp_path).to_json())
    file.add_special_tokens(["<|mine|>"])
    (tmp_path / "tokenizer.json").write_text(file.to_str(), "utf-8")
    with pytest.raises(ValueError, match="has ids up to 7, but the token table of the preset has 7 rows"):
        Tokenizer.from_folder(tmp_path, RULES["clip_bpe"], 12, vocab_size=7)


@pytest.mark.parametrize(
    "rules, sentence",
    [
        ({"kind": "morse"}, "is of kind 'morse'; this version reads clip_bpe, sentencepiece, gemma"),
        ({"padding": 3}, "has keys clean, eot_id, kind, pad_id, padding, special_ids, start_id; kind, clean, pad_id"),
        ({"clean": "soap"}, "clean 'soap' is unknown"),
    ],
)
def test_rules_that_no_preset_has(tmp_path, rules, sentence):
    with pytest.raises(ValueError, match=sentence):
        opened("wordpiece", tmp_path, **rules)
    with pytest.raises(ValueError, match="has keys kind; kind, clean, pad_id are needed"):
        Tokenizer.from_folder(tmp_path, {"kind": "wordpiece"}, 12)


def test_without_ids_in_the_rules_those_of_the_file_hold(tmp_path):
    ids = {name: RULES["wordpiece"][name] for name in ("start_id", "eot_id")}
    sealed = opened("wordpiece", tmp_path)
    rules = {name: value for name, value in RULES["wordpiece"].items() if name not in ids}
    loose = Tokenizer.from_folder(tmp_path, rules, 12)
    assert {"start_id": loose.start_id, "eot_id": loose.eot_id} == ids
    assert np.array_equal(loose(["a cat"])["token_ids"], sealed(["a cat"])["token_ids"])


def test_tokens_that_follow_the_vocabulary(tmp_path):
    size = opened("wordpiece", tmp_path).vocab_size
    rules = RULES["wordpiece"] | {"added_tokens": ["[DEC]", "[ENC]"], "start_id": size}
    tokenizer = Tokenizer.from_folder(tmp_path, rules, 12)
    assert tokenizer.start_id == size == tokenizer.vocabulary.token_to_id("[DEC]") and tokenizer.vocab_size == size + 2
    assert tokenizer(["a cat"])["token_ids"][0, 0] == size


def test_fingerprint_is_of_the_vocabulary_alone(tmp_path):
    tokenizer = opened("wordpiece", tmp_path)
    content = json.loads(tokenizer.to_json())
    assert content.pop("padding") and content.pop("truncation")
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    assert tokenizer.fingerprint() == hashlib.sha256(canonical).hexdigest()
    assert Tokenizer.from_folder(tmp_path, RULES["wordpiece"], 7).fingerprint() == tokenizer.fingerprint()
    assert opened("wordpiece", tmp_path, eot_id=0).fingerprint() != tokenizer.fingerprint()
    assert opened("wordpiece", tmp_path, lowercase=False).fingerprint() != tokenizer.fingerprint()


def test_fingerprint_is_of_scores_as_they_were_trained(tmp_path):
    content = json.loads(opened("sentencepiece", tmp_path).to_json())
    expected, score = fingerprint(json.dumps(content)), content["model"]["vocab"][7][1]
    content["model"]["vocab"][7][1] = score * (1 + 1e-15)  # what a reader and writer of JSON may do to it
    assert content["model"]["vocab"][7][1] != score and fingerprint(json.dumps(content)) == expected
    content["model"]["vocab"][7][1] = score * (1 + 1e-6)
    assert fingerprint(json.dumps(content)) != expected


@pytest.fixture(params=WRITERS)
def saved(request, tmp_path):
    """A preprocessor of each kind, its folder and its config."""
    steps = Preprocessor(ImageSteps(16), opened(request.param, tmp_path))
    folder = tmp_path / "saved"
    folder.mkdir()
    return steps, folder, json.loads(json.dumps(steps.save(folder)))


def test_saved_vocabularies_open_again(saved):
    steps, folder, config = saved
    assert config["tokenizer"]["fingerprint"] == steps.tokenizer.fingerprint()
    again = Preprocessor.load(folder, config)
    assert again.get_config() == steps.get_config() == Preprocessor.from_config(steps.get_config()).get_config()
    texts = ["the cat", "ab é", ""]
    assert np.array_equal(again.encode_texts(texts)["token_ids"], steps.encode_texts(texts)["token_ids"])
    again.tokenizer = steps.tokenizer  # the same vocabulary


def test_an_edited_tokenizer_json(saved):
    _, folder, config = saved
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(content, indent=1), "utf-8")  # the layout of the file does not count
    Preprocessor.load(folder, config)
    vocab = content["model"]["vocab"]
    if isinstance(vocab, dict):
        first, second = list(vocab)[:2]
        vocab[first], vocab[second] = vocab[second], vocab[first]
    else:
        vocab[5][1] -= 1e-3
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match="tokenizer.json is not the one that the model was saved with"):
        Preprocessor.load(folder, config)
    path.write_text('{"version":', "utf-8")
    with pytest.raises(ValueError, match="tokenizer.json is damaged"):
        Preprocessor.load(folder, config)


def test_a_swapped_tokenizer_json(tmp_path):
    steps = Preprocessor(ImageSteps(16), Tokenizer.train(["a cat"] * 9, 262, 8))
    config, other = steps.save(tmp_path), Tokenizer.train(["a dog"] * 9, 262, 8)
    (tmp_path / "tokenizer.json").write_text(other.to_json(), "utf-8")
    with pytest.raises(ValueError, match="put the original back, for other ids mean nothing to the weights"):
        Preprocessor.load(tmp_path, config)
    del config["tokenizer"]["fingerprint"]  # folders of the first version have none
    assert Preprocessor.load(tmp_path, config).tokenizer.fingerprint() == other.fingerprint()


def test_a_vocabulary_is_not_exchanged():
    first, second = Tokenizer.train(["a cat"] * 9, 262, 8), Tokenizer.train(["a dog"] * 9, 262, 8)
    steps = Preprocessor(ImageSteps(16))
    steps.tokenizer = first
    for other in (second, None):
        with pytest.raises(
            ValueError, match="has a vocabulary of 262 ids already, and another would not fit the weights"
        ):
            steps.tokenizer = other
    steps.tokenizer = Tokenizer.from_json(first.to_json(), **first.get_config())
    steps.resize((16, 16), 5)
    assert steps.tokenizer.context_length == 5 and steps.tokenizer.fingerprint() == first.fingerprint()
