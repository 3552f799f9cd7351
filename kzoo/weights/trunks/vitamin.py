"""ViTamin: tokens by stages of MBConv, blocks with gated MLPs, the mean."""

from kzoo.weights.mapping import DEPTHWISE, POINTWISE, Entry, norm
from kzoo.weights.trunks import vision_transformer
from kzoo.weights.trunks.trunk import TOWER, TRUNK, Trunk
from kzoo.weights.trunks.vision_transformer import PLAIN, convolution, pooled

# by the name that timm gives: width, depth, heads, channels of the stages and, which are as many, of the stem
_SIZES = {
    "small": (384, 14, 6, (64, 128)),
    "base": (768, 14, 12, (128, 256)),
    "large": (1024, 31, 16, (160, 320)),
    "large2": (1024, 31, 16, (160, 320)),
    "xlarge": (1152, 32, 16, (192, 384)),
}
_BLOCKS = (2, 4)  # of the stages
_NAMES = (
    "vitamin_small_224",
    "vitamin_base_224",
    *(f"vitamin_{size}_{side}" for size in ("large", "large2") for side in (224, 256, 336, 384)),
    *(f"vitamin_xlarge_{side}" for side in (256, 336, 384)),
)


def row(name) -> dict | None:
    """The tower of this name."""
    if name not in _NAMES:
        return None
    _, size, side = name.split("_")
    width, depth, num_heads, channels = _SIZES[size]
    tower = PLAIN | {
        "image_size": int(side),
        "width": width,
        "depth": depth,
        "num_heads": num_heads,
        "mlp_dim": 2 * width,
        "class_token": False,
        "pool": "average",
        "patch_bias": False,
        "mlp": "geglu",
        "mlp_input_norm": True,
        "stem": "mbconv",
        "stem_width": channels[0],
        "stem_stages": [list(each) for each in zip(channels, _BLOCKS)],
    }
    if size == "xlarge":
        del tower["image_size"]  # it has no table: it is built for the pictures that the config says
        tower["positions"] = None
    return tower


def arguments(row, given) -> dict:
    """The tower with timm's arguments over its own."""
    tower = vision_transformer.arguments(row, given, more={"embed_cfg": "embed_cfg"}, without=("patch_size",))
    stem = tower.pop("embed_cfg", None) or {}
    channels = stem.get("embed_dim", [each for each, _ in row["stem_stages"]] + [row["width"]])
    blocks = stem.get("depths", [each for _, each in row["stem_stages"]])
    if len(channels) < 3 or len(blocks) < 2 or channels[2] != tower["width"]:
        raise ValueError(
            f"{given.place}, embed_cfg says embed_dim={channels}, depths={blocks}, but channels and blocks of two "
            f"stages are needed, and behind them the embed_dim of the whole, {tower['width']}."
        )
    return tower | {
        "stem_width": stem.get("stem_width", row["stem_width"]),
        "stem_stages": [list(each) for each in zip(channels[:2], blocks[:2])],
    }


def name(tower) -> tuple | None:
    """timm's name of a tower, and what differs from the tower of that name."""
    stem = {key: tower[key] for key in ("stem_width", "stem_stages")}
    found = vision_transformer.name(tower, _NAMES, lambda name: row(name) | stem)
    if found is None:
        return None
    usual, stages = row(found[0]), [list(each) for each in tower["stem_stages"]]
    built = (usual["width"], usual["stem_width"], usual["stem_stages"])
    if (tower["width"], tower["stem_width"], stages) != built:
        channels, blocks = zip(*stages)
        found[1]["embed_cfg"] = {
            "embed_dim": [*channels, tower["width"]],
            "depths": [*blocks, 1],
            "stem_width": tower["stem_width"],
        }
    return found


def entries(row) -> list:
    """The lines of the tower."""
    backbone, stem = f"{TRUNK}.patch_embed.backbone", f"{TOWER}.embedding.stem"
    lines = [
        *convolution(f"{backbone}.stem.conv1", f"{stem}.convolution_1"),
        *norm(f"{backbone}.stem.norm1", f"{stem}.norm"),
        *convolution(f"{backbone}.stem.conv2", f"{stem}.convolution_2"),
        *norm(f"{backbone}.pool.norm", f"{stem}.last_norm"),
        *convolution(f"{backbone}.pool.proj", f"{stem}.projection"),
    ]
    for stage in range(len(row["stem_stages"])):
        block, layer = f"{backbone}.stages.{stage}.{{n}}", f"{stem}.stages.{stage}.{{n}}"
        lines += [
            *norm(f"{block}.pre_norm", f"{layer}.norm"),
            *pointwise(f"{block}.conv1_1x1", f"{layer}.expand"),
            Entry(f"{block}.conv2_kxk.weight", f"{layer}.depthwise.kernel", DEPTHWISE),
            Entry(f"{block}.conv2_kxk.bias", f"{layer}.depthwise.bias"),
            *pointwise(f"{block}.conv3_1x1", f"{layer}.project"),
            *pointwise(f"{block}.shortcut.expand", f"{layer}.shortcut"),
        ]
    return [*lines, *vision_transformer.entries(row)]


def pointwise(tensor, layer) -> list:
    """The two lines of a convolution of 1 x 1 that is a linear layer here."""
    return [Entry(f"{tensor}.weight", f"{layer}.kernel", POINTWISE), Entry(f"{tensor}.bias", f"{layer}.bias")]


VITAMIN = Trunk(
    "vit",
    "vitamin_{small, base}_224, vitamin_{large, large2}_{224, 256, 336, 384}, vitamin_xlarge_{256, 336, 384}",
    row,
    entries,
    arguments,
    name,
    pools={"avg": {"pool": "average"}, "": {}},
    pooled=pooled,
)
