"""What other libraries call the models of the table: names of open_clip open a preset, others are answered with one."""

import re
from pathlib import Path

# names of other libraries, without a repository of their own in the table, as `_plain` spells them
KNOWN = {
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
_WITH_TAG = re.compile(r"(.+)[/:]([^/:]*)")
SCHEMES = {"hf-hub:": "hf://", "local-dir:": ""}  # of open_clip: what stands for each of them here
QUICK = "-quickgelu"  # ends the name of a config of open_clip that differs from another in nothing else


class OpenClipNames:
    """Names of open_clip: `"ViT-B-32"`, or with the tag of its weights `"ViT-B-32/laion2b_s34b_b79k"`.

    Upper and lower case, `-` and `_` are one, as in tags of open_clip; `"ViT-B/32"` and `"ViT-L/14@336px"` are
    OpenAI's spelling, and what `open_clip.list_pretrained(as_str=True)` gives, `"ViT-B-32:openai"`, is understood. A
    name without a tag means the preset that is called after its architecture, else the first that has weights.

    Args:
        rows: tuples `(preset, config, tag, quick)` in the order of the table: name of the config in open_clip, tag of
            the weights or None, and whether the towers use the quick form of GELU.
        first: presets that are called after their architecture.
    """

    def __init__(self, rows, first=()):
        self.configs = {}  # plain name -> (as open_clip writes it, [(tag, preset, quick)])
        self.first = set(first)
        for preset, config, tag, quick in rows:
            self.configs.setdefault(_plain(config), (config, []))[1].append((tag, preset, quick))

    def preset(self, name) -> str | None:
        """The preset that a name of open_clip means; None where it is none.

        Raises:
            ValueError: a config of open_clip, but a tag of which there is no preset.

        Example:
            >>> OpenClipNames([("clip_base", "ViT-B-32", "openai", True)]).preset("ViT-B/32")
            'clip_base'
        """
        whole = self._rows(name)
        if whole:
            named = next((preset for _, preset, _ in whole if preset in self.first), None)
            return named or next((preset for tag, preset, _ in whole if tag), whole[0][1])
        config, tag = _WITH_TAG.fullmatch(name).groups() if _WITH_TAG.fullmatch(name) else (name, "")
        rows = self._rows(config)
        if not rows:
            return None
        found = next((preset for known, preset, _ in rows if known and _tag(known) == _tag(tag)), None)
        if found is None:
            tags = ", ".join(known for known, _, _ in rows if known)
            known = f"tags with one are {tags}" if tags else "no weights of it are in the table"
            raise ValueError(f"there is no preset of the tag {tag!r} of open_clip's {config}; {known}.")
        return found

    def names(self) -> list:
        """All of them, as open_clip writes them."""
        tags = [f"{config}/{tag}" for config, rows in self.configs.values() for tag, _, _ in rows if tag]
        return [*(config for config, _ in self.configs.values()), *tags]

    def _rows(self, config):
        """What the table has of a config; under a name that says so, only what uses the quick form of GELU."""
        plain = _plain(config).replace("/", "-")
        rows = self.configs.get(plain.removesuffix(QUICK), (None, []))[1]
        return [row for row in rows if row[2]] if plain.endswith(QUICK) else rows


def known_as(name, repositories) -> str | None:
    """The preset of a model that another library calls by a name; None where there is none.

    Args:
        name: what was asked for, such as `"openai/clip-vit-base-patch32"`.
        repositories: dict from the repository of a preset's weights to the preset.

    Example:
        >>> known_as("openai/clip-vit-base-patch32", {})
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


def means_repository(name) -> bool:
    """Whether a name that is no preset and no folder means a repository of the hub, as in transformers and open_clip.

    Where there is a folder of its first part, it is a path with a mistake in its second, and nothing is asked of the
    hub.

    Example:
        >>> means_repository("openai/clip-vit-base-patch32")
        True
    """
    return on_hub(name) and not Path(name).parent.is_dir()


def without_scheme(name) -> str:
    """A name with a scheme of open_clip as kzoo writes it; any other as it is.

    Example:
        >>> without_scheme("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
        'hf://laion/CLIP-ViT-B-32-laion2B-s34B-b79K'
    """
    scheme = next((scheme for scheme in SCHEMES if name.startswith(scheme)), "")
    return SCHEMES.get(scheme, "") + name.removeprefix(scheme)


def _plain(name):
    """A name in one spelling: lower case, with hyphens, and 336 without its unit."""
    return re.sub(r"(?<=\d)px", "", name.lower().replace("_", "-").replace("@", "-"))


def _tag(name):
    return name.lower().replace("-", "_")
