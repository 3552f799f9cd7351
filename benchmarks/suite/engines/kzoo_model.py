"""kzoo as a user has it: raw pixels and ids in NumPy in, embeddings in NumPy out."""

from benchmarks.suite.cases import TRAINED, WRITTEN
from benchmarks.suite.inputs import pixels, token_ids


def built(case):
    """The untrained model of a case."""
    import kzoo
    from kzoo.encoders import TextTransformer, VisionTransformer
    from kzoo.preprocessing import ImageSteps, Preprocessor

    size = case.numbers
    if size.named:
        return kzoo.from_preset(size.preset, load_weights=False)
    image = VisionTransformer(
        image_size=size.image_size,
        patch_size=size.patch_size,
        **_stack(size.image),
        embed_dim=size.embed_dim,
        activation="quick_gelu",
    )
    text = TextTransformer(
        vocab_size=size.vocab_size,
        context_length=size.length,
        **_stack(size.text),
        embed_dim=size.embed_dim,
        activation="quick_gelu",
        eot_id=size.end_id,
    )
    return kzoo.DualEncoder(image, text, preprocessor=Preprocessor(ImageSteps(size.image_size)))


def _stack(stack):
    return {"width": stack.width, "depth": stack.depth, "num_heads": stack.heads}


def written(model, case):
    """A function that writes captions, or one id of each, by a model or by what it was exported as."""
    if case.kind == "step":
        decoder, ids = model.open_decoder({"images": pixels(case)}), token_ids(case)[:, : case.caption_length]
        ids[:, case.ids_before :] = decoder.pad_id
        decoder.begin(1, case.caption_length)
        return lambda: decoder.step(ids, case.ids_before - 1)[0]
    options = {"strategy": case.kind, "prefix": [case.numbers.start_id], "end_id": None}
    options["max_length"] = case.caption_length
    if case.kind == "beam":
        from benchmarks.suite.cases import BEAMS

        options["num_beams"] = BEAMS
    return lambda: model.generate(pixels(case), **options)[0]


def prepare(case, options, about):
    import kzoo

    if case.dtype != "float32":
        kzoo.keras.config.set_dtype_policy(f"mixed_{case.dtype}")
    if case.kind == "build":
        return lambda: kzoo.from_preset(case.numbers.preset, load_weights=False)
    if case.kind == "open":
        return lambda: kzoo.from_preset(options["made"]["checkpoint"][case.size])
    model = built(case)
    about["parameters"] = model.count_params()
    if case.kind in WRITTEN:
        return written(model, case)
    if case.kind in TRAINED:
        return _trained(kzoo, model, case, options)
    if options.get("compiled"):
        model.compile(jit_compile=True)
    batch = {"images": pixels(case)} if case.kind == "image" else {"token_ids": token_ids(case)}
    return lambda: model.embed_batch(batch)


def _trained(kzoo, model, case, options):
    if options.get("compiled"):
        model.compile(kzoo.training.AdamW(1e-4), jit_compile=True)
    else:
        model.compile(kzoo.training.AdamW(1e-4))  # with the loss of the model: InfoNCE, of a CoCa that of captions too
    batch = {"images": pixels(case), "token_ids": token_ids(case)}
    return lambda: model.train_on_batch(batch)
