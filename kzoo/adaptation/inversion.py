"""Modality inversion: a text that a picture would have, a picture that a text would have, found by gradients.

The towers are run from embeddings that are trained, and none of their weights is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from kzoo.arguments import AMOUNT, COUNT, NOT_NEGATIVE, POSITIVE, TEXT, able, takes
from kzoo.evaluation.directions import directions
from kzoo.layers.numerics import l2_normalize
from kzoo.types import Array, Tensor

STD = 0.02  # of what the search begins with
MODEL = able("encode_image encode_text modalities", "a model of kzoo with towers of pictures and texts")


@takes(
    model=MODEL,
    template=TEXT,
    tokens=COUNT,
    steps=COUNT,
    learning_rate=POSITIVE,
    weight_decay=NOT_NEGATIVE,
    batch_size=COUNT,
    seed=AMOUNT,
)
def invert_images(
    model,
    images,
    template="a photo of {}",
    tokens=1,
    steps=150,
    learning_rate=2e-2,
    weight_decay=0.01,
    batch_size=64,
    seed=0,
) -> Array:
    """Optimisation-based textual inversion (OTI): texts with made-up words, which are near pictures.

    Of each picture the vectors of some words are searched that make the text nearest to it, `min 1 - cos`, by AdamW.
    Its embedding is one of the text tower: compared with pictures it is a query between modalities, which is what the
    model was trained for, while pictures compared with pictures are not.

    Args:
        model: a model with a tower of pictures and one of texts that runs from its embeddings; nothing of it changes.
        images: as `model.encode_image` takes them; embeddings are welcome.
        template: a text, with `{}` where the words go.
        tokens: how many there are.
        steps: of AdamW.
        learning_rate, weight_decay: of AdamW.
        batch_size: pictures at a time.
        seed: of what the search begins with.

    Returns:
        float32 array `(n, embed_dim)`, unit length: embeddings of texts.

    Raises:
        ValueError: a template without `{}`, or one that leaves no room for the words; a model without a vocabulary; a
            tower that cannot be run from its embeddings.

    Example:
        >>> queries = invert_images(model, ["cat.jpg"])
        >>> order = np.argsort(-(queries @ model.encode_image(photos).T))

    Reference:
        Mistretta et al., Cross the Gap, 2025, arXiv 2502.04263.
    """
    if template.count("{}") != 1:
        raise ValueError(f"template {template!r} needs one {{}} where the words go.")
    targets, tower = model.encode_image(images), _tower_of(model, "text")
    arrays, place = _with_words(model, template, tokens)
    own = ops.convert_to_numpy(tower.embed(*[arrays[each.name] for each in tower.inputs]))  # (1, length, width)

    def put(found):
        around = [ops.cast(each, found.dtype) for each in (own[:, :place], own[:, place + tokens :])]
        before, behind = (ops.broadcast_to(each, (ops.shape(found)[0], *each.shape[1:])) for each in around)
        return ops.concatenate([before, found, behind], axis=1)

    return _inverted(
        tower, arrays, put, (tokens, own.shape[-1]), targets, steps, learning_rate, weight_decay, batch_size, seed
    )


@takes(
    model=MODEL,
    patches=COUNT,
    steps=COUNT,
    learning_rate=POSITIVE,
    weight_decay=NOT_NEGATIVE,
    batch_size=COUNT,
    seed=AMOUNT,
)
def invert_texts(
    model, texts, patches=1, steps=1000, learning_rate=2e-2, weight_decay=0.01, batch_size=64, seed=0
) -> Array:
    """Optimisation-based visual inversion (OVI): pictures of made-up patches, which are near texts.

    Of each text the embeddings of some patches are searched that make the picture nearest to it; where a picture has
    more patches, those beside each other are the same. Class token and positions stay.

    Args:
        model: a model with a tower of texts and one of pictures that runs from its embeddings; nothing of it changes.
        texts: as `model.encode_text` takes them; embeddings are welcome.
        patches: how many there are, at most those of a picture.
        steps: of AdamW.
        learning_rate, weight_decay: of AdamW.
        batch_size: texts at a time.
        seed: of what the search begins with.

    Returns:
        float32 array `(n, embed_dim)`, unit length: embeddings of pictures.

    Raises:
        ValueError: more patches than a picture has; a tower that cannot be run from its embeddings.

    Example:
        >>> queries = invert_texts(model, ["a photo of a cat"])
        >>> order = np.argsort(-(queries @ model.encode_text(captions).T))

    Reference:
        Mistretta et al., Cross the Gap, 2025, arXiv 2502.04263.
    """
    targets, tower = model.encode_text(texts), _tower_of(model, "image")
    arrays = {name: each[:1] for name, each in tower.samples(1).items()}
    _, count, width = ops.shape(tower.embed(*[arrays[each.name] for each in tower.inputs]))
    if patches > count:
        raise ValueError(f"patches is {patches}, but a picture of this model has {count}; give at most as many.")
    nearest = np.arange(count) * patches // count  # the patch that stands at each place

    def put(found):
        return ops.take(found, nearest, axis=1)

    return _inverted(
        tower, arrays, put, (patches, width), targets, steps, learning_rate, weight_decay, batch_size, seed
    )


def _tower_of(model, modality):
    tower = model.modalities().get(modality)
    if tower is None:
        raise ValueError(f"{model.name} has no {modality} tower; give a model with towers of pictures and texts.")
    if "embeddings" not in tower.options:
        raise ValueError(
            f"{type(tower).__name__} cannot be run from its embeddings, so nothing can be put in its place."
        )
    return tower


def _with_words(model, template, tokens):
    """Arrays of a text of one row that has `tokens` ids where the words go, and the place of the first."""
    model.preprocessor.check_vocabulary()
    before, behind = template.split("{}")
    plain, with_one = (model.preprocessor(texts=[text]) for text in (f"{before.strip()}{behind}", f"{before}x{behind}"))
    ids, longer = plain["token_ids"][0], with_one["token_ids"][0]
    place = int(np.argmax(ids != longer))
    room = int(np.sum(~plain["padding_mask"])) if "padding_mask" in plain else 0
    if np.array_equal(ids, longer) or tokens > room:
        raise ValueError(
            f"tokens is {tokens}, but the template {template!r} leaves room for {room}; give fewer, or a shorter one."
        )
    arrays = {}
    for name, word in (("token_ids", longer[place]), ("padding_mask", True)):
        row = plain[name][0]
        arrays[name] = np.concatenate([row[:place], [word] * tokens, row[place : len(row) - tokens]])[None]
        arrays[name] = arrays[name].astype(row.dtype)
    return arrays, place


class _Search(keras.Model):
    """Vectors that are put into a frozen tower: targets in, what the tower makes of the vectors out."""

    def __init__(self, tower, arrays, put, shape):
        super().__init__(name="search", dtype="float32")
        self.tower, self.put = tower, put
        self.arrays = [arrays[each.name] for each in tower.inputs]
        self.vectors = self.add_weight(name="vectors", shape=shape, initializer="zeros")
        self.built = True

    def call(self, targets) -> Tensor:
        given = [np.repeat(each, self.vectors.shape[0], axis=0) for each in self.arrays]
        embeddings = self.put(ops.convert_to_tensor(self.vectors))
        found = self.tower(*given, embeddings=embeddings, training=False)["embedding"]
        found = l2_normalize(ops.cast(found, "float32"))
        self.add_loss(ops.mean(1.0 - ops.sum(found * targets, axis=-1)))
        return found


def _inverted(tower, arrays, put, shape, targets, steps, learning_rate, weight_decay, batch_size, seed):
    """What the tower makes of vectors of `shape` that were searched for each target."""
    start = STD * np.random.default_rng(seed).normal(size=(len(targets), *shape)).astype("float32")
    rows, found = min(batch_size, len(targets)), []
    with _frozen(tower):
        search = _Search(tower, arrays, put, (rows, *shape))
        optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, epsilon=1e-8)
        search.compile(optimizer)
        optimizer.build(search.trainable_variables)
        new = [ops.convert_to_numpy(each) for each in optimizer.variables]
        for first in range(0, len(targets), rows):
            part = slice(first, first + rows)
            own = np.resize(
                targets[part], (rows, targets.shape[1])
            )  # one shape: nothing is compiled again for the rest
            search.vectors.assign(np.resize(start[part], (rows, *shape)))
            for variable, value in zip(optimizer.variables, new):
                variable.assign(value)
            for _ in range(steps):
                search.train_on_batch(own)
            found.append(search.predict_on_batch(own)[: len(targets[part])])
    return directions(np.concatenate(found), "what was found")


@contextmanager
def _frozen(layer) -> Iterator:
    """None of the weights of a layer is trained within."""
    trained = list(layer.trainable_variables)
    try:
        for variable in trained:
            variable.trainable = False
        yield
    finally:
        for variable in trained:
            variable.trainable = True
