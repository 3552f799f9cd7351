"""Writes docs/checkpoints.md from the formats and the tables of presets.

python docs/make_checkpoints.py
"""

from pathlib import Path

import kzoo
from kzoo.weights.formats import FORMATS

PAGE = Path(__file__).with_name("checkpoints.md")
HEAD = """# Checkpoints that open

Written by `docs/make_checkpoints.py` (`make docs`) from the formats in `kzoo/weights` and the tables in `presets/`.

`kzoo.from_preset` opens a folder, a repository of the Hugging Face Hub (`"hf://owner/name"`, as open_clip writes it
`"hf-hub:owner/name"`, or `"owner/name"` alone, unless there is a folder `owner` here), a preset
(`"clip_base_laion2b"`), and what open_clip calls the same model (`"ViT-B-32/laion2b_s34b_b79k"`). Only safetensors and
npz are read, never a pickle.
"""
LIBRARIES = """## Libraries

| library | what declares it | weights | written back |
|---|---|---|---|"""
OPEN_CLIP = """## Models of open_clip

Every config of open_clip 3.3.0 opens: the tests compare the names, shapes and count of all tensors of each, and the
outputs of small ones of each kind. A name of open_clip means the preset of its model:
`kzoo.from_preset("ViT-B-32/laion2b_s34b_b79k")`. Upper and lower case, `-` and `_` are one there, `ViT-B/32` and
`ViT-L/14@336px` are OpenAI's spelling, and `ViT-B-32:openai`, as `open_clip.list_pretrained(as_str=True)` gives it, is
understood.

- Without a tag it is the preset in **bold**, with its weights, as everywhere in kzoo: open_clip gives random weights
  there, which here `load_weights=False` does.
- With `-quickgelu` behind it, a name means the weights that were trained with QuickGELU, as in open_clip. Without, too,
  each has the GELU that it was trained with: open_clip warns of a mismatch and goes on.
- `coca_base` is a preset of kzoo, the model that open_clip calls `coca_ViT-B-32`; its own `coca_base` is
  `coca_base_patch18_288`.

Of the later line of open_clip, 4.2, the tests compare 15 more configs the same way: towers of timm that keep the shape
of pictures (`naflexvit_*`), the text tower that it calls modern, CoCa v2, MaMMUT, also as LAION's fork of open_clip
writes it, and what is given to timm in `timm_model_kwargs`. Pictures of a NaFlex tower are cut into at most
`image_seq_len` patches, as timm cuts them where a model is made for that; the square that open_clip makes of a picture
by default is one of its shapes. Texts of tiktoken have no vocabulary in a repository: such a model reads token ids.
CLAP, GenLIP, GenLAP, CoCa and MaMMUT with a modern decoder, MaMMUT with a NaFlex tower and the text tower of ModernBERT
are refused by their names.

| open_clip | image tower | text tower | parameters | tag: preset |
|---|---|---|---|---|"""
OTHERS = """## Presets with weights of other libraries

| preset | repository | parameters |
|---|---|---|"""


def libraries():
    """A line for each format."""
    for format in FORMATS:
        declared = f"`{format.key}` of `{format.file}`"
        value = f", which is `{format.value}`" if format.value else ""
        written = "yes" if format.write_config else "no"
        yield f"| {format.name} | {declared}{value} | `{format.weight_file}` | {written} |"


def names_of_open_clip(rows):
    """A line for each config, in the order of the tables."""
    configs = {}
    for row in rows:
        if "open_clip" in row:
            configs.setdefault(row["open_clip"], []).append(row)
    for config, presets in configs.items():
        meant = kzoo.describe(config)["preset"]
        cells = []
        for row in presets:
            name = f"**{row['preset']}**" if row["preset"] == meant else row["preset"]
            cells.append(f"`{row['weights']['tag']}`: {name}" if row["weights"] else f"no weights: {name}")
        first = presets[0]
        kinds = (first[f"{tower}_encoder"]["kind"] for tower in ("image", "text"))
        total = first["parameters"]["total"]
        yield f"| `{config}` | {' | '.join(kinds)} | {total:,} | {', '.join(cells)} |"


def others(rows):
    """A line for each preset whose weights are of another library."""
    for row in rows:
        if row["weights"] and "open_clip" not in row:
            yield f"| {row['preset']} | {row['weights']['repo']} | {row['parameters']['total']:,} |"


def page():
    """The text of the page."""
    rows = [kzoo.describe(row["name"]) for row in kzoo.list_presets()]
    lines = [HEAD, LIBRARIES, *libraries(), "", OPEN_CLIP, *names_of_open_clip(rows), "", OTHERS, *others(rows), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE}")
