"""What a loss is fed by in the test that trains every loss: models with heads, and data sets, at the smallest size.

The functions make functions: of no argument a model, of a model its data.
"""

import numpy as np
from shared_case import captioner, toy_pairs

import kzoo
from kzoo.data import Lookup, pairs, text_pairs, text_views, views
from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.layers import Head, Projector, SimilarityHead
from kzoo.layers.heads import TokenProjector
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.training import EMATeacher, FixedTeacher

ROWS, BATCH, SIDE, PATCH, DIM, VOCAB = 12, 6, 20, 4, 12, 320
GRID = (SIDE // PATCH, SIDE // PATCH)
TOY = toy_pairs(ROWS, SIDE)
CAPTIONS, IMAGES = TOY["captions"], TOY["images"]
random = np.random.default_rng(0)
LABELS = np.arange(ROWS) % 3
FEATURES = random.normal(size=(ROWS, 4)).astype("float32")
PREPROCESSOR = Preprocessor(ImageSteps(SIDE), vocabulary={"train": VOCAB, "context_length": 10})
PREPROCESSOR.adapt(CAPTIONS)
SAME = Lookup(np.equal.outer(LABELS, LABELS))


# -- towers and models --
def image_tower(depth=1, **options):
    return VisionTransformer(SIDE, PATCH, width=24, depth=depth, num_heads=2, embed_dim=DIM, **options)


def text_tower(depth=1, **options):
    return TextTransformer(VOCAB, 10, eot_id=2, width=24, depth=depth, num_heads=2, embed_dim=DIM, **options)


def dual(*heads, teacher=None, depth=1, **head):
    """A function that makes a dual encoder with towers of `depth` blocks; `head` are arguments of its similarity."""

    def make():
        similarity = SimilarityHead(name="similarity", **head)
        guide = None if teacher is None else teacher()
        return kzoo.DualEncoder(
            image_tower(depth),
            text_tower(depth),
            similarity,
            PREPROCESSOR,
            heads=[each() for each in heads],
            teacher=guide,
        )

    return make


def single(projector=None, *heads, teacher=None, tower=image_tower, **options):
    """A function that makes a self-supervised model; `options` are of its tower."""

    def make():
        guide = None if teacher is None else teacher()
        return kzoo.SelfSupervised(
            tower(**options),
            Projector((16, DIM)) if projector is None else projector(),
            guide,
            preprocessor=PREPROCESSOR,
            heads=[each() for each in heads],
        )

    return make


def text_single(*heads, teacher=None, **options):
    return single(None, *heads, teacher=teacher, tower=text_tower, **options)


def several():
    towers = {"image": image_tower(), "text": text_tower()}
    return kzoo.MultiEncoder(towers | {"view": image_tower()}, preprocessor=PREPROCESSOR)


def preset(name, *heads):
    """A function that makes the model of a preset, here with heads."""

    def make():
        model = captioner(name, CAPTIONS)
        return type(model).from_config(model.get_config() | {"heads": [each() for each in heads]}) if heads else model

    return make


def ema():
    return EMATeacher(0.9)


def fixed(make):
    return lambda: FixedTeacher(make())


def head(layer, reads, gives):
    """A function that makes a head; `layer` makes its layer."""
    return lambda: Head(layer(), reads, gives)


def prototypes():
    return Projector((16, DIM), batch_norm=False, prototypes=8)


TOKENS = (
    head(lambda: TokenProjector(DIM, skip=1), "image_tokens", "image_projected_tokens"),
    head(lambda: TokenProjector(DIM), "text_tokens", "text_projected_tokens"),
)


# -- data --
def of_pairs(columns=None, **options):
    """A function of a model that makes pairs for it; `columns` are further entries of each."""
    source = TOY | (columns or {})
    return lambda model: pairs(source, model.preprocessor, BATCH, **options)


def of_views(columns=None, **options):
    return lambda model: views({"images": IMAGES} | (columns or {}), PREPROCESSOR, BATCH, **options)


def of_texts(columns=None, **options):
    return lambda model: text_views({"texts": CAPTIONS} | (columns or {}), PREPROCESSOR, BATCH, **options)


def of_text_pairs(columns=None, **options):
    source = {"sentence1": CAPTIONS, "sentence2": CAPTIONS[::-1]} | (columns or {})
    return lambda model: text_pairs(source, PREPROCESSOR, BATCH, **options)


def labelled(**options):
    return of_views({"labels": LABELS}, **options)


def negatives():
    return of_pairs({"negatives": [[text[::-1], text.upper()] for text in CAPTIONS]})


def several_captions():
    source = {"images": IMAGES, "captions": [[text, text[::-1]] for text in CAPTIONS]}
    return lambda model: pairs(source, model.preprocessor, BATCH, captions_per_image=2)


def with_views(model):
    """Batches of pairs with a third modality, of pictures."""
    return model.preprocessor(IMAGES, CAPTIONS) | {"view": IMAGES[:, ::-1]}


USUAL = {  # of a room: what feeds a loss that needs nothing more, as docs/losses.md has it
    "image_text": (dual(), of_pairs()),
    "views": (single(), of_views()),
    "sentences": (dual(), of_pairs()),
}
