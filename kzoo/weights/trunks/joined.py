"""How open_clip joins a tower of timm to its config: which tower, which pool, and whose projection."""

import re

from kzoo.weights.mapping import dense
from kzoo.weights.trunks import eva_own
from kzoo.weights.trunks.convnext import CONVNEXT
from kzoo.weights.trunks.eva import EVA
from kzoo.weights.trunks.fastvit import FASTVIT
from kzoo.weights.trunks.naflex import NAFLEX
from kzoo.weights.trunks.pe import PE
from kzoo.weights.trunks.relpos import RELPOS
from kzoo.weights.trunks.siglip import SIGLIP
from kzoo.weights.trunks.swin import SWIN
from kzoo.weights.trunks.trunk import ARGUMENTS, KWARGS, OWN, TOWER, TRUNK
from kzoo.weights.trunks.vit import VIT
from kzoo.weights.trunks.vitamin import VITAMIN

TRUNKS = (SIGLIP, CONVNEXT, SWIN, FASTVIT, EVA, PE, VIT, RELPOS, VITAMIN, NAFLEX)
KINDS = {trunk.kind for trunk in TRUNKS}


def read_trunk(vision, embed_dim) -> dict:
    """The image tower that `vision_cfg` describes by timm's name, as in a table of presets.

    Raises:
        ValueError: a tower, pool or projection that is not known.
    """
    row = _row(vision, embed_dim)[1]
    row.pop(OWN, None)
    return row


def _row(vision, embed_dim):
    """The trunk of a config, and its row with what the trunk keeps for itself."""
    name = vision.get("timm_model_name")
    vision.ignore(eva_own.NAME)  # which was read where the config was said in words of timm
    trunk, row = _found(name, vision.place)
    row = {"image_size": vision.get("image_size", 224)} | row
    row = trunk.sized(trunk.arguments(row, _arguments(vision, name)), vision)
    projection = _projection(vision, embed_dim)
    own_head = "timm_proj" in vision and vision.optional("timm_proj") in (None, "none")
    return trunk, trunk.pooled(row, vision.choice("timm_pool", trunk.pools, "avg"), own_head) | projection


def _found(name, place):
    for trunk in TRUNKS:
        row = trunk.row(name)
        if row is not None:
            return trunk, row
    stem, known = re.match("[a-z]*", name)[0], [trunk.names for trunk in TRUNKS]
    alike = [each for each in known if stem in re.findall("[a-z0-9]+", each)]
    beginnings = sorted({re.findall("[a-z0-9]+", each)[0] for each in known})
    builds = ", ".join(alike) or f"those that begin with {', '.join(beginnings)}"
    raise ValueError(f"{place} says timm_model_name={name!r}; of timm's towers this version builds {builds}.")


def _arguments(vision, name):
    """What is given to timm beside a name: by its own config.json, and over that by open_clip's."""
    own, more = vision.part(ARGUMENTS, {}, f"config.json of {name}, model_args"), vision.part(KWARGS, {})
    more.ignore(*more.values)  # which a trunk reads, or refuses, as its own
    return own.over(more.values, more.place if more.values else own.place)


def _projection(vision, embed_dim):
    """What follows the pool: timm's own head, or one that open_clip adds, or nothing."""
    proj = vision.optional("timm_proj") if "timm_proj" in vision else "linear"
    if proj in (None, "none") and vision.get("timm_pool", "avg") == "":
        raise ValueError(
            f"{vision.place} says timm_pool='' and timm_proj={proj!r}: without a projection of open_clip's, '' leaves "
            "the pool out, and nothing is embedded."
        )
    if proj == "none":
        return {}
    row = {"embed_dim": embed_dim, "projection_bias": proj is None or vision.get("timm_proj_bias", False)}
    if proj == "mlp":
        return row | {"hidden_dim": 2 * embed_dim}
    if proj not in (None, "linear"):
        raise ValueError(
            f"{vision.place} says timm_proj={proj!r}; this version knows null, 'linear', 'mlp' and 'none'."
        )
    return row


def trunk_entries(vision, embed_dim, names=()) -> list:
    """The lines of the image tower that `vision_cfg` describes by timm's name.

    Args:
        vision: `vision_cfg`.
        embed_dim: of the model.
        names: of the stored tensors.

    Raises:
        ValueError: the file is in the layout of somebody else.
    """
    trunk, row = _row(vision, embed_dim)
    projection = f"{TOWER}.projection"
    trunk.check(names)
    if row.get("embed_dim") is None:
        added = []
    elif row.get("hidden_dim"):
        added = [
            *dense("visual.head.mlp.fc1", f"{projection}.hidden"),
            *dense("visual.head.mlp.fc2", f"{projection}.final"),
        ]
    elif "timm_proj" in vision and vision.optional("timm_proj") is None:
        added = dense(f"{TRUNK}.{trunk.head}", projection)
    else:
        added = dense("visual.head.proj", projection)
    return [*trunk.entries(row), *added]


def write_trunk(image) -> tuple | None:
    """The inverse of `read_trunk`: what `vision_cfg` says of timm, and the `model_args` of timm's own config.

    Returns:
        `(fields, model_args)`, the second empty where the name says all, or the fields do; None where the tower is none
        of timm's.

    Raises:
        ValueError: the tower is of a kind of timm's, but of none of its sizes.
    """
    for trunk in TRUNKS:
        found = trunk.name(image) if trunk.kind == image["kind"] else None
        if found is not None:
            name, arguments = found
            pool = next(pool for pool, changes in trunk.pools.items() if changes.items() <= image.items())
            fields = {"timm_model_name": name, "timm_model_pretrained": False, "timm_pool": pool}
            if trunk.written_in == KWARGS and arguments:
                fields, arguments = fields | {KWARGS: arguments}, {}
            return fields | _written(image), arguments
    return None


def _written(image):
    if image["embed_dim"] is None:
        return {"timm_proj": "none"}
    if image.get("hidden_dim"):
        return {"timm_proj": "mlp", "timm_proj_bias": image["projection_bias"]}
    return {"timm_proj": None if image["projection_bias"] else "linear"}
