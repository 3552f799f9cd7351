"""Folders of transformers with one tower alone: a part of the models of a format, with the config of that part.

Read from transformers 5.24. Versions 4 put `vision_model.` or `text_model.` before every name of such a file, version 5
does so only where something follows the tower.
"""

from dataclasses import dataclass

from kzoo.weights import transformers_clip, transformers_siglip
from kzoo.weights.fields import Fields
from kzoo.weights.format import Format

_BARE = r"^(?=(embeddings|encoder|head|pre_layrnorm|post_layernorm|final_layer_norm)\.)"
_HEAD = "classifier"  # the layer of a class `...ForImageClassification`


@dataclass(frozen=True)
class SingleTower:
    """What one class of transformers holds.

    Args:
        whole: format of the models that have such a tower.
        tower: `"image_encoder"` or `"text_encoder"`.
        projects: whether its embedding goes through the projection of such a model.
        classifies: whether a layer of classes follows, which reads the mean of its tokens.
    """

    whole: Format
    tower: str
    projects: bool = True
    classifies: bool = False

    @property
    def part(self) -> str:
        """The part of a whole config that such a tower has."""
        return "vision_config" if self.tower == "image_encoder" else "text_config"

    @property
    def renames(self) -> list:
        """Pairs of a pattern and what stands in its place in names of tensors."""
        return [(_BARE, f"{self.part.removesuffix('config')}model.")]

    @property
    def drop(self) -> tuple:
        """Patterns of tensors that no tower reads."""
        return (*self.whole.drop, f"{_HEAD}.*") if self.classifies else self.whole.drop

    def row(self, config, preprocessing=None, **steps_file) -> dict:
        """A row with this tower and its image steps: that of a model whose other tower is any, read as strictly.

        Args:
            config: content of `config.json`.
            preprocessing: content of the file of image steps; None and {} for none.
            **steps_file: `steps_file`, its name.
        """
        row = self.whole.row(self._whole(config), preprocessing, **steps_file)
        tower = row[self.tower]
        if not self.projects and "embed_dim" in tower:
            tower["embed_dim"] = None
        return {self.tower: tower, "images": row["images"] if self.tower == "image_encoder" else None}

    def entries(self, config) -> list:
        """The lines of the tower alone."""
        lines = self.whole.entries(self._whole(config).values, ())
        return [line for line in lines if _first(line).startswith(f"{self.tower}.")]

    def _whole(self, config):
        """The `Fields` of a whole config around that of the tower."""
        own = {"architectures": None, "model_type": self.whole.value}
        if config.get(self.part) is not None:
            return Fields(config | own, self.whole.file)
        whole = own | {self.part: config}
        if config.get("projection_dim") is not None:
            whole["projection_dim"] = config["projection_dim"]
        fields = Fields(whole, self.whole.file)
        fields.part(self.part, place=self.whole.file)  # as which its sentences know it
        return fields


def _first(line):
    return line.parameters if isinstance(line.parameters, str) else line.parameters[0]


def _classes(prefix, whole, projection):
    image, text = "image_encoder", "text_encoder"
    found = {
        f"{prefix}VisionModel": SingleTower(whole, image, projects=False),
        f"{prefix}TextModel": SingleTower(whole, text, projects=not projection),
        f"{prefix}ForImageClassification": SingleTower(whole, image, projects=False, classifies=True),
    }
    if projection:
        found[f"{prefix}VisionModelWithProjection"] = SingleTower(whole, image)
        found[f"{prefix}TextModelWithProjection"] = SingleTower(whole, text)
    return found


CLASSES = {  # of transformers, by name
    **_classes("CLIP", transformers_clip.FORMAT, projection=True),
    **_classes("MetaClip2", transformers_clip.METACLIP_FORMAT, projection=True),
    **_classes("Siglip", transformers_siglip.FORMAT, projection=False),
    **_classes("Siglip2", transformers_siglip.NAFLEX_FORMAT, projection=False),
}
MODEL_TYPES = {  # model_type of a config that names no class
    "clip_vision_model": "CLIPVisionModel",
    "clip_text_model": "CLIPTextModel",
    "metaclip_2_vision_model": "MetaClip2VisionModel",
    "metaclip_2_text_model": "MetaClip2TextModel",
    "siglip_vision_model": "SiglipVisionModel",
    "siglip_text_model": "SiglipTextModel",
    "siglip2_vision_model": "Siglip2VisionModel",
    "siglip2_text_model": "Siglip2TextModel",
}


def class_of(config) -> str | None:
    """The name in `CLASSES` that a `config.json` is of, or None.

    Example:
        >>> class_of({"model_type": "clip_text_model", "architectures": ["CLIPTextModelWithProjection"]})
        'CLIPTextModelWithProjection'
    """
    named, kind = config.get("architectures"), config.get("model_type")
    first = named[0] if isinstance(named, list) and named else None
    name = MODEL_TYPES.get(kind) if first is None and isinstance(kind, str) else first
    return name if isinstance(name, str) and name in CLASSES else None


def head_names() -> tuple:
    """The tensors of a layer of classes."""
    return f"{_HEAD}.weight", f"{_HEAD}.bias"
