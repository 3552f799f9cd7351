"""The decoder that `Captioner.from_dual_encoder` puts on a model: sized by its towers, started by its tokenizer."""

from kzoo.encoders.text_decoder import TextDecoder
from kzoo.models.dual_encoder import DualEncoder

EMBEDDING_TOKENS = 8  # that are made of an embedding
HEAD_WIDTH = 64  # channels of an attention head, where the text tower does not say


def check_headless(model) -> None:
    """Stops with a sentence unless a model is a dual encoder and nothing more."""
    if not isinstance(model, DualEncoder) or model.kind != DualEncoder.kind or model.heads:
        raise TypeError(
            f"a decoder is put on a DualEncoder, but model is a {type(model).__name__}; make a DualEncoder of its "
            "image_encoder, text_encoder and similarity first."
        )


def make_decoder(model, memory, noise, depth, width, num_heads) -> TextDecoder:
    """A `TextDecoder` for a dual encoder; arguments as in `Captioner.from_dual_encoder`."""
    if noise and memory == "tokens":
        raise ValueError(
            f"noise is {noise}, but it is for embeddings, and the decoder reads the image tower's tokens; take "
            'memory="embedding".'
        )
    text, image = model.text_encoder, model.image_encoder
    known = text.get_config()
    own_width = known.get("width", model.embed_dim)
    width = width or own_width
    if num_heads is None:
        own_heads = known.get("num_heads") if width == own_width else None
        num_heads = own_heads or max(1, width // HEAD_WIDTH)
    reads_embedding = memory == "embedding"
    return TextDecoder(
        text.vocab_size,
        text.context_length,
        width,
        depth,
        num_heads,
        context_width=model.embed_dim if reads_embedding else token_width(image),
        embedding_tokens=EMBEDDING_TOKENS if reads_embedding else None,
        noise=noise,
        **special_ids(model),
        dtype=text.dtype_policy,
        name="text_decoder",
    )


def token_width(image_encoder) -> int:
    """Channels of an image tower's tokens; stops with a sentence where it has none that a decoder can read."""
    name = type(image_encoder).__name__
    way_out = 'take memory="embedding", which every image tower has.'
    if image_encoder.pads_tokens:
        raise ValueError(f"{name} pads its tokens, and a decoder cannot tell padding from picture; {way_out}")
    if image_encoder.token_dim is None:
        raise ValueError(f"{name} gives an embedding and no tokens; {way_out}")
    return image_encoder.token_dim


def special_ids(model) -> dict:
    """`pad_id` and `start_id` of a decoder for the texts of a model's tokenizer.

    A start id is needed where texts have none of their own. It is the id of padding, as in T5; where that is the end of
    text (SigLIP), which a penalty on repetition would then hold back, the first id that is another: there `<pad>`.
    """
    preprocessor, pad_id = model.preprocessor, model.text_encoder.pad_id or 0
    if preprocessor is None:
        return {"pad_id": pad_id, "start_id": None}  # whoever makes the ids puts a start before them
    rules = preprocessor.rules()
    if preprocessor.tokenizer is not None:
        rules |= {name: getattr(preprocessor.tokenizer, name) for name in ("pad_id", "start_id", "eot_id")}
    pad_id, start_id = rules["pad_id"], None
    if rules.get("start_id", pad_id) is None:
        start_id = next(each for each in (pad_id, 0, 1) if each != rules.get("eot_id"))
    return {"pad_id": pad_id, "start_id": start_id}
