"""Steps in micro-batches: those of the whole batch, whatever reads it; what differs by definition; what is refused."""

import keras
import numpy as np
import pytest
from shared_case import batch_of, captioner, numpy, tiny_model, toy_pairs

import kzoo
from kzoo.encoders import VisionTransformer
from kzoo.layers import Head, Projector
from kzoo.losses import DINO, InfoNCE, Loss, QueueContrastive, SigmoidContrastive, SupCon
from kzoo.training import EMATeacher

PAIR = ("image_embeddings", "text_embeddings")
random = np.random.default_rng(0)


def steps(make, batch, micro_batch_size, count=2, **options):
    """The losses of some steps of a model, its weights after them, and the model."""
    keras.utils.set_random_seed(1)
    model = make()
    options = {"optimizer": keras.optimizers.SGD(0.05)} | options
    model.compile(**options, micro_batch_size=micro_batch_size)
    losses = [float(model.train_on_batch(batch, return_dict=True)["loss"]) for _ in range(count)]
    return losses, [(each.path, numpy(each)) for each in model.variables], model


def assert_same(one, other, tolerance=1e-6):
    assert one[0] == pytest.approx(other[0], rel=tolerance, abs=tolerance)
    for (path, ours), (_, theirs) in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=path)


def assert_as_plain(make, batch, micro_batch_size, make_options, tolerance=1e-6):
    plain, micro = (steps(make, batch, size, **make_options()) for size in (None, micro_batch_size))
    assert_same(micro, plain, tolerance)
    return plain[2], micro[2]


def views(rows, count=2):
    return {
        f"view_{number}": random.integers(0, 256, (rows, 16, 16, 3), dtype="uint8") for number in range(1, 1 + count)
    }


def of_views(encoder=None, projector=False, teacher=None, **options):
    encoder = encoder or VisionTransformer(16, 8, width=12, depth=1, num_heads=2, embed_dim=7)
    return kzoo.SelfSupervised(encoder, projector, teacher, **options)


# -- the same as the plain step --
def test_every_kind_of_reader_of_a_batch():
    """Pairs within the batch, labels, a queue filled by a teacher, a head, regularisers and what layers add."""
    regularised = keras.layers.Dense(12, activity_regularizer="l2", kernel_regularizer="l2", dtype="float32")

    def make():
        small = tiny_model(depth=1)
        layer = type(regularised).from_config(regularised.get_config())
        head = Head(layer, reads="*_features", gives="*_scores", name="scores")
        return kzoo.DualEncoder(
            small.image_encoder,
            small.text_encoder,
            small.similarity,
            small.preprocessor,
            heads=[head],
            teacher=EMATeacher(0.9),
        )

    def options():
        queue = QueueContrastive(queue_size=20, dim=12, seed=0, inputs=("image_embeddings", "teacher_text_embeddings"))
        heads = InfoNCE(inputs=("image_scores", "text_scores"), name="of_heads", temperature=0.5)
        labelled = SupCon(inputs=PAIR, temperature=0.5)
        return {"loss": InfoNCE() + 0.1 * SigmoidContrastive(scale=5.0, bias=-5.0) + labelled + queue + heads}

    batch = batch_of(tiny_model(depth=1), 12) | {"labels": np.arange(12) % 3}
    plain, micro = assert_as_plain(make, batch, 4, options)
    ours, theirs = (each.evaluate(batch, batch_size=12, verbose=0) for each in (micro, plain))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_captioner_in_micro_batches_of_unequal_size():
    pairs = toy_pairs(10)
    batch = captioner("coca_nano", pairs["captions"]).preprocessor(pairs["images"], pairs["captions"])
    assert_as_plain(lambda: captioner("coca_nano", pairs["captions"]), batch, 4, dict)


def test_two_passes_of_views_with_a_teacher_whose_outputs_have_the_batch_behind_the_views():
    def make():
        return of_views(projector=Projector((8, 5), batch_norm=False), teacher=EMATeacher(0.9))

    assert_as_plain(make, views(7), 3, lambda: {"loss": DINO(dim=5), "gradients": "sam"}, tolerance=2e-6)


@pytest.mark.parametrize("dtype, gradients", [("mixed_bfloat16", "sum"), ("mixed_float16", "harmonised")])
def test_half_precision_and_gradients_by_term(dtype, gradients):
    batch = batch_of(tiny_model(), 8)
    loss = lambda: InfoNCE() + SigmoidContrastive(scale=5.0, bias=-5.0)  # noqa: E731
    make = lambda: tiny_model(depth=1, dtype=dtype)  # noqa: E731
    plain, micro = (steps(make, batch, size, count=1, loss=loss(), gradients=gradients) for size in (None, 4))
    assert isinstance(micro[2].optimizer, keras.optimizers.LossScaleOptimizer) == (dtype == "mixed_float16")
    # sums of rounded gradients in another order: within one rounding of bfloat16, the coarser of both
    assert_same(micro, plain, 2.0**-7)


