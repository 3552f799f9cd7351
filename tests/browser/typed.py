"""Classes that are typed in a page: ids of texts and shares of classes beside those of Python."""

import importlib.util
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from toy_vocabularies import RULES, WRITERS, captions

from kzoo.evaluation.zero_shot import fill_templates
from kzoo.export import runtime
from kzoo.export.web_vocabulary import page_vocabulary
from kzoo.preprocessing import Tokenizer

CLOSE = {"float32": 1e-5, "float16": 1e-3, "int8": 1e-4, "masked": 1e-5}  # of shares
LABELS = [
    "</textarea><b>red</b>",
    "green & blue",
    "a “big” circle",
    "small",
    "ΟΔΟΣ 日本",
    "triangle, or not",
    "x" * 300,
]
TEMPLATES = ["a {}.", "this is {}, $& it is"]
PARTS = (
    *("a photo of a cat", "Happy RUNNING dogs, it's 2024!", "don't. I'LL (red) e=mc^2", "naïve straße", "1234567890"),
    *(
        "e\u0301 ệ e\u0323\u0302",
        "\u0301" * 40,
        "a" + "\u0301" * 9,
        "日本語 テスト",
        "日" * 120,
        "𠀀𪚥",
        "😀 👍🏽 👩‍👩‍👧",
    ),
    *("ﬁne ﬂow Ａ №2 ² Ⅷ ٣ ½", "각 각 क्षि ｶﾞ", "İx ΑΣ ΟΔΟΣ ß ŉ ǆ", "▁a ▁ cat", "“curly” ‘x’ — …", "...!!!???"),
    *("&amp;lt; &lt &ltx &notit; &amp &nosuch; &CounterClockwiseContourIntegral; &#38;#38;amp; &", "&am&#1;p;lt;"),
    *("&#0; &#1; &#128; &#129; &#x80 &#55296; &#xFFFE; &#x1fffe; &#x110000; &#99999999999;", "&#13;a &#x41 &#;"),
    *("snake_case_name", "{} $& $1 \\", "\x00\x01\x08\x0b\x1c\x1f\x7f\x80\x85\x9f", "\t\n\r\x0c", "\u202e\ufff9\ufffd"),
    "\u00a0\u1680\u2003\u200b\u2028\u202f\u205f\u3000\ufeff",
    *("</s>", "<s>", "<unk>", "<pad>", "<mask>", " <mask> ", "<eos>", "<bos>", "<table>", "<extra_id_0>", "<0x41>"),
    *("<|startoftext|>", "<|endoftext|>", "<start_of_text>", "<end_of_text>", "[CLS]", "[SEP]", "[PAD]", "[MASK]"),
    *("fra_Latn", "", " ", "   ", "\n", "x" * 300, "cat " * 400),
)


def texts() -> list:
    """Each part on its own, and many of them behind each other, and letters of all scripts."""
    random = np.random.default_rng(0)
    joined = ["".join(random.choice(PARTS, random.integers(2, 7))) for _ in range(300)]
    letters = [chr(code) for code in range(0x3000) if chr(code).isprintable()]
    return [*PARTS, *joined, *("".join(random.choice(letters, 8)) for _ in range(100))]


