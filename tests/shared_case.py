"""What a few lines of a test need: tiny models, toy pairs, golden cases, gradients on any backend."""

from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageDraw

from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.layers import SimilarityHead
from kzoo.models import DualEncoder
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.presets.build import build, parts_of
from kzoo.presets.table import read_row

TESTS = Path(__file__).parent
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 70), "blue": (50, 80, 220), "grey": (128, 128, 128)}
SHAPES = ("circle", "square", "triangle")


def toy_pairs(count, size=24):
    """Coloured shapes with captions such as "a small red circle", all different."""
    random = np.random.default_rng(0)
    images, captions = [], []
    for index in range(count):
        colour, shape = list(COLOURS)[index % 4], SHAPES[index // 4 % 3]
        extent = "small" if index // 12 % 2 else "big"
        image = Image.fromarray(random.integers(200, 256, (size, size, 3), dtype="uint8"))
        inset = 7 if extent == "small" else 2
        box = (inset, inset, size - inset, size - inset)
        draw = ImageDraw.Draw(image)
        if shape == "circle":
            draw.ellipse(box, fill=COLOURS[colour])
        elif shape == "square":
            draw.rectangle(box, fill=COLOURS[colour])
        else:
            draw.polygon(
                [(inset, size - inset), (size // 2, inset), (size - inset, size - inset)], fill=COLOURS[colour]
            )
        images.append(np.asarray(image))
        captions.append(f"a {extent} {colour} {shape}")
    return {"images": np.stack(images), "captions": captions}


def tiny_model(image_size=16, vocabulary=True, similarity=None, dtype=None, **tower):
    """A dual encoder with towers of width 24 and two blocks; `tower` goes to both."""
    common = {"width": 24, "depth": 2, "num_heads": 2, "embed_dim": 12, "dtype": dtype} | tower
    preprocessor = Preprocessor(ImageSteps(image_size), vocabulary={"train": 320, "context_length": 10})
    if vocabulary:
        preprocessor.adapt(toy_pairs(24)["captions"])
    return DualEncoder(
        VisionTransformer(image_size, 8, name="image_encoder", **common),
        TextTransformer(320, 10, eot_id=2, name="text_encoder", **common),
        similarity or SimilarityHead(name="similarity"),
        preprocessor,
        dtype=dtype,
    )


def batch_of(model, rows):
    """Arrays of `rows` toy pairs for a tiny model."""
    pairs = toy_pairs(rows)
    return model.preprocessor(pairs["images"], pairs["captions"])


def fill(layer, seed=0, scale=0.3):
    """Give every variable the same numbers on every backend: drawn by numpy, in the order of the weights."""
    random = np.random.default_rng(seed)
    for variable in layer.weights:
        variable.assign(random.normal(0.0, scale, variable.shape).astype("float32"))


def spread(layer):
    """Give every matrix numbers so large that outputs depend on inputs, the same on every backend; norms stay."""
    random = np.random.default_rng(0)
    for weight in layer.weights:
        if len(weight.shape) > 1:
            weight.assign(random.normal(0.0, 2.0 * weight.shape[0] ** -0.5, weight.shape).astype("float32"))


def captioner(name, captions):
    """A preset's captioner of one block a part, whose vocabulary is learned from captions, and whose own differ from
    picture to picture."""
    row = read_row(name)
    model = build(row | {part: config | {"depth": 1} for part, config in parts_of(row).items()})
    model.preprocessor.adapt(captions)
    spread(model)
    return model


def as_array(value):
    """Nested lists of a golden file as float32 or int32."""
    array = np.array(value)
    return array.astype("float32" if array.dtype.kind == "f" else "int32")


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def gradient_function(function):
    """Of a scalar function of float arrays: the function of those arrays to its value and gradients, as numpy.

    Further arrays, given by keyword, have no gradient. A gradient is 0 where the backend says that there is none.
    Compiled on jax, which takes long over each operation by itself: call one several times for several arrays of the
    same shapes.
    """
    return {"jax": _with_jax, "tensorflow": _with_tensorflow, "torch": _with_torch}[keras.config.backend()](function)


def value_and_gradients(function, arrays):
    """`gradient_function`, called once."""
    return gradient_function(function)(arrays)


def _with_jax(function):
    import jax

    def stateless(arrays, further):
        with keras.StatelessScope():  # what is drawn moves no seed: compiled code may not
            return function(*arrays, **further)

    compiled = jax.jit(jax.value_and_grad(stateless))

    def evaluated(arrays, **further):
        value, gradients = compiled([jax.numpy.array(array) for array in arrays], further)
        return float(value), [numpy(gradient) for gradient in gradients]

    return evaluated


def _with_tensorflow(function):
    import tensorflow as tf

    def evaluated(arrays, **further):
        tensors = [tf.convert_to_tensor(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors, **further)
        return float(value), _filled(tape.gradient(value, tensors), arrays)

    return evaluated


def _with_torch(function):
    import torch

    def evaluated(arrays, **further):
        tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
        value = function(*tensors, **further)
        value.backward()
        return float(value.detach()), _filled([tensor.grad for tensor in tensors], arrays)

    return evaluated


def _filled(gradients, arrays):
    return [np.zeros_like(array) if gradient is None else numpy(gradient) for array, gradient in zip(arrays, gradients)]


@contextmanager
def compilations():
    """List that grows with each program that XLA compiles."""
    import jax

    found, active = [], [True]

    def heard(event, seconds, **about):
        if active[0] and event == "/jax/core/compile/backend_compile_duration":
            found.append(about.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(heard)
    yield found
    active[0] = False
