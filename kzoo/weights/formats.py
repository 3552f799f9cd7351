"""The formats of checkpoints; of those that a folder declares, the first with weights in it is taken."""

from kzoo.weights import (
    big_vision,
    mobileclip,
    open_clip,
    transformers_align,
    transformers_altclip,
    transformers_blip,
    transformers_chinese_clip,
    transformers_clip,
    transformers_siglip,
)

FORMATS = (
    transformers_clip.FORMAT,
    transformers_clip.METACLIP_FORMAT,
    transformers_siglip.FORMAT,
    transformers_siglip.NAFLEX_FORMAT,
    transformers_align.FORMAT,
    transformers_chinese_clip.FORMAT,
    transformers_altclip.FORMAT,
    transformers_blip.FORMAT,
    open_clip.FORMAT,
    big_vision.FORMAT,
    mobileclip.FORMAT,
)
