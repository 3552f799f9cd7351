"""Classes that are typed in a page: what is written for it, and what is refused. `make browser` types them."""

import json
import re

import numpy as np
import pytest
import tokenizers
from cli_case import run
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers
from web_case import LABELS, TOKENIZERS, brought, told, write_packages

from kzoo.adaptation import AdaptedClassifier, ZeroShot
from kzoo.export import runtime, web, web_letters, web_page
from kzoo.export.web_vocabulary import page_vocabulary
from kzoo.preprocessing import Tokenizer
from kzoo.preprocessing.cleaning import CLEANERS, REPAIRS

pytestmark = pytest.mark.once
TEMPLATES = ["a {}.", "{}"]


def test_a_page_in_which_classes_are_typed(exported, package, tmp_path):
    engine = package / "node_modules" / "onnxruntime-web"  # the other package lies beside it
    about = web_page(exported, tmp_path / "page", LABELS, TEMPLATES, engine, text_tower=True)
    text, said = told(tmp_path / "page")
    assert about == said == json.loads((tmp_path / "page" / "page.json").read_text())
    assert said["texts"] == {
        **{"dtype": "float32", "tokenizers": "@huggingface/tokenizers 0.2.0", "templates": TEMPLATES},
        **{"contextLength": 32, "inputs": ["token_ids"], "scale": 20.0, "bias": -3.0},
    }
    assert brought(tmp_path / "page", "texts") == (exported / "text_encoder.onnx").read_bytes()
    assert brought(tmp_path / "page", "tokenizers") == TOKENIZERS[0]
    assert (tmp_path / "page" / "tokenizers.LICENSE").read_bytes() == TOKENIZERS[1]
    vocabulary = json.loads(brought(tmp_path / "page", "vocabulary"))
    assert vocabulary == page_vocabulary(runtime.load(exported).preprocessor.tokenizer, "toy")
    assert all(said["files"][name]["size"] == len(brought(tmp_path / "page", name)) for name in said["files"])
    # what can be typed is text, in a page that is as strict as the others
    assert text.count("</script>") == 2 and "<b>" not in text and text.count("</textarea>") == 2
    assert ">red\n&lt;/script&gt;&lt;b&gt;blue" in text
    assert ">a {}.\n{}</textarea>" in text
    web_page(exported, tmp_path / "plain", LABELS, TEMPLATES, engine)
    policy, plain = (
        re.search(r'Content-Security-Policy" content="([^"]*)"', told(tmp_path / name)[0])[1]
        for name in ("page", "plain")
    )
    assert re.sub("sha256-[^']*", "", policy) == re.sub("sha256-[^']*", "", plain)
    # one without takes its place, and leaves nothing of it
    web_page(exported, tmp_path / "page", LABELS, TEMPLATES, engine)
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("page", "plain")]
    assert names[0] == names[1] and "typed" not in told(tmp_path / "page")[0].split("<script>")[1]


def test_classes_that_a_page_begins_with_are_embedded_as_typed_ones_are(exported, package, tmp_path, monkeypatch):
    served, rows = runtime.load(exported), []
    embed = served.embed_batch
    monkeypatch.setattr(served, "embed_batch", lambda batch: (rows.append(len(batch["token_ids"])), embed(batch))[1])
    web_page(served, tmp_path / "page", ["red", "blue"], (each for each in TEMPLATES), package, text_tower=True)
    assert rows == [1, 1, 1, 1] and told(tmp_path / "page")[1]["texts"]["templates"] == TEMPLATES
    web_page(served, tmp_path / "page", ["red", "blue"], TEMPLATES, package)
    assert rows[4:] == [4]


def test_what_cannot_be_typed(exported, package, tmp_path, monkeypatch):
    served = runtime.load(exported)

    def refused(match, model=served, error=ValueError, labels=("a", "b"), engine=package, **options):
        with pytest.raises(error, match=match):
            web_page(model, tmp_path / "page", labels, engine=engine, text_tower=True, **options)
        assert not (tmp_path / "page").exists()

    rows = np.eye(2, 6, dtype="float32")
    adapted = AdaptedClassifier(served, ZeroShot(rows, ["a", "b"]))
    refused("text_tower is True, but labels is missing", adapted, labels=None)
    refused(r"'a\\nb' is given as a label or template, but .* one is a line", labels=["a\nb", "c"])
    refused("' a {}' is given as a label or template", templates=[" a {}"])
    for label in ("", "\ufeffb", "b\0", "b\v"):  # of which the page's own field gives something else back
        refused("is given as a label or template, but .* with something in it", labels=["a", label])
    refused("'a, b' is the one label, but .* commas part those of a single line", labels=["a, b"])
    graph = served.manifest["graphs"]["text_encoder"]
    ports = [*graph["inputs"], {"name": "segment_ids", "dtype": "int32", "shape": ["batch", 32]}]
    monkeypatch.setitem(graph, "inputs", ports)
    monkeypatch.setattr(web, "of_labels", lambda *options: web.of_classifier(ZeroShot(rows, ["a", "b"])))
    refused(r"reads token_ids \(int32\), segment_ids \(int32\), but", error=NotImplementedError)
    monkeypatch.undo()
    monkeypatch.setattr(web, "LARGEST", (exported / "image_encoder.onnx").stat().st_size + 10)
    refused("image_encoder.onnx and text_encoder.onnx have more than")
    monkeypatch.undo()
    monkeypatch.setattr(served.preprocessor.tokenizer.vocabulary, "normalizer", normalizers.Strip())
    refused("the vocabulary of toy <model> has a step Strip, which a page does not do", error=NotImplementedError)