# -- what differs from the plain step by definition --
@keras.saving.register_keras_serializable(package="tests")
class Linear(Loss):
    """Linear in what it reads first, with a weight of its own for each, which gets no gradient."""

    default_inputs = ("view_1_features", "slopes")

    def call(self, x, slopes):
        return keras.ops.mean(x * keras.ops.stop_gradient(slopes))


@pytest.mark.parametrize("seed", [7, None])
def test_both_passes_have_the_same_dropout(seed):
    """Of a loss that is linear in a matrix, matrix and gradient have the product that is the loss, if both passes have
    the same mask, also where a view gets no gradient. Afterwards each micro-batch has drawn one."""
    dense = keras.layers.Dense(6, use_bias=False)
    encoder = keras.Sequential([keras.Input((5,)), keras.layers.Dropout(0.5, seed=seed), dense])
    batch = {name: random.normal(size=(11, 5)).astype("float32") for name in ("view_1", "view_2")}
    options = {"loss": Linear(("view_1_features", "view_2_features")), "optimizer": keras.optimizers.SGD(1.0)}
    model = steps(lambda: of_views(encoder), batch, 4, 0, **options)[2]
    before = numpy(dense.kernel)
    loss = float(model.train_on_batch(batch, return_dict=True)["loss"])
    assert np.sum(before * (before - numpy(dense.kernel))) == pytest.approx(loss, rel=1e-5, abs=1e-6)
    seeds = [numpy(each) for each in model.non_trainable_variables if "seed" in each.path]
    assert len(seeds) == 1 and seeds[0][1] in ((3,) if seed is not None else (0, 3))  # torch draws for None by itself
    one, two = (each @ numpy(dense.kernel) for each in batch.values())
    again = float(model.test_on_batch(batch, return_dict=True)["loss"])
    assert again == pytest.approx(np.mean(one * two), rel=1e-4, abs=1e-6) and again != pytest.approx(loss, rel=1e-3)


def test_batch_norms_have_statistics_of_their_micro_batch():
    def make():
        norm = keras.layers.BatchNormalization(momentum=0.5)
        return of_views(keras.Sequential([keras.Input((5,)), norm, keras.layers.Dense(3)]))

    batch = {"view_1": random.normal(size=(10, 5)).astype("float32"), "slopes": np.ones((10, 3), "float32")}
    _, _, model = steps(make, batch, 4, count=1, loss=Linear())
    mean = np.zeros(5)
    for first in range(3):
        mean = 0.5 * mean + 0.5 * batch["view_1"][first::3].mean(axis=0)
    (moved,) = [numpy(each) for each in model.non_trainable_variables if each.path.endswith("moving_mean")]
    np.testing.assert_allclose(moved, mean, rtol=1e-5, atol=1e-6)


# -- arguments, files, refusals --
def test_lists_are_embedded_in_micro_batches_too():
    model = tiny_model(depth=1)
    images = toy_pairs(5, 16)["images"]
    whole = model.encode_image(images)
    model.compile(micro_batch_size=2)
    np.testing.assert_allclose(model.encode_image(images), whole, atol=1e-6)
    assert model.encode_text(["a big circle"]).shape == (1, 12)


def test_a_saved_model_keeps_it(tmp_path):
    model = tiny_model(depth=1)
    model.compile("sgd", micro_batch_size=3)
    model.save(tmp_path / "model.keras")
    assert kzoo.load_model(tmp_path / "model.keras").micro_batch_size == 3


@pytest.mark.parametrize("wrong, error", [(0, ValueError), (2.5, ValueError), ("4", TypeError)])
def test_a_micro_batch_size_that_is_none(wrong, error):
    with pytest.raises(error, match="micro_batch_size is"):
        tiny_model(depth=1).compile("sgd", micro_batch_size=wrong)


class Summary(keras.layers.Layer):
    """One row for all rows."""

    def call(self, x):
        return keras.ops.mean(x, axis=0, keepdims=True) + keras.ops.zeros((4, 1))


def test_an_output_without_a_row_for_each_sample_is_refused():
    small = tiny_model(depth=1)
    heads = [Head(Summary(), reads="image_features", gives="image_summary")]
    model = kzoo.DualEncoder(small.image_encoder, small.text_encoder, small.similarity, heads=heads)
    loss = Linear(inputs=("image_summary", "image_summary"))
    model.compile("sgd", loss=loss, micro_batch_size=4)
    with pytest.raises(ValueError, match="'image_summary'.*no row for each sample.*without micro_batch_size"):
        model.train_on_batch(batch_of(small, 8))
