"""What other libraries call the models of the table, for the sentence that answers an unknown name."""

import re

# names without a repository of their own in the table, as `_plain` spells them
KNOWN = {
    "vit-s-32": "clip_small_patch32",
    "vit-s-16": "clip_small_patch16",
    "vit-m-32": "clip_medium_patch32",
    "vit-m-16": "clip_medium_patch16",
    "vit-b-32": "clip_base",
    "vit-b-32-256": "clip_base_patch32_256_datacomp",
    "vit-b-16": "clip_base_patch16",
    "vit-b-16-plus-240": "clip_base_plus_patch16_240_laion400m",
    "vit-l-14": "clip_large_patch14",
    "vit-l-14-336": "clip_large_patch14_336",
    "vit-h-14": "clip_huge_patch14_laion2b",
    "vit-h-14-378": "clip_huge_patch14_378_dfn5b",
    "vit-g-14": "clip_giant_patch14_laion2b_s34b",
    "vit-bigg-14": "clip_bigg_patch14_laion2b",
    "rn50": "clip_resnet50",
    "rn101": "clip_resnet101",
    "rn50x4": "clip_resnet50x4",
    "rn50x16": "clip_resnet50x16",
    "rn50x64": "clip_resnet50x64",
    "roberta-vit-b-32": "clip_base_roberta",
    "xlm-roberta-base-vit-b-32": "clip_base_xlm_roberta",
    "xlm-roberta-large-vit-h-14": "clip_huge_xlm_roberta_large",
    "coca-vit-b-32": "coca_base",
    "coca-vit-l-14": "coca_large",
    "clip-vit-base-patch32": "clip_base",
    "clip-vit-base-patch16": "clip_base_patch16",
    "clip-vit-large-patch14": "clip_large_patch14",
    "clip-vit-large-patch14-336": "clip_large_patch14_336",
    "clip": "clip_base",
    "siglip": "siglip_base_patch16_224",
    "siglip2": "siglip2_base_patch16_224",
    "coca": "coca_base",
    "align": "align_base",
    "blip": "blip_itm_base",
    "dino": "dino_small_patch16",
    "dino-vits16": "dino_small_patch16",
    "dino-vits8": "dino_small_patch8",
    "dino-vitb16": "dino_base_patch16",
    "dino-vitb8": "dino_base_patch8",
    "ibot": "ibot_base_patch16",
    "moco-v3": "moco_v3_base_patch16",
    "mae": "mae_base_patch16",
    "vit-mae-base": "mae_base_patch16",
    "vit-mae-large": "mae_large_patch16",
    "vit-mae-huge": "mae_huge_patch14",
    "languagebind": "languagebind_large_patch14",
}
HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")


def known_as(name, repositories) -> str | None:
    """The preset of a model that another library calls by a name; None where there is none.

    Args:
        name: what was asked for, such as `"ViT-B/32"` or `"openai/clip-vit-base-patch32"`.
        repositories: dict from the repository of a preset's weights to the preset.

    Example:
        >>> known_as("ViT-B-32-quickgelu", {})
        'clip_base'
    """
    repositories = {_plain(repo): preset for repo, preset in reversed(repositories.items())}
    last = {repo.rpartition("/")[2]: preset for repo, preset in repositories.items()}
    whole = _plain(name)
    short = whole.rpartition("/")[2] if on_hub(name) else whole.replace("/", "-")
    return repositories.get(whole) or last.get(short) or KNOWN.get(short)


def on_hub(name) -> bool:
    """Whether a name has the form of a repository of the Hugging Face Hub, `owner/name`."""
    return HUB.fullmatch(name) is not None and not _plain(name).startswith("vit-")  # "ViT-B/32" is OpenAI's spelling


def _plain(name):
    """A name in one spelling: lower case, with hyphens, without the kind of GELU, and 336 without its unit."""
    name = name.lower().replace("_", "-").replace("@", "-").removeprefix("hf-hub:")
    return re.sub(r"-quickgelu|(?<=\d)px", "", name)
