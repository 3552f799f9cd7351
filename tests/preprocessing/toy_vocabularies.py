"""Small vocabularies of every kind, made by the libraries that made the large ones, in the files that hold those."""

import io
import json
import random

import sentencepiece
import tokenizers
from tokenizers import ByteLevelBPETokenizer
from transformers import NllbTokenizer

WORDS = (
    "a photo of the cat and dog on red mat with big small green blue book lock open outline square circle sign "
    "happy running sunset mountain river <tag> </s> it's 2024 e=mc^2 (left) right; straße naïve café 日本語 テスト"
).split()

RULES = {
    "clip_bpe": {"clean": "none", "pad_id": 0, "start_id": 5, "eot_id": 6},
    "sentencepiece": {"clean": "big_vision", "pad_id": 1, "start_id": None, "eot_id": 1, "special_ids": {"unk": 2}},
    "gemma": {"clean": "lowercase", "pad_id": 0, "start_id": None, "eot_id": 1}
    | {"special_ids": {"bos": 2, "unk": 3, "mask": 4}},
    "wordpiece": {"clean": "none", "pad_id": 0, "start_id": 101, "eot_id": 102}
    | {"special_ids": {"unk": 100, "cls": 101, "sep": 102, "mask": 103}},
    "roberta_bpe": {"clean": "whitespace", "pad_id": 1, "start_id": 0, "eot_id": 2}
    | {"special_ids": {"unk": 3, "mask": 404}},
    "xlm_roberta": {"clean": "whitespace", "pad_id": 1, "start_id": 0, "eot_id": 2, "special_ids": {"unk": 3}},
    "nllb": {"clean": "whitespace", "pad_id": 1, "start_id": 237, "eot_id": 2, "special_ids": {"unk": 3}},
}
RULES = {kind: {"kind": kind, **rules} for kind, rules in RULES.items()}


def captions(count=600):
    """Sentences of a few words, the same in every run."""
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=8)) for _ in range(count)]


def trained(**options):
    """Bytes of a `.model` file that sentencepiece itself has trained."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions()), model_writer=out, hard_vocab_limit=False, minloglevel=2, **options
    )
    return out.getvalue()


def siglip_model(**options):
    """As c4-en: unigram, `<pad>` 0, `</s>` 1, `<unk>` 2."""
    return trained(model_type="unigram", vocab_size=300, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, **options)


def gemma_model():
    """As Gemma's: BPE with byte fallback, text unchanged, symbols that stay whole."""
    return trained(
        model_type="bpe",
        vocab_size=600,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        eos_piece="<eos>",
        bos_piece="<bos>",
        byte_fallback=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols=["<mask>", "\n", "▁▁", "▁▁▁", "<table>"],
    )


def xlm_model():
    """As XLM-R's before fairseq counts its ids: `<unk>` 0, `<s>` 1, `</s>` 2."""
    return trained(model_type="unigram", vocab_size=300)


def write_bert(folder, lowercase=True):
    """A `vocab.txt` whose special tokens have BERT's ids."""
    characters = sorted({c for word in WORDS for c in word if c.isascii()} | set("日本.,!?-AHWC"))
    words = ["cat", "photo", "run", "Photo", "cafe", "café", "naive", "happy"]
    pieces = [*characters, *("##" + c for c in characters), *words, "##ning", "##s", "##t", "ho", "##to"]
    unused = [f"[unused{index}]" for index in range(99)]
    tokens = ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(pieces)]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8")


def write_roberta(folder):
    """A `vocab.json` with `merges.txt` whose special tokens have RoBERTa's ids; the mask is the last."""
    bpe = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    bpe.train_from_iterator(captions(), vocab_size=404, min_frequency=1, special_tokens=special, show_progress=False)
    bpe.save_model(str(folder))
    vocab = json.loads((folder / "vocab.json").read_text("utf-8"))
    (folder / "vocab.json").write_text(json.dumps(vocab | {"<mask>": len(vocab)}), "utf-8")


def write_nllb(folder):
    """A `tokenizer.json` with the ids of fairseq and, behind them, languages."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    bpe.train_from_iterator(captions(), trainer)
    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    NllbTokenizer(vocab=model["vocab"], merges=merges).save_pretrained(folder)
    (folder / "tokenizer_config.json").unlink()


def write_clip(folder):
    """A `vocab.json` with `merges.txt` of one merge."""
    vocab = {"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab</w>": 4, "<|startoftext|>": 5, "<|endoftext|>": 6}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")


WRITERS = {
    "clip_bpe": write_clip,
    "sentencepiece": lambda folder: (folder / "spiece.model").write_bytes(siglip_model()),
    "gemma": lambda folder: (folder / "tokenizer.model").write_bytes(gemma_model()),
    "wordpiece": write_bert,
    "roberta_bpe": write_roberta,
    "nllb": write_nllb,
    "xlm_roberta": lambda folder: (folder / "sentencepiece.bpe.model").write_bytes(xlm_model()),
}
