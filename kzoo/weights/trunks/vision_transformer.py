"""What all of timm's classes of vision transformers share: arguments, pools and the names of their tensors."""

from kzoo.weights.mapping import CONVOLUTION, UNBATCHED, Entry, dense, fused_attention, norm
from kzoo.weights.trunks.trunk import TOWER, TRUNK

PLAIN = {  # a row of timm's defaults; `norm_tokens` None: as the pool wants that timm builds it with
    "kind": "vit",
    "patch_size": 16,
    "activation": "gelu",
    "epsilon": 1e-6,
    "class_token": True,
    "pool": "class_token",
    "norm_tokens": None,
    "pre_norm": False,
    "patch_bias": True,
    "layer_scale": None,
    "attention_bias": "all",
    "positions": "learned",
    "position_prefix": True,
    # what makes a tower of another kind
    "patch_tokens": False,
    "relative_dim": None,
    "stem": None,
    "mlp": "plain",
    "mlp_input_norm": False,
    "mlp_norm": False,
    "inner_norm": False,
    "res_post_norm": False,
    "rotary": None,
}
# timm's name of an argument -> ours, and where the values are called otherwise, timm's -> ours
_ARGUMENTS = {
    "img_size": ("image_size", None),
    "patch_size": ("patch_size", None),
    "embed_dim": ("width", None),
    "depth": ("depth", None),
    "num_heads": ("num_heads", None),
    "init_values": ("layer_scale", None),
    "class_token": ("class_token", None),
    "pre_norm": ("pre_norm", None),
    "qkv_bias": ("attention_bias", {True: "all", False: "out"}),
    "pos_embed": ("positions", {"learn": "learned", "none": None, "": None}),
    "no_embed_class": ("position_prefix", {False: True, True: False}),
    "fc_norm": ("norm_tokens", {False: True, True: False}),
    "global_pool": ("pool", {"token": "class_token", "avg": "average"}),
    "act_layer": ("activation", {name: name for name in ("gelu", "gelu_tanh", "quick_gelu", "relu", "silu")}),
}
# of the values that are built; what else they may be is not
_REFUSED = {
    "in_chans": 3,
    "qk_norm": False,
    "scale_attn_norm": False,
    "scale_mlp_norm": False,
    "proj_bias": True,
    "reg_tokens": 0,
    "final_norm": True,
    "pool_include_prefix": False,
    "dynamic_img_pad": False,
}
# of training, or of pictures of many sizes, or said by the wrapper: they change no number here
_OF_TRAINING = """
    num_classes dynamic_img_size drop_rate pos_drop_rate patch_drop_rate proj_drop_rate attn_drop_rate drop_path_rate
    weight_init fix_init
""".split()


_UNSAID = object()


def arguments(row, given, more=None, without=(), refused=None) -> dict:
    """The tower with timm's arguments over its own.

    Args:
        row: tower of the name.
        given: `Fields` of the arguments.
        more: arguments that this class of timm has beside the usual ones: their name -> ours.
        without: usual arguments that it has not.
        refused: arguments of one value each that is built.
    """
    known, refused = _known(more, without), _REFUSED | (refused or {})
    given.only(*known, "mlp_ratio", *refused, *_OF_TRAINING)
    given.refuse(**refused)
    tower = dict(row)
    for theirs, (ours, values) in known.items():
        value = given.optional(theirs)
        if value is not None:  # timm leaves out what is null
            tower[ours] = given.choice(theirs, values, None) if values else value
    tower["layer_scale"] = tower["layer_scale"] or None
    if tower["stem"] is None:
        tower["patch_bias"] = not tower["pre_norm"]
    ratio = given.optional("mlp_ratio")
    if ratio is not None or tower["width"] != row["width"]:
        ratio = row["mlp_dim"] / row["width"] if ratio is None else ratio
        tower["mlp_dim"] = int(tower["width"] * ratio)  # cut, as timm does
    return tower


def _known(more, without):
    more = {theirs: (ours, None) for theirs, ours in (more or {}).items()}
    return {name: each for name, each in (_ARGUMENTS | more).items() if name not in without}


def pooled(row, changes, own_head) -> dict:
    """The tower with the pool that open_clip's config says.

    timm builds a tower that takes the mean with a norm behind it, unless it is told where the norm stands. Where the
    projection is timm's own head, it is built with the config's pool; else that takes the place of its own afterwards.
    """
    tower = row | changes
    if tower["norm_tokens"] is None:
        built = tower if own_head else row
        tower["norm_tokens"] = built["pool"] != "average"
    return tower


