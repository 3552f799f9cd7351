"""FastViT, the towers of MobileCLIP S0 to S4: with the branches that they are trained with."""

from kzoo.layers.branches import multiplier
from kzoo.weights.mapping import (
    CONVOLUTION,
    POINTWISE,
    SPLIT_TRANSPOSE,
    VECTOR,
    Entry,
    batch_norm,
    dense,
    grouped,
    norm,
    query_key_value,
)
from kzoo.weights.trunks.trunk import TOWER, TRUNK, Trunk

MERGED = "reparam_conv"  # what timm calls the one convolution that it merges branches into
UNTRAINED = (
    f"its branches are merged ({MERGED}), and what they were cannot be found again; take the checkpoint that was not "
    "merged, which an export of kzoo merges"
)
_SIZES = {  # by the name that timm gives: depths, widths
    "fastvit_mci0": ([2, 6, 10, 2], [64, 128, 256, 512]),
    "fastvit_mci1": ([4, 12, 20, 4], [64, 128, 256, 512]),
    "fastvit_mci2": ([4, 12, 24, 4], [80, 160, 320, 640]),
    "fastvit_mci3": ([2, 12, 24, 4, 2], [96, 192, 384, 768, 1536]),
    "fastvit_mci4": ([2, 12, 24, 4, 4], [128, 256, 512, 1024, 2048]),
}
_LISTS = {  # arguments of timm with an entry for each stage, and what they are here
    "layers": "depths",
    "embed_dims": "widths",
    "mlp_ratios": "mlp_ratios",
    "token_mixers": "mixers",
    "downsamples": "downsamples",
    "se_downsamples": "squeezes",
}
_SINGLE = {
    "repmixer_kernel_size": "mixer_kernel",
    "down_patch_size": "down_kernel",
    "down_stride": "down_strides",
    "lkc_use_act": "down_activation",
    "stem_use_scale_branch": "stem_branches",
    "cls_ratio": "expansion",
    "layer_scale_init_value": "layer_scale",
}
_POSITIONS = "pos_embs"  # holds functions, of which no file can say more than that there is none
_PLAIN = {"in_chans": 3, "fork_feat": False, "global_pool": "avg"}
_UNREAD = ("num_classes", "drop_rate", "proj_drop_rate", "drop_path_rate")  # the wrapper's, and while timm trains


def row(name) -> dict | None:
    """The tower of this name."""
    if name not in _SIZES:
        return None
    depths, widths = _SIZES[name]
    stages, small = len(depths), len(depths) == 4
    attention = [stage > 2 for stage in range(stages)]
    return {
        "kind": "fastvit",
        "depths": depths,
        "widths": widths,
        "mlp_ratios": [3 if small else 4] * stages,
        "mixers": ["attention" if each else "repmixer" for each in attention],
        "positions_before": attention,
        "downsamples": [stage > 0 for stage in range(stages)],
        "squeezes": [small and stage > 1 for stage in range(stages)],
        "mixer_kernel": 3,
        "down_kernel": 7,
        "down_strides": 2,
        "down_activation": True,
        "stem_branches": small,
        "expansion": 2.0,
        "layer_scale": 1e-5,
        "norm": "batch" if small else "layer",
        "epsilon": 1e-5,
        "activation": "gelu",
    }


def arguments(row, given) -> dict:
    """The tower with timm's arguments over its own.

    Raises:
        ValueError: arguments that are not known, lists of another length than the stages, or the merged form.
    """
    given.only(*_LISTS, *_SINGLE, _POSITIONS, *_PLAIN, *_UNREAD, "inference_mode")
    given.refuse(**_PLAIN)
    if given.get("inference_mode", False):
        raise ValueError(f"{given.place} says inference_mode=True: {UNTRAINED}.")
    row = dict(row)
    for theirs, ours in _LISTS.items():
        row[ours] = given.get(theirs, row[ours])
    for theirs, ours in _SINGLE.items():
        if theirs in given:
            row[ours] = given.optional(theirs)
    if given.optional(_POSITIONS) is not None:
        row["positions_before"] = [False for _ in given.get(_POSITIONS)]
    if not isinstance(row["depths"], list):
        raise ValueError(f"{given.place} says layers={row['depths']!r}; a list is expected, one number for each stage.")
    stages = len(row["depths"])
    for theirs, ours in (_LISTS | {_POSITIONS: "positions_before"}).items():
        if len(row[ours]) < stages or (len(row[ours]) > stages and ours == "widths"):
            raise ValueError(
                f"{given.place} has {stages} layers, but {len(row[ours])} {theirs}; give one for each stage."
            )
        row[ours] = row[ours][:stages]  # timm reads no more
    return row


def name(row) -> tuple:
    """timm's name of a tower and the arguments over it, of all that can say it the one with the fewest.

    Raises:
        ValueError: a tower that timm has not.
    """
    if row["merged"]:
        raise ValueError("its branches are merged; write the model that it was made of")
    said = [(each, _said(row, each)) for each in _SIZES]
    said = [(each, arguments) for each, arguments in said if arguments is not None]
    if not said:
        raise ValueError(
            f"timm has no FastViT with norm={row['norm']!r} and positions_before={list(row['positions_before'])}"
        )
    return min(said, key=lambda each: len(each[1]))


