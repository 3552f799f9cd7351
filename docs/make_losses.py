"""Writes docs/losses.md from the docstrings of the losses.

python docs/make_losses.py
"""

import inspect
import re
import textwrap
from pathlib import Path

import kzoo.losses
from kzoo.losses import Loss
from kzoo.losses.parts.pairwise import PairwiseLoss

PAGE = Path(__file__).with_name("losses.md")
SECTIONS = ("Args", "Inputs", "Feeding", "Returns", "Raises", "Recommendations", "Example", "Reference")
PAIR = ("image_embeddings", "text_embeddings")
VIEWS = ("view_1", "view_2")
GROUPS = {  # of a room: what a reader wants to do, where to begin, and what most of its losses read
    "image_text": (
        "Train images and texts together",
        "Begin with `InfoNCE`, in large batches or with noisy pairs `SigmoidContrastive`. "
        "`HardNegativeContrastive` is for details, `FineGrainedContrastive` for patches and words, `Symile` and "
        "`GramContrastive` for three modalities and more, `OneToK` and `MultiCaptionContrastive` for several "
        "captions.",
        PAIR,
    ),
    "views": (
        "Align views of the same thing",
        "Begin with `NTXent` in `SelfSupervised`, in small batches with `VICReg`. `PixPro` and `PixContrast` "
        "train maps, `SplitInvariantEquivariant` keeps what the views differ in.",
        VIEWS,
    ),
    "labels": (
        "Use labels",
        "Begin with `SupCon`. `Triplet` and `CircleLoss` read one embedding of each sample, `SupReMix` takes "
        "numbers as labels, `HaversineGeocell` places on the earth.",
        ("embeddings", "labels"),
    ),
    "sentences": (
        "Embed sentences",
        "Begin with `SimCSE` where there are only sentences, with `MultipleNegativesRanking` where they have "
        "partners, and with `CoSENT` where pairs have scores.",
        (),
    ),
    "teachers": (
        "Learn from a teacher, or stay near an old model",
        "Without pairs begin with `DINO`, or with `QueueContrastive` in small batches; with pairs and a trained "
        "model with `LogitDistillation`.",
        (),
    ),
    "generative": (
        "Write captions, reconstruct what was hidden",
        "Begin with `InfoNCE() + 2.0 * Captioning()` for captions and with `MaskedImageModelling` for pictures alone.",
        (),
    ),
    "composition": (
        "Combine losses, or cut their embeddings",
        "Losses add up, with numbers or schedules as weights: `InfoNCE() + 0.5 * VICReg()`. `Matryoshka` goes "
        "around any of them.",
        (),
    ),
}
FED_BY = {  # of a room: the model and the data that feed a loss whose docstring names no others
    "image_text": "`DualEncoder` or another model of pictures and texts, on `kzoo.data.pairs(source, preprocessor)`",
    "views": "`SelfSupervised(encoder)`, on `kzoo.data.views(images, steps)`",
    "sentences": "`DualEncoder` on any pairs, or by `SelfSupervised(text_encoder)` on `kzoo.data.text_pairs(source, "
    'preprocessor)`, with `inputs=("view_1", "view_2")`',
    "composition": "what feeds the losses that it holds",
}
HEAD = """# Losses

Made from the docstrings by `make docs`; `help(kzoo.losses.InfoNCE)` says the rest: shapes, errors, an example.

Every loss is called with tensors, `InfoNCE()(a, b)`, or attached to a model, `model.compile(loss=InfoNCE())`. There it
reads tensors by name, from the model's outputs and the batch; `inputs=("view_1", "view_2")` names others, and a keyword
such as `labels="species"` renames what is read by keyword. They add up, with numbers or schedules as weights:
`InfoNCE() + 0.5 * SupCon(inputs=("view_1", "view_2"), labels="species")`. `loss.describe(4096, devices=8)` prints what
a loss reads, how many negatives an anchor has and what memory that takes.

**Needs** are the tensors a loss cannot do without; its docstring says which it also takes, and when to take another
loss. **Memory**: "pairs" holds a score for each pair of rows, or one block of them at a time with `block_size=256`,
which changes no value; "rows" grows with the batch as the embeddings do.

Below each table stands what **feeds** its losses: the model whose outputs they read, and the data set of `kzoo.data`
that gives it its batches.
"""


def sections(loss):
    """Of a docstring: `{"": first sentence, "Args": text, ...}`, each on one line."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):$", inspect.getdoc(loss), flags=re.MULTILINE)
    named = {"": parts[0].split("\n\n")[0]} | dict(zip(parts[1::2], parts[2::2]))
    return {name: " ".join(text.split()) for name, text in named.items()}


def needs(loss, usual):
    """The tensors that a loss must get, those that are usual among its kin left out where it reads them all."""
    names = [*loss.default_inputs, *(loss.optional_inputs[keyword] for keyword in loss.required_inputs)]
    if usual and set(usual) <= set(names):
        names = ["...", *(name for name in names if name not in usual)]
    return ", ".join(name if name == "..." else f"`{name}`" for name in names) or "what its terms read"


def row(loss, usual):
    """One line: what a loss does, what it needs, and the paper; everything else is in its docstring."""
    said = sections(loss)
    paper = re.search(r"arXiv (\d{4}\.\d{4,5})", said["Reference"])[1]
    memory = "pairs" if issubclass(loss, PairwiseLoss) else "rows"
    cells = [f"`{loss.__name__}`", said[""], needs(loss, usual), memory, f"[{paper}](https://arxiv.org/abs/{paper})"]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def fed_by(losses, usual):
    """Lines that say which model and which data feed losses."""
    told = {loss.__name__: sections(loss).get("Feeding") for loss in losses}
    plain = [f"`{name}`" for name, feeding in told.items() if feeding is None]
    rest = [f"- `{name}`: {feeding}" for name, feeding in told.items() if feeding is not None]
    if plain and usual is None:
        raise ValueError(f"nothing says what feeds {', '.join(plain)}; write a section Feeding into the docstring.")
    begin = ["Fed by:"] if not plain else [f"Fed by {usual}: {', '.join(plain)}.{' The others:' if rest else ''}"]
    wrapped = textwrap.wrap(begin[0], 120, break_long_words=False, break_on_hyphens=False)
    return [*wrapped, *([""] if rest else []), *rest]


def room(loss):
    """The room that a loss is in."""
    return loss.__module__.split(".")[2]


def page():
    """The text of the page."""
    public = [vars(kzoo.losses)[name] for name in sorted(kzoo.losses.__all__)]
    losses = [each for each in public if isinstance(each, type) and issubclass(each, Loss) and room(each) in GROUPS]
    lines = [HEAD]
    for name, (title, begin, usual) in GROUPS.items():
        also = f' "..." are {" and ".join(f"`{each}`" for each in usual)}.' if usual else ""
        lines += [
            f"## {title}",
            "",
            *textwrap.wrap(begin + also, 120, break_long_words=False, break_on_hyphens=False),
            "",
        ]
        lines += ["| loss | what it does | needs | memory | arXiv |", "|---|---|---|---|---|"]
        own = [loss for loss in losses if room(loss) == name]
        lines += [*(row(loss, usual) for loss in own), "", *fed_by(own, FED_BY.get(name)), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE}")
