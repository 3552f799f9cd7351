"""What a page needs to embed the classes that are typed in it: the text tower, its vocabulary, and who reads that."""

import json
from dataclasses import dataclass
from pathlib import Path

from kzoo.export.web_engine import TOKENIZERS, package_files
from kzoo.export.web_vocabulary import page_vocabulary
from kzoo.files.opening import within

GRAPH = "text_encoder"
INPUTS = {"token_ids": "int32", "padding_mask": "bool"}
MARK = "\ufeff"  # white space to JavaScript, not to Python


@dataclass(frozen=True)
class TextParts:
    """What is added to a page.

    Attributes:
        graph: path of the text tower's graph.
        vocabulary: bytes, JSON of `page_vocabulary`.
        tokenizers: bytes, the library that reads it.
        licence: bytes, that of the library.
        about: dict, for the page.
    """

    graph: Path
    vocabulary: bytes
    tokenizers: bytes
    licence: bytes
    about: dict


def text_parts(served, labels, templates, engine=None) -> TextParts:
    """The parts of an opened export by which its page embeds texts.

    Args:
        served: a `Runtime`.
        labels, templates: lists of strings, those that the page begins with.
        engine: as in `web_page`.

    Raises:
        ValueError: a label or a template of several lines, for a line of the page is one; see `package_files`.
        NotImplementedError: a tower that reads something else than ids, a vocabulary that the page cannot read.
        OSError: see `package_files`.
    """
    graph, name = served.manifest["graphs"][GRAPH], served.manifest["preset"]
    inputs = {each["name"]: each["dtype"] for each in graph["inputs"]}
    if not inputs.items() <= INPUTS.items():
        reads = ", ".join(f"{each} ({kind})" for each, kind in inputs.items())
        raise NotImplementedError(
            f"the text tower of {name} reads {reads}, but a page gives ids in int32 and their mask alone; write the "
            "page without text_tower."
        )
    _check_lines(labels, templates)
    tokenizer = served.preprocessor.tokenizer
    vocabulary = page_vocabulary(tokenizer, name)
    found = package_files(TOKENIZERS, engine)
    scale, bias = served.scale_and_bias()
    about = {
        "tokenizers": f"{TOKENIZERS.name} {found['version']}",
        "templates": templates,
        "contextLength": tokenizer.context_length,
        "inputs": [*inputs],
        "scale": scale,
        "bias": bias,
    }
    content = json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")).encode()
    path = within(served.opened_with[0], graph["file"], GRAPH)
    return TextParts(path, content, found["tokenizers"], found["licence"], about)


def _check_lines(labels, templates):
    """Stops at what the page would read otherwise out of its own fields, where it stands to be changed."""
    for text in (*labels, *templates):
        if len(text.splitlines()) != 1 or text != text.strip().strip(MARK) or "\0" in text:
            raise ValueError(
                f"{text!r} is given as a label or template, but where these can be typed, one is a line with something "
                "in it, without white space around it; leave that out."
            )
    if len(labels) == 1 and "," in labels[0]:
        raise ValueError(
            f"{labels[0]!r} is the one label, but where classes can be typed, commas part those of a single line; give "
            "further labels, or write the page without text_tower."
        )
