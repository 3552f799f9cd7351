"""DCLIP's teacher: attention both ways against a loop, and a student that learns from it."""

import keras
import numpy as np
import pytest
from shared_case import batch_of, fill, numpy, tiny_model

import kzoo
from kzoo.adaptation import freeze
from kzoo.layers import CrossModalAttention, Head
from kzoo.losses import EmbeddingDistillation, InfoNCE
from kzoo.training import FixedTeacher

pytestmark = pytest.mark.once
READS = ("image_tokens", "text_tokens", "text_token_mask")
SEEN = ("image_seen", "text_seen")


def test_both_look_at_each_other_and_padding_is_seen_by_nobody():
    random = np.random.default_rng(2)
    image, text = (random.normal(size=shape).astype("float32") for shape in ((2, 3, 5), (2, 4, 6)))
    real = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], "bool")
    layer = CrossModalAttention(4, num_heads=1)
    layer.build(image.shape, text.shape)
    fill(layer)
    w = {each.path.split("/", 1)[1] if "/" in each.path else each.path: numpy(each) for each in layer.weights}
    w = {"/".join(path.split("/")[-3:]): each for path, each in w.items()}

    def of(end):
        (found,) = [each for path, each in w.items() if path.endswith(end)]
        return found

    def linear(x, name):
        return x @ of(f"{name}/kernel") + of(f"{name}/bias")

    def attended(name, x, context):
        q, k, v = (
            linear(each, f"{name}_attention/{part}")
            for each, part in ((x, "query"), (context, "key"), (context, "value"))
        )
        z = np.exp(q @ k.T / 2.0)
        return linear(z / z.sum(axis=1, keepdims=True) @ v, f"{name}_attention/out")

    def norm(x, name):
        x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        return x * of(f"{name}_norm/gamma") + of(f"{name}_norm/beta")

    found = [numpy(each) for each in layer(image, text, real)]
    for row in range(2):
        v, t = linear(image[row], "image_in"), linear(text[row][real[row]], "text_in")
        seen, read = norm(v + attended("image", v, t), "image"), norm(t + attended("text", t, v), "text")
        wanted = [linear(seen.mean(axis=0), "image_out"), linear(read.mean(axis=0), "text_out")]
        for own, each in zip(found, wanted):
            np.testing.assert_allclose(own[row], each, atol=1e-5)


def test_a_student_learns_what_the_pair_looks_like_to_the_teacher():
    clip, student = tiny_model(depth=1), tiny_model(depth=1)
    head = Head(CrossModalAttention(clip.embed_dim, num_heads=2), reads=READS, gives=SEEN)
    seeing = kzoo.DualEncoder(clip.image_encoder, clip.text_encoder, clip.similarity, clip.preprocessor, heads=[head])
    freeze(seeing, "image_encoder", "text_encoder")
    seeing.compile(keras.optimizers.Adam(0.01), loss=InfoNCE(inputs=SEEN))
    batch = batch_of(seeing, 8)
    losses = [float(seeing.train_on_batch(batch, return_dict=True)["loss"]) for _ in range(15)]
    assert losses[-1] < losses[0] - 0.1, losses
    parts = (student.image_encoder, student.text_encoder, student.similarity, student.preprocessor)
    student = kzoo.DualEncoder(*parts, teacher=FixedTeacher(seeing))
    said = {"teacher_a": "teacher_image_seen", "teacher_b": "teacher_text_seen"}
    student.compile(keras.optimizers.Adam(0.01), loss=EmbeddingDistillation(0.05, alpha=1.0, **said))
    losses = [float(student.train_on_batch(batch, return_dict=True)["loss"]) for _ in range(15)]
    assert losses[-1] < losses[0] - 0.1, losses