def test_the_library_of_another_version(package, exported, tmp_path):
    other = write_packages(tmp_path / "npm")
    place = other / "node_modules" / "@huggingface" / "tokenizers"
    (place / "package.json").write_text(json.dumps({"name": "@huggingface/tokenizers", "version": "0.3.0"}))
    with pytest.raises(ValueError, match=r"tokenizers 0\.3\.0, but a page is tested with 0\.2\.0"):
        web_page(exported, tmp_path / "page", ["a"], engine=other, text_tower=True)
    (place / "dist" / "tokenizers.min.mjs").unlink()
    (place / "package.json").unlink()
    with pytest.raises(
        ValueError, match="holds no @huggingface/tokenizers, .*npm install @huggingface/tokenizers@0.2.0"
    ):
        web_page(exported, tmp_path / "page", ["a"], engine=other, text_tower=True)
    web_page(exported, tmp_path / "page", ["a"], engine=other)


def whole(**parts):
    """A vocabulary of a few tokens with other parts than usual."""
    letters = {"a": 0, "b": 1, "[UNK]": 2}
    vocabulary = tokenizers.Tokenizer(parts.pop("model", models.BPE(letters, [])))
    for name, part in parts.items():
        if name == "token":
            vocabulary.add_tokens([part])
        else:
            setattr(vocabulary, name, part)
    return Tokenizer(vocabulary, 8, reads_specials=False)


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"normalizer": normalizers.StripAccents()}, "a step StripAccents"),
        ({"normalizer": normalizers.Sequence([normalizers.NFC(), normalizers.Nmt()])}, "a step Nmt"),
        ({"normalizer": normalizers.Replace(Regex("(?i:a)"), "b")}, r"the expression '\(\?i:a\)'"),
        ({"pre_tokenizer": pre_tokenizers.Split(Regex("a++"), "isolated")}, r"the expression 'a\+\+'"),
        ({"pre_tokenizer": pre_tokenizers.Digits()}, "a step Digits"),
        ({"pre_tokenizer": pre_tokenizers.Split("a", "contiguous")}, "a split Contiguous"),
        ({"model": models.WordLevel({"a": 0, "[UNK]": 1}, "[UNK]")}, "a WordLevel model"),
        ({"model": models.BPE({"a": 0, "##b": 1}, [], continuing_subword_prefix="##")}, "a BPE model with options"),
        ({"model": models.Unigram([("a", -1.0), ("?", -2.0)], 1, True)}, "a Unigram model with options"),
        ({"token": AddedToken("ab", single_word=True)}, "the token 'ab', which must stand alone"),
    ],
)
def test_a_vocabulary_that_a_page_would_read_otherwise(parts, match):
    with pytest.raises(NotImplementedError, match=f"the vocabulary of mine has {match}"):
        page_vocabulary(whole(**parts), "mine")


def test_letters_are_those_of_the_library():
    """Ranges stand for what the library finds, character by character."""
    text = web_letters.EVERY
    for name in "LN":
        by_name, by_range = (
            pre_tokenizers.Split(Regex(expression), "removed", invert=True).pre_tokenize_str(text)
            for expression in (rf"\p{{{name}}}+", web_letters.spelt_out(rf"\p{{{name}}}+"))
        )
        assert by_name == by_range and len(by_name) > 100
    strip = normalizers.BertNormalizer(False, False, True, False)
    ours = normalizers.Replace(Regex(f"[{web_letters.marks()}]"), "")
    assert ours.normalize_str(normalizers.NFD().normalize_str(text)) == strip.normalize_str(text)
    clean = normalizers.BertNormalizer(True, False, False, False).normalize_str(text)
    ours = normalizers.Replace(Regex(f"[{web_letters.controls()}]"), "").normalize_str(text)
    assert normalizers.Replace(Regex(r"\s"), " ").normalize_str(ours) == clean
    mark = f"[{web_letters.punctuation()}]"
    ours = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(mark), "isolated")])
    assert ours.pre_tokenize_str(text) == pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)
    assert web_letters.spelt_out(r"[^\s\p{N}]+|\]") == rf"[^\s{web_letters.of_property('N')}]+|\]"


def test_the_scripts_know_every_cleaner(exported):
    script = (web.SOURCES / "texts.js").read_text("utf-8")
    assert set(re.findall(r"^  (\w+): ", script.split("const CLEANERS = {")[1].split("};")[0], re.M)) == set(CLEANERS)
    said = page_vocabulary(runtime.load(exported).preprocessor.tokenizer, "toy")
    assert said["repairs"] == {chr(code): new or "" for code, new in REPAIRS.items()}
    for name in said.keys() - {"tokenizer", "ids"}:
        assert re.search(rf"[{{ .]{name}\b", script), name


def test_the_command(exported, package, tmp_path):
    options = ("--labels", "red,blue", "--engine", package, "--text-tower")
    result = run("page", exported, tmp_path / "page", *options)
    assert result.exit_code == 0 and told(tmp_path / "page")[1]["texts"]["templates"] == ["a photo of a {}."]
