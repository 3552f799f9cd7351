"""What a saved preprocessor may say of itself, in a kzoo folder and in the manifest of an export."""

from collections.abc import Iterator

from kzoo.files.schema import FLAG, ID, LENGTH, NULL, SIDE, SIZE, TEXT, TOKENS, Each, Object, choice, several
from kzoo.preprocessing.cleaning import CLEANERS
from kzoo.preprocessing.decoding import DECODINGS
from kzoo.preprocessing.images import INTERPOLATIONS, RESIZES, ROUNDINGS

STEPS = {
    "resize": choice(*RESIZES),
    "interpolation": choice(*INTERPOLATIONS),
    "resize_size": SIZE | NULL,
    "decoding": choice(*DECODINGS),
    "crop_rounding": choice(*ROUNDINGS),
}
IMAGES = {
    "pixels": Object({"kind": TEXT, "image_size": SIZE, **STEPS}, ("image_size",), closed=True),
    "patches": Object(
        {"kind": TEXT, "patch_size": SIDE, "max_patches": LENGTH}
        | {name: STEPS[name] for name in ("interpolation", "decoding")},
        ("patch_size", "max_patches"),
        closed=True,
    ),
}
RULES = Object(
    {
        "kind": TEXT,
        "clean": choice(*CLEANERS),
        "pad_id": ID,
        "start_id": ID | NULL,
        "eot_id": ID | NULL,
        "lowercase": FLAG,
        "context_length": LENGTH,
        "language": TEXT,
        "special_ids": Each(ID),
        "added_tokens": several(TEXT, 0, 1000),
    }
)
TOKENIZER = Object(
    {
        "context_length": LENGTH,
        "pad_id": ID,
        "clean": choice(*CLEANERS),
        "reads_specials": FLAG,
        "fingerprint": TEXT | NULL,
        "json": TEXT,
    },
    ("context_length",),
    closed=True,
    nullable=True,
)
VOCABULARY = Object(
    {"context_length": LENGTH | NULL, "vocab_size": TOKENS, "train": TOKENS, "source": TEXT | NULL, "rules": RULES},
    closed=True,
    nullable=True,
)


class ImageRules:
    """The rule of the image steps, which are of one of two kinds, or null where a model takes no pictures."""

    def problems(self, value, place, key=None) -> Iterator[str]:
        kind = value.get("kind", "pixels") if isinstance(value, dict) else None
        if value is not None and kind not in list(IMAGES):  # it may be anything
            rule = Object({"kind": choice(*IMAGES)}, ("kind",))
            yield from rule.problems(value, place, key)
        elif value is not None:
            yield from IMAGES[kind].problems(value, place, key)


PREPROCESSOR = Object(
    {"images": ImageRules(), "tokenizer": TOKENIZER, "vocabulary": VOCABULARY},
    ("images", "tokenizer", "vocabulary"),
    nullable=True,
)
