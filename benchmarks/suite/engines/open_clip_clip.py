"""open_clip, eager or compiled by torch.compile."""

from benchmarks.suite.cases import BEAMS, TRAINED, WRITTEN
from benchmarks.suite.engines.on_torch import Torch
from benchmarks.suite.engines.torchvision_names import make_importable

SEARCHES = {
    "greedy": {"generation_type": "top_k", "top_k": 1},
    "beam": {"generation_type": "beam_search", "num_beams": BEAMS, "num_beam_groups": 1},
}


def imported():
    """open_clip."""
    make_importable()
    import open_clip

    return open_clip


def built(case):
    """The untrained model of a case."""
    size = case.numbers
    model = _by_numbers(imported(), size) if size.open_clip is None else _by_name(imported(), size)
    if size.queries is not None:  # which open_clip 3.3 leaves as memory happens to be
        model.text_decoder.text_projection.data.normal_(std=size.text.width**-0.5)
    return model


def _by_name(open_clip, size):
    return open_clip.create_model(size.open_clip, pretrained=None)


def _by_numbers(open_clip, size):
    image = {
        "image_size": size.image_size,
        "patch_size": size.patch_size,
        "width": size.image.width,
        "layers": size.image.depth,
        "head_width": size.image.width // size.image.heads,
    }
    text = {"context_length": size.length, "vocab_size": size.vocab_size, "width": size.text.width}
    text |= {"heads": size.text.heads, "layers": size.text.depth}
    if size.queries is None:
        return open_clip.model.CLIP(size.embed_dim, image, text, quick_gelu=True)
    from open_clip.coca_model import CoCa

    image |= {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": size.queries}
    image["output_tokens"] = True
    return CoCa(size.embed_dim, dict(text), text | {"embed_cls": True, "output_tokens": True}, image)


def prepare(case, options, about):
    if case.kind == "build":
        return lambda: built(case)
    if case.kind == "open":
        return lambda: _opened(options["made"]["open_clip_checkpoint"][case.size])
    own, model = Torch(case), built(case)
    about["parameters"] = sum(each.numel() for each in model.parameters())
    model = own.placed(model, case.kind in TRAINED)
    compiled = own.torch.compile if options.get("compiled") else lambda given: given
    if case.kind in WRITTEN:
        return _written(own, model, case)
    if case.kind in TRAINED:
        return own.step(model, _losses(own, compiled(model), case))
    encode = compiled(model.encode_image if case.kind == "image" else model.encode_text)
    values = own.images() if case.kind == "image" else own.texts()
    return own.without_gradients(lambda: encode(values, normalize=True))


def _losses(own, model, case):
    from open_clip.loss import ClipLoss, CoCaLoss

    images, texts = own.images(), own.texts()
    if case.numbers.queries is None:
        clip = ClipLoss()
        return lambda: clip(*model(images, texts)[:3])
    both = CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0, pad_id=0)

    def loss():
        found = model(images, texts)
        return sum(
            both(
                found["image_features"],
                found["text_features"],
                found["logits"],
                found["labels"] if "labels" in found else texts[:, 1:],
                found["logit_scale"],
            )
        )

    return loss


def _written(own, model, case):
    size, length, images = case.numbers, case.caption_length, own.images()
    if case.kind == "step":
        latent, tokens = model._encode_image(images)  # of a picture once, as its `generate` does
        known, ids = {"image_latent": latent, "image_embs": tokens}, own.texts()[:, : case.ids_before]
        return own.without_gradients(lambda: model(images, ids, output_labels=False, **known)["logits"][:, -1])
    ids = {"sot_token_id": size.start_id, "eos_token_id": size.end_id, "pad_token_id": 0}
    options = {"seq_len": length, "min_seq_len": length - 1, "fixed_output_length": True} | ids | SEARCHES[case.kind]
    return own.without_gradients(lambda: model.generate(images, **options))


def _opened(folder):
    """A model with every weight read once: what maps a file reads it later."""
    model = imported().create_model(f"local-dir:{folder}")
    for parameter in model.parameters():
        parameter.sum()
    return model