def _said(wanted, name):
    """The arguments that make a tower of the one of this name; None where none do."""
    own, stages = row(name), len(wanted["depths"])
    if wanted["norm"] != own["norm"]:
        return None
    lists = {theirs: list(wanted[ours]) for theirs, ours in _LISTS.items() if list(wanted[ours]) != own[ours][:stages]}
    single = {theirs: wanted[ours] for theirs, ours in _SINGLE.items() if wanted[ours] != own[ours]}
    if list(wanted["positions_before"]) != own["positions_before"][:stages]:
        if any(wanted["positions_before"]):
            return None
        single[_POSITIONS] = [None] * stages
    return lists | single


def entries(row) -> list:
    """The lines of the tower."""
    first = row["widths"][0]
    lines = [
        *_branched(f"{TRUNK}.stem.0", f"{TOWER}.stem.0", row["stem_branches"]),
        *_branched(f"{TRUNK}.stem.1", f"{TOWER}.stem.1", row["stem_branches"], 1),
        *_branched(f"{TRUNK}.stem.2", f"{TOWER}.stem.2", False),
    ]
    before = first
    for stage, width in enumerate(row["widths"]):
        tensor, layer = f"{TRUNK}.stages.{stage}", f"{TOWER}.stages.{stage}"
        if row["downsamples"][stage] or width != before:
            strided, strided_layer = f"{tensor}.downsample.proj.0", f"{layer}.downsample.0"
            each = grouped(multiplier(before, width))
            lines += _conv_norm(f"{strided}.large_conv", f"{strided_layer}.branches.0", each)
            lines += _conv_norm(f"{strided}.small_conv", f"{strided_layer}.branches.1", each)
            lines += _gate(strided, strided_layer)
            lines += _branched(f"{tensor}.downsample.proj.1", f"{layer}.downsample.1", False)
        positions, convolution = f"{tensor}.pos_emb.pos_enc", f"{layer}.positions.conv.convolution"
        lines.append(Entry(f"{positions}.weight", f"{convolution}.kernel", grouped(1)))
        lines.append(Entry(f"{positions}.bias", f"{convolution}.bias"))
        lines += _blocks(f"{tensor}.blocks.{{n}}", f"{layer}.blocks.{{n}}", row, row["mixers"][stage] == "attention")
        before = width
    last = int(before * row["expansion"])
    return [*lines, *_branched(f"{TRUNK}.final_conv", f"{TOWER}.final_conv", True, multiplier(before, last))]


def _blocks(block, layer, row, attention):
    mixer = f"{block}.token_mixer"
    if attention:
        kernels = tuple(f"{each}.kernel" for each in query_key_value(f"{layer}.attention"))
        lines = [
            *(batch_norm if row["norm"] == "batch" else norm)(f"{block}.norm", f"{layer}.norm"),
            Entry(f"{mixer}.qkv.weight", kernels, SPLIT_TRANSPOSE),
            *dense(f"{mixer}.proj", f"{layer}.attention.out"),
            Entry(f"{block}.layer_scale_1.gamma", f"{layer}.scale.gain", VECTOR),
        ]
    else:
        lines = [
            *_branched(f"{mixer}.mixer", f"{layer}.mixer.mixer", row["mixer_kernel"] > 1, 1),
            *batch_norm(f"{mixer}.norm.identity", f"{layer}.mixer.norm"),
            Entry(f"{mixer}.layer_scale.gamma", f"{layer}.mixer.scale.gain", VECTOR),
        ]
    scale = "layer_scale_2" if attention else "layer_scale"
    return [
        *lines,
        *_conv_norm(f"{block}.mlp.conv", f"{layer}.mlp.conv", grouped(1)),
        *_pointwise(f"{block}.mlp.fc1", f"{layer}.mlp.up"),
        *_pointwise(f"{block}.mlp.fc2", f"{layer}.mlp.down"),
        Entry(f"{block}.{scale}.gamma", f"{layer}.mlp.scale.gain", VECTOR),
    ]


def _branched(tensor, layer, scale, multiplier=None):
    transform = CONVOLUTION if multiplier is None else grouped(multiplier)
    return [
        *_conv_norm(f"{tensor}.conv_kxk.0", f"{layer}.branches.0", transform),
        *(_conv_norm(f"{tensor}.conv_scale", f"{layer}.branches.1", transform) if scale else []),
        *batch_norm(f"{tensor}.identity", f"{layer}.identity"),
        *_gate(tensor, layer),
    ]


def _conv_norm(tensor, layer, transform):
    return [
        Entry(f"{tensor}.conv.weight", f"{layer}.convolution.kernel", transform),
        *batch_norm(f"{tensor}.bn", f"{layer}.norm"),
    ]


def _gate(tensor, layer):
    return [
        *_pointwise(f"{tensor}.se.fc1", f"{layer}.gate.squeeze"),
        *_pointwise(f"{tensor}.se.fc2", f"{layer}.gate.excite"),
    ]


def _pointwise(tensor, layer):
    return [Entry(f"{tensor}.weight", f"{layer}.kernel", POINTWISE), Entry(f"{tensor}.bias", f"{layer}.bias")]


FASTVIT = Trunk(
    "fastvit",
    "fastvit_mci{0, 1, 2, 3, 4}",
    row,
    entries,
    arguments,
    name,
    pools={"avg": {}, "": {}},
    head="head.fc",
    others={f"*.{MERGED}.*": UNTRAINED},
)
