"""ConvNeXt in its plain form: norms after the pool, MLPs of linear layers, no response norms."""

from kzoo.weights.mapping import CONVOLUTION, DEPTHWISE, Entry, dense, norm
from kzoo.weights.trunks.trunk import TOWER, TRUNK, Trunk, changed

# by the name that timm gives: blocks and channels of the stages
_SIZES = {
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
    "xlarge": ((3, 3, 27, 3), (256, 512, 1024, 2048)),
    "xxlarge": ((3, 4, 30, 3), (384, 768, 1536, 3072)),
}
_NAMES = {f"convnext_{size}": sizes for size, sizes in _SIZES.items()}
_STAGES = 4
_LARGEST_STEM = 7  # beyond it timm no longer halves the map before the last stage, but spreads the kernels
_ACTIVATIONS = {name: name for name in ("gelu", "gelu_tanh", "quick_gelu", "relu", "silu")}
_PLAIN = {  # what timm's ConvNeXt is otherwise, and this one is not
    "stem_type": "patch",
    "output_stride": 32,
    "conv_mlp": False,
    "conv_bias": True,
    "use_grn": False,
    "head_norm_first": False,
    "head_hidden_size": None,
    "norm_layer": "layernorm",
    "in_chans": 3,
}
_OF_TRAINING = ("drop_rate", "drop_path_rate", "head_init_scale")  # which change no number of a trained tower
_OURS = {"depths": "depths", "dims": "widths", "kernel_sizes": "kernel_sizes", "patch_size": "patch_size"}


def row(name) -> dict | None:
    """The tower of this name."""
    if name not in _NAMES:
        return None
    depths, widths = _NAMES[name]
    return {
        "kind": "convnext",
        "depths": list(depths),
        "widths": list(widths),
        "patch_size": 4,
        "kernel_sizes": 7,
        "layer_scale": 1e-6,
        "activation": "gelu",
        "epsilon": 1e-5 if name == "convnext_xxlarge" else 1e-6,
    }


def arguments(row, given) -> dict:
    """The tower with timm's arguments over its own."""
    given.only(*_OURS, "ls_init_value", "norm_eps", "act_layer", *_PLAIN, *_OF_TRAINING)
    given.refuse(**_PLAIN)
    row = row | {ours: given.get(theirs) for theirs, ours in _OURS.items() if theirs in given}
    if "ls_init_value" in given:
        row["layer_scale"] = given.optional("ls_init_value")
    if "norm_eps" in given:  # null is timm's own, whatever the name
        row["epsilon"] = given.optional("norm_eps") or 1e-6
    row["activation"] = given.choice("act_layer", _ACTIVATIONS, row["activation"])
    for name in ("depths", "dims"):
        if len(row[_OURS[name]]) != _STAGES:
            raise ValueError(f"{given.place} says {name}={row[_OURS[name]]}; timm's ConvNeXt has {_STAGES} stages.")
    if row["patch_size"] > _LARGEST_STEM:
        raise ValueError(
            f"{given.place} says patch_size={row['patch_size']}; this version knows stems from 1 to {_LARGEST_STEM}."
        )
    return row


def name(tower) -> tuple | None:
    """timm's name of a tower, and what differs from the tower of that name."""
    names = _OURS | {"ls_init_value": "layer_scale", "act_layer": "activation", "norm_eps": "epsilon"}
    differing = {name: changed(tower, row(name), names) for name in _NAMES}
    return min(differing.items(), key=lambda each: len(each[1]))


def entries(row) -> list:
    """The lines of the tower."""
    lines = [
        *_convolution(f"{TRUNK}.stem.0", f"{TOWER}.stem"),
        *norm(f"{TRUNK}.stem.1", f"{TOWER}.stem_norm"),
        *norm(f"{TRUNK}.head.norm", f"{TOWER}.post_norm"),
    ]
    for number in range(len(row["depths"])):
        stage, layer = f"{TRUNK}.stages.{number}", f"{TOWER}.stages.{number}"
        block, ours = f"{stage}.blocks.{{n}}", f"{layer}.blocks.{{n}}"
        lines += [
            *norm(f"{stage}.downsample.0", f"{layer}.norm"),
            *_convolution(f"{stage}.downsample.1", f"{layer}.reduction"),
            Entry(f"{block}.conv_dw.weight", f"{ours}.depthwise.kernel", DEPTHWISE),
            Entry(f"{block}.conv_dw.bias", f"{ours}.depthwise.bias"),
            *norm(f"{block}.norm", f"{ours}.norm"),
            *dense(f"{block}.mlp.fc1", f"{ours}.mlp_up"),
            *dense(f"{block}.mlp.fc2", f"{ours}.mlp_down"),
            Entry(f"{block}.gamma", f"{ours}.scale.gain"),
        ]
    return lines


def _convolution(tensor, layer):
    return [Entry(f"{tensor}.weight", f"{layer}.kernel", CONVOLUTION), Entry(f"{tensor}.bias", f"{layer}.bias")]


CONVNEXT = Trunk(
    "convnext",
    f"convnext_{{{', '.join(_SIZES)}}}",
    row,
    entries,
    arguments,
    name,
    pools={"avg": {}, "": {}},
    head="head.fc",
)