def name(tower, names, row, more=None, without=()) -> tuple | None:
    """timm's name of a tower, of those that are nearest, and the arguments that are not those of the name.

    Args:
        tower: as a model says it.
        names: of timm.
        row: function of a name, that gives its tower.
        more, without: as of `arguments`.
    """
    if tower["pool"] not in _ARGUMENTS["global_pool"][1].values():
        return None
    known = _known(more, without)
    differing = {each: _differing(tower, row(each), known) for each in names}
    possible = [(each, changes) for each, changes in differing.items() if changes is not None]
    return min(possible, key=lambda each: len(each[1]), default=None)


def _differing(tower, usual, known):
    """The arguments that make `tower` of the one of a name; None where none do."""
    own_head = tower["embed_dim"] is None or (tower["projection_bias"] and not tower.get("hidden_dim"))
    built = dict(tower) if own_head else tower | {"pool": usual["pool"]}  # what timm's constructor is told
    if not built["class_token"]:
        built["pool"] = "average"
    built["norm_tokens"] = usual["norm_tokens"]
    if tower["norm_tokens"] != pooled(built, {}, True)["norm_tokens"]:
        built["norm_tokens"] = tower["norm_tokens"]
    if built["stem"] is None and built["patch_bias"] == built["pre_norm"]:
        return None
    arguments = {}
    for theirs, (ours, values) in known.items():
        value = _spelled(built[ours])
        if value == _spelled(usual.get(ours, value)) or (own_head and theirs == "global_pool"):
            continue
        said = next((each for each, mine in values.items() if mine == value), _UNSAID) if values else value
        if said is _UNSAID:
            return None
        arguments[theirs] = 0.0 if said is None and theirs == "init_values" else said
    width, mlp_dim = built["width"], built["mlp_dim"]
    if mlp_dim != int(width * (usual["mlp_dim"] / usual["width"])):
        ratio = mlp_dim / width
        arguments["mlp_ratio"] = ratio if int(width * ratio) == mlp_dim else (mlp_dim + 0.5) / width
    unsaid = usual.keys() - {ours for ours, _ in known.values()} - {"kind", "mlp_dim", "patch_bias"}
    return None if any(_spelled(built[each]) != _spelled(usual[each]) for each in unsaid) else arguments


def _spelled(value):
    """A value as JSON has it; a size of a square by its side."""
    if not isinstance(value, (list, tuple)):
        return value
    value = [_spelled(each) for each in value]
    return value[0] if len(value) == 2 and value[0] == value[1] and not isinstance(value[0], list) else value


def entries(row) -> list:
    """The lines of the tower, but for what makes its tokens where that is a stem."""
    block, layer = f"{TRUNK}.blocks.{{n}}", f"{TOWER}.blocks.{{n}}"
    return [
        Entry(f"{TRUNK}.patch_embed.proj.weight", f"{TOWER}.embedding.kernel", CONVOLUTION),
        Entry(f"{TRUNK}.patch_embed.proj.bias", f"{TOWER}.embedding.projection_bias"),
        Entry(f"{TRUNK}.cls_token", f"{TOWER}.embedding.class_embedding", UNBATCHED),
        Entry(f"{TRUNK}.pos_embed", f"{TOWER}.embedding.position_embedding", UNBATCHED),
        *norm(f"{TRUNK}.norm_pre", f"{TOWER}.pre_norm"),
        *norm(f"{block}.norm1", f"{layer}.norm_1"),
        *norm(f"{block}.norm2", f"{layer}.norm_2"),
        *fused_attention(f"{block}.attn.qkv.weight", f"{block}.attn.qkv.bias", f"{layer}.attention"),
        *dense(f"{block}.attn.proj", f"{layer}.attention.out"),
        *_mlp(row, f"{block}.mlp", layer),
        Entry(f"{block}.ls1.gamma", f"{layer}.scale_1.gain"),
        Entry(f"{block}.ls2.gamma", f"{layer}.scale_2.gain"),
        *norm(f"{TRUNK}.{'norm' if row['norm_tokens'] else 'fc_norm'}", f"{TOWER}.post_norm"),
    ]


def convolution(tensor, layer) -> list:
    """The two lines of a convolution with a bias in torch's names."""
    return [Entry(f"{tensor}.weight", f"{layer}.kernel", CONVOLUTION), Entry(f"{tensor}.bias", f"{layer}.bias")]


def _mlp(row, tensor, layer):
    if row["mlp"] == "geglu":
        return [
            *norm(f"{tensor}.norm", f"{layer}.mlp_input_norm"),
            *dense(f"{tensor}.w0", f"{layer}.mlp_gate"),
            *dense(f"{tensor}.w1", f"{layer}.mlp_up"),
            *dense(f"{tensor}.w2", f"{layer}.mlp_down"),
        ]
    return [*dense(f"{tensor}.fc1", f"{layer}.mlp_up"), *dense(f"{tensor}.fc2", f"{layer}.mlp_down")]
