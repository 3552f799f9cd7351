"""Writes docs/losses.md from the docstrings of the losses.

python docs/make_losses.py
"""

import inspect
import re
from pathlib import Path

import kzoo.losses
from kzoo.losses import Loss, WeightedSum
from kzoo.losses.parts.pairwise import PairwiseLoss

PAGE = Path(__file__).with_name("losses.md")
SECTIONS = ("Args", "Inputs", "Returns", "Raises", "Recommendations", "Example", "Reference")
GROUPS = {  # by the first tensor that a loss reads
    "Pairs of an image and a text": ("image_", "text_", "caption_", "matching_"),
    "Views of the same thing, sentences and their partners": ("view_", "query", "map_", "invariant_", "common_"),
    "Students and teachers": ("student",),
    "Embeddings with labels": ("embeddings",),
    "Anything else": ("",),
}
HEAD = """# Losses

Made from the docstrings by `make docs`; `help(kzoo.losses.InfoNCE)` says the rest: shapes, errors, an example.

Every loss is called with tensors, `InfoNCE()(a, b)`, or attached to a model, `model.compile(loss=InfoNCE())`. There it
reads tensors by name, from the model's outputs and the batch; `inputs=("view_1", "view_2")` names others, and a keyword
such as `labels="species"` renames what is read by keyword. They add up, with numbers or schedules as weights:
`InfoNCE() + 0.5 * SupCon(inputs=("view_1", "view_2"), labels="species")`. `loss.describe(4096, devices=8)` prints what
a loss reads, how many negatives an anchor has and what memory that takes.

**Needs** are the tensors a loss cannot do without, and in brackets what it also takes. **Memory**: "pairs" holds a
score for each pair of rows, or one block of them at a time with `block_size=256`, which changes no value; "rows" grows
with the batch as the embeddings do.
"""


def sections(loss):
    """Of a docstring: `{"": first sentence, "Args": text, ...}`, each on one line."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):$", inspect.getdoc(loss), flags=re.MULTILINE)
    named = {"": parts[0].split("\n\n")[0]} | dict(zip(parts[1::2], parts[2::2]))
    return {name: " ".join(text.split()) for name, text in named.items()}


def needs(loss):
    """Names of the tensors that are read, those that may be missing in brackets."""
    required = [*loss.default_inputs, *(loss.optional_inputs[keyword] for keyword in loss.required_inputs)]
    more = [name for keyword, name in loss.optional_inputs.items() if keyword not in loss.required_inputs]
    more = [name for name in more if name not in ("sample_weight", "logit_scale", "logit_bias")]
    names = ", ".join(f"`{name}`" for name in required) or "what its terms read"
    return names + (f" ({', '.join(f'`{name}`' for name in more)})" if more else "")


def row(loss):
    said = sections(loss)
    paper = re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", said.get("Reference", ""))
    memory = "pairs" if issubclass(loss, PairwiseLoss) else "rows"
    cells = [f"`{loss.__name__}`", said[""], needs(loss), memory, said.get("Recommendations", ""), paper]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def group(loss):
    first = (loss.default_inputs or ("",))[0]
    return next(name for name, prefixes in GROUPS.items() if first.startswith(prefixes))


def page():
    """The text of the page."""
    public = [vars(kzoo.losses)[name] for name in sorted(kzoo.losses.__all__)]
    losses = [each for each in public if isinstance(each, type) and issubclass(each, Loss)]
    losses = [each for each in losses if each not in (Loss, WeightedSum)]
    lines = [HEAD]
    for name in GROUPS:
        members = [row(loss) for loss in losses if group(loss) == name]
        if members:
            lines += [f"## {name}", "", "| loss | in one sentence | needs | memory | when to take another | source |"]
            lines += ["|---|---|---|---|---|---|", *members, ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE}")
