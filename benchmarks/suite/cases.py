"""What is measured: cases, each of which every engine that can do it does in turn."""

from dataclasses import dataclass

from benchmarks.suite.sizes import SIZES, Size

BEAMS = 4
KINDS = {  # of cases -> what is done, for the heading of a table
    "image": "encode {batch} pictures",
    "text": "encode {batch} texts",
    "train": "a training step of {batch} pairs: forward, InfoNCE, backward, AdamW",
    "greedy": "write captions of {batch} pictures, greedily",
    "beam": f"write captions of {{batch}} pictures, {BEAMS} beams",
    "step": "read the next id of {batch} captions, which have {ids}",
    "open": "open a checkpoint",
    "build": "build a model without weights",
    "import": "import the library",
    "help": "kzoo --help",
    "runtime": "import, open an export and encode a picture, without Keras",
}
STARTS = ("import", "help", "runtime")  # of which every round is a process of its own
TRAINED, WRITTEN = ("train",), ("greedy", "beam", "step")
READ = 15  # ids of a caption before a step


@dataclass(frozen=True)
class Case:
    """One thing that is measured.

    Attributes:
        kind: of `KINDS`.
        size: name of one of `SIZES`.
        batch: pictures, texts or pairs of a call.
        dtype: `"float32"`, or `"bfloat16"`: weights in float32, products in bfloat16.
    """

    kind: str
    size: str
    batch: int = 1
    dtype: str = "float32"

    def __post_init__(self):
        if self.kind not in KINDS or self.size not in SIZES:
            raise ValueError(f"no case {self.kind!r} of {self.size!r}; kinds are {', '.join(KINDS)}.")

    @property
    def numbers(self) -> Size:
        return SIZES[self.size]

    @property
    def name(self) -> str:
        """By which `--cases` chooses and files are compared, such as `image-8`."""
        parts = [self.kind]
        if self.kind not in (*STARTS, "open", "build"):
            parts.append(str(self.batch))
        usual = "CoCa-base" if self.kind in WRITTEN else "ViT-B/32"
        if self.size != usual and not self.size.startswith("tiny"):
            parts.append(self.size.replace("/", "-").lower())
        return "-".join(parts + [self.dtype] * (self.dtype != "float32"))

    @property
    def title(self) -> str:
        doing = KINDS[self.kind].format(batch=self.batch, ids=self.ids_before)
        return doing if self.kind in ("import", "help") else f"{self.size}: {doing}, {self.dtype}"

    @property
    def caption_length(self) -> int:
        """Ids of a caption with the one that begins it."""
        return min(30, self.numbers.length - 3)

    @property
    def ids_before(self) -> int:
        """Ids of a caption before the one that a step finds."""
        return min(READ, self.caption_length)


def on_processor() -> list[Case]:
    """The cases of a CPU."""
    base, written = "ViT-B/32", "CoCa-base"
    return [
        *(Case(kind, base, batch) for kind in ("image", "text") for batch in (8, 32)),
        *(Case("image", size, 8) for size in ("RN50", "ConvNeXt-tiny")),
        *(Case("train", base, batch) for batch in (8, 32)),
        *(Case(kind, written, batch) for kind in WRITTEN for batch in (1, 16)),
        *(Case("open", size) for size in (base, "ViT-L/14")),
        *(Case(kind, base) for kind in ("build", *STARTS)),
    ]


def quick() -> list[Case]:
    """Towers of a few thousand weights: whether everything runs, in minutes. Their times say little."""
    return [
        *(Case(kind, "tiny", 8) for kind in ("image", "text", "train")),
        *(Case(kind, "tiny CoCa", 2) for kind in WRITTEN),
        *(Case(kind, "tiny") for kind in ("open", "build", *STARTS)),
    ]


def on_accelerator() -> list[Case]:
    """The cases of a GPU, with batches that fill it."""
    return [
        Case(kind, size, batch, "bfloat16")
        for size, batch in (("ViT-B/32", 256), ("ViT-L/14", 64))
        for kind in ("image", "text", "train")
    ] + [Case(kind, "CoCa-base", 64, "bfloat16") for kind in ("image", "train")]


def chosen(cases, names) -> list[Case]:
    """The cases that `--cases` names: in full, `image-8`, or by kind, `image`.

    Raises:
        ValueError: a name that is that of no case.
    """
    unknown = [name for name in names if all(name not in (each.name, each.kind) for each in cases)]
    if unknown:
        of_gpu = {each.name for each in on_accelerator()} & set(unknown)
        why = f" ({', '.join(sorted(of_gpu))}: on a GPU alone, and without --quick)" if of_gpu else ""
        raise ValueError(f"no case {', '.join(unknown)}{why}; there are {', '.join(each.name for each in cases)}.")
    return [each for each in cases if not names or each.name in names or each.kind in names]
