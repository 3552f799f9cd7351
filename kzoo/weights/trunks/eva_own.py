"""EVA's own layout of its CLIPs: a config that names `eva_model_name`, said in the words of timm and open_clip."""

from kzoo.weights.fields import Fields
from kzoo.weights.trunks.trunk import TRUNK

NAME = "eva_model_name"  # in `vision_cfg`
# how the sums are computed, and how it was trained: they change no number
_WITHOUT_NUMBERS = ("xattn", "fusedLN", "patch_dropout", "drop_path_rate", "grad_checkpointing")
_SIZES = "image_size patch_size width layers head_width mlp_ratio ls_init_value pt_hw_seq_len".split()
_SWITCHES = "qkv_bias rope postnorm intp_freq naiveswiglu subln".split()
_PLAIN = {"global_average_pool": False}
# names of its MLP with a gate -> those of timm
_GATED = {"w1": "fc1_g", "w2": "fc1_x", "w3": "fc2"}


def in_words_of_timm(model, place) -> dict:
    """`model_cfg` of EVA's own, as open_clip would say it of a tower of timm.

    Args:
        model: `model_cfg`, whose `vision_cfg` names `eva_model_name`.
        place: name of the file, for messages.

    Raises:
        ValueError: a field that is not known, or says what is not built.
    """
    vision = Fields(model["vision_cfg"], f"{place}, model_cfg, vision_cfg")
    vision.only(NAME, *_SIZES, *_SWITCHES, *_PLAIN, *_WITHOUT_NUMBERS)
    vision.refuse(**_PLAIN)
    width, patch_size = vision.get("width", 768), vision.get("patch_size", 16)
    image_size, inner_norms = vision.get("image_size", 224), vision.get("subln", False)
    arguments = {
        "img_size": image_size,
        "patch_size": patch_size,
        "embed_dim": width,
        "depth": vision.get("layers", 12),
        "num_heads": width // vision.get("head_width", 64),
        "mlp_ratio": vision.get("mlp_ratio", 4.0),
        "qkv_bias": vision.get("qkv_bias", True),
        "qkv_fused": not inner_norms,
        "scale_attn_inner": inner_norms,
        "scale_mlp": inner_norms,
        "swiglu_mlp": vision.get("naiveswiglu", False),
        "swiglu_align_to": 1,  # a gate of its own, without or with a norm
        "use_rot_pos_emb": vision.get("rope", False),
        "use_post_norm": vision.get("postnorm", False),
        "init_values": vision.optional("ls_init_value"),
    }
    if arguments["use_rot_pos_emb"]:
        arguments["ref_feat_shape"] = _reference(vision, image_size, patch_size)
    tower = {
        NAME: vision.get(NAME),
        "image_size": image_size,
        "timm_model_name": "eva_giant_patch14_224",
        "timm_model_args": arguments,
        "timm_pool": "token",
        "timm_proj": None,
    }
    text = Fields(model.get("text_cfg"), f"{place}, model_cfg, text_cfg").values
    text = {name: value for name, value in text.items() if name not in _WITHOUT_NUMBERS}
    return model | {"custom_text": True, "vision_cfg": tower, "text_cfg": text}


def _reference(vision, image_size, patch_size):
    """Side of the grid that rotary positions are stretched to; without `intp_freq` they are the grid's own."""
    side = vision.get("pt_hw_seq_len", 16)
    height, width = image_size if isinstance(image_size, (list, tuple)) else (image_size, image_size)
    if not vision.get("intp_freq", False) and {height // patch_size, width // patch_size} != {side}:
        raise ValueError(
            f"{vision.place} says pt_hw_seq_len={side} without intp_freq, but pictures of {height} x {width} have "
            f"{height // patch_size} x {width // patch_size} patches: such a tower does not run."
        )
    return side


def renames(vision) -> list:
    """What EVA's names are in timm: pairs of a pattern and what stands in its place; none of another config."""
    if NAME not in vision:
        return []
    block = rf"^({TRUNK}\.blocks\.\d+)"
    apart = [(rf"{block}\.attn\.([qv])_bias$", r"\1.attn.\2_proj.bias")]
    gated = [(rf"{block}\.mlp\.{own}\.", rf"\1.mlp.{theirs}.") for own, theirs in _GATED.items()]
    arguments = vision["timm_model_args"]
    return [
        (r"^visual\.(?!trunk\.)", f"{TRUNK}."),
        (rf"{block}\.attn\.inner_attn_ln\.", r"\1.attn.norm."),
        (rf"{block}\.mlp\.ffn_ln\.", r"\1.mlp.norm."),
        *(gated if arguments["swiglu_mlp"] else []),
        *([] if arguments["qkv_fused"] else apart),
    ]
