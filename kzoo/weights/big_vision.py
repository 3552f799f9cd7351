"""SigLIP as big_vision stores it: an `npz` file, blocks one by one or stacked, beside an `open_clip_config.json`.

The file says nothing of the architecture, so the config of the same model in open_clip stands beside it.
"""

from dataclasses import replace

from kzoo.weights import open_clip
from kzoo.weights.mapping import SINGLE, UNBATCHED, Entry, Transform


def _reads(function):
    """A transform in one direction."""

    def refuse(parts):
        raise ValueError("files of big_vision are read and not written")

    return Transform(function, refuse)


_COPY = _reads(lambda x: [x])
_INTO_HEADS = _reads(lambda x: [x.reshape(len(x), -1)])  # (d, heads, d / heads) -> (d, d)
_OUT_OF_HEADS = _reads(lambda x: [x.reshape(-1, x.shape[-1])])  # (heads, d / heads, d) -> (d, d)
_HEADS = _reads(lambda x: [x.reshape(-1)])  # (heads, d / heads) -> (d,)


def _norm(array, layer):
    return [(f"{array}/scale", f"{layer}.gamma", _COPY), (f"{array}/bias", f"{layer}.beta", _COPY)]


def _mlp(array, layer):
    lines = []
    for number, name in enumerate(("mlp_up", "mlp_down")):
        for part in ("kernel", "bias"):
            lines.append((f"{array}/Dense_{number}/{part}", f"{layer}.{name}.{part}", _COPY))
    return lines


def _attention(array, layer):
    lines = [
        (f"{array}/out/kernel", f"{layer}.out.kernel", _OUT_OF_HEADS),
        (f"{array}/out/bias", f"{layer}.out.bias", _COPY),
    ]
    for name in ("query", "key", "value"):
        lines.append((f"{array}/{name}/kernel", f"{layer}.{name}.kernel", _INTO_HEADS))
        lines.append((f"{array}/{name}/bias", f"{layer}.{name}.bias", _HEADS))
    return lines


def _blocks(array, tower, depth, stacked):
    """The blocks of a tower: `encoderblock_0/...` and so on, or `encoderblock/...` with a leading axis."""
    block, layer = f"{array}/encoderblock{{n}}", f"{tower}.blocks.{{n}}"
    lines = [
        *_norm(f"{block}/LayerNorm_0", f"{layer}.norm_1"),
        *_attention(f"{block}/MultiHeadDotProductAttention_0", f"{layer}.attention"),
        *_norm(f"{block}/LayerNorm_1", f"{layer}.norm_2"),
        *_mlp(f"{block}/MlpBlock_0", layer),
    ]
    if not stacked:
        return [Entry(name.replace("{n}", "_{n}"), path, transform) for name, path, transform in lines]
    return [
        Entry(
            name.replace("{n}", ""),
            tuple(path.replace("{n}", str(number)) for number in range(depth)),
            _reads(lambda x, each=transform: [part for layer in x for part in each.to_parameters(layer)]),
        )
        for name, path, transform in lines
    ]


def entries(config, names) -> list:
    """The map of one checkpoint; its names say whether blocks are stacked."""
    row = FORMAT.row(config)
    pool = "image_encoder.attention_pool"
    lines = [
        ("img/embedding/kernel", "image_encoder.embedding.kernel", _COPY),
        ("img/embedding/bias", "image_encoder.embedding.projection_bias", _COPY),
        ("img/pos_embedding", "image_encoder.embedding.position_embedding", UNBATCHED),
        *_norm("img/Transformer/encoder_norm", "image_encoder.post_norm"),
        ("img/MAPHead_0/probe", f"{pool}.probe", UNBATCHED),
        *_attention("img/MAPHead_0/MultiHeadDotProductAttention_0", f"{pool}.attention"),
        *_norm("img/MAPHead_0/LayerNorm_0", f"{pool}.norm"),
        *_mlp("img/MAPHead_0/MlpBlock_0", pool),
        ("txt/Embed_0/embedding", "text_encoder.token_embedding", _COPY),
        ("txt/pos_embedding", "text_encoder.position_embedding", UNBATCHED),
        *_norm("txt/Encoder_0/encoder_norm", "text_encoder.final_norm"),
        ("txt/head/kernel", "text_encoder.projection.kernel", _COPY),
        ("txt/head/bias", "text_encoder.projection.bias", _COPY),
        ("t", "similarity.log_scale", SINGLE),
        ("b", "similarity.bias", SINGLE),
    ]
    towers = {"img/Transformer": "image_encoder", "txt/Encoder_0": "text_encoder"}
    blocks = []
    for array, tower in towers.items():
        stacked = any(name.startswith(f"{array}/encoderblock/") for name in names)
        blocks += _blocks(array, tower, row[tower]["depth"], stacked)
    return [*(Entry(*line) for line in lines), *blocks]


def read_row(config, preprocessing=None) -> dict:
    """A complete row, as in a table of presets, from the config of open_clip; big_vision's GELU is the tanh form."""
    row = open_clip.read_row(config)
    if row["image_encoder"].get("pool") != "attention":
        raise ValueError(
            f"{open_clip.CONFIG_FILE} describes no SigLIP, and of big_vision's files this version reads SigLIP's."
        )
    for tower in ("image_encoder", "text_encoder"):
        row[tower]["activation"] = "gelu_tanh"
    row["tokenizer"] |= {"clean": "big_vision"}
    return row


# released files are called after their training run
FORMAT = replace(
    open_clip.FORMAT,
    name="big_vision",
    read_row=read_row,
    entries=entries,
    drop=(),
    holds=frozenset(),
    write_config=None,
    stem="model",
    named_by_run=True,
    endings=("npz",),
    renames=lambda config: (),
)