def vocabularies():
    """Name and tokenizer of each kind, from files of kzoo's own layout; and CLIP's, which open_clip brings."""
    clip = Path(importlib.util.find_spec("open_clip").origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    yield "clip", Tokenizer.from_file(clip, 77)
    yield "trained", Tokenizer.train(captions(), 400, 32)
    for kind, write in WRITERS.items():
        cleans = {"sentencepiece": ("big_vision", "siglip", "canonicalize"), "wordpiece": ("none", "whitespace")}
        for clean in cleans.get(kind, (RULES[kind]["clean"],)):
            with TemporaryDirectory() as folder:
                write(Path(folder))
                rules = RULES[kind] | {"clean": clean}
                if clean == "whitespace" and kind == "wordpiece":
                    rules |= {"eot_id": 0, "special_ids": {}}  # CLIPA's end, which is padding
                yield f"{kind}, {clean}", Tokenizer.from_folder(folder, rules, 32)


def check_ids(browser, opened, page):
    """Every kind of vocabulary gives a text the ids in the page that it has in Python."""
    opened(browser, page)
    browser.ask("(async () => { globalThis.script = await fetched('tokenizers', () => {}); })()")
    given, count = texts(), 0
    for name, tokenizer in vocabularies():
        content = json.dumps(page_vocabulary(tokenizer, name))
        found = browser.ask(
            f"""(async () => {{
              const reader = await readerOf(new TextEncoder().encode({json.dumps(content)}), script);
              return {json.dumps(given)}.map((text) => {{
                const {{ ids, real, cut }} = tokenized(text, reader);
                return [[...ids], [...real], cut];
              }});
            }})()"""
        )
        batch, truncated = tokenizer.encode(given)
        meant = zip(batch["token_ids"].tolist(), batch["padding_mask"].astype(int).tolist(), strict=True)
        wrong = [(text, mine, ids) for text, (*mine, _), ids in zip(given, found, meant, strict=True) if mine != [*ids]]
        assert not wrong, (name, len(wrong), min(wrong, key=lambda each: len(each[0])))
        assert sum(cut for _, _, cut in found) == truncated, name
        count += 1
    print(f"ids of {len(given)} texts are equal in {count} vocabularies")


def type_in(browser, labels, templates=None):
    """Type into the fields, press the button, and wait for what is said."""
    fields = {"labels": "\n".join(labels)} | ({} if templates is None else {"templates": "\n".join(templates)})
    for name, text in fields.items():
        browser.ask(f"element('{name}').value = {json.dumps(text)}")
    browser.ask("element('use').click()")
    browser.until("element('reading').hidden")
    return browser.ask("[element('read').textContent, element('refused').textContent]")


def rows_of(browser):
    shown = "(row) => [row.children[0].textContent, Number(row.dataset.share)]"
    return browser.ask(f"[...element('classes').children].map({shown})")


def check_typed(browser, opened, asked, output, photos):
    """Shares of typed classes are those of `classify`, for each text on its own."""
    for name, close in CLOSE.items():
        served, worst, moved = runtime.load(output / f"{name}_onnx"), 0.0, []
        opened(browser, output / name)
        said, wrong = type_in(browser, LABELS, TEMPLATES)
        tokenizer = served.preprocessor.tokenizer
        _, cut = tokenizer.encode(fill_templates(LABELS, TEMPLATES))
        assert not wrong and 1 < cut < 14, (cut, wrong)
        assert (
            said == f"7 classes in use; {cut} of 14 texts are longer than {tokenizer.context_length} tokens and cut."
        ), said
        for path in photos[:8]:
            (meant,), (rows, wrong) = served.classify([path], LABELS, TEMPLATES, batch_size=1), asked(browser, path)
            assert not wrong and len(rows) == 5, (rows, wrong)
            worst = max(worst, *(abs(share - meant[LABELS.index(label)]) for label, share in rows))
            moved.append(meant)
        print(f"{name}: shares of typed classes differ by at most {worst:.1e}")
        assert worst < close and np.ptp(np.array(moved), axis=0).max() > 0.01
        assert browser.ask("document.querySelectorAll('b').length") == 0


def check_field(browser, opened, asked, page, photos):
    """The page's own classes need no text tower; the picture that is shown is answered anew; what is wrong is said."""
    opened(browser, page)
    first, _ = asked(browser, photos[0])
    assert browser.ask("element('labels').value.split('\\n').length") == len(browser.ask("ABOUT.labels"))
    names = browser.ask("ABOUT.labels")
    said, _ = type_in(browser, names)
    assert rows_of(browser) == first and said == "7 classes in use." and browser.ask("texts === null")
    said, _ = type_in(browser, [" red ,big,, small "])
    assert said == "3 classes in use." and len(rows_of(browser)) == 3 and browser.ask("texts === null")
    assert browser.ask("element('count').textContent") == "3 classes"
    for labels, templates, expected in (
        ([""], None, "There are no classes; type at least one, such as “cat”."),
        (["a", "b", "a"], None, "“a” is there twice; give each class once."),
        (["a"], [""], "There is no prompt; type one, such as “a photo of a {}”."),
        (["a"], ["a {}", "photo"], "The prompt “photo” needs one {} where the class goes."),
        (["\ud800"], ["{}"], "a text holds half of a character; type it anew."),
    ):
        said, wrong = type_in(browser, labels, templates)
        assert wrong == expected and not said and len(rows_of(browser)) == 3, (said, wrong)
    said, wrong = type_in(browser, ["red", "a new one"], ["a {}.", "{}"])
    assert said.startswith("2 classes in use") and not wrong and len(rows_of(browser)) == 2, (said, wrong)
    browser.ask("element('labels').value = 'red'")
    pressed = "new KeyboardEvent('keydown', { key: 'Enter', ctrlKey: true, bubbles: true })"
    browser.ask(f"element('labels').dispatchEvent({pressed})")
    browser.until("element('count').textContent === '1 class'")
    print("of the page's own classes no text tower is opened; what is wrong is said")
