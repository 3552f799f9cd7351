"""OBoW: predict the visual words of an image from a crop."""

import keras
from keras import ops

from kzoo.arguments import one_of
from kzoo.layers.numerics import BatchNormalization, l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.anchors import squared_distances
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks
from kzoo.losses.parts.queue import enqueued
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class OnlineBagOfWords(PairwiseLoss):
    """Each crop predicts which words of a dictionary the teacher sees in the whole image.

    Teacher: at each position u of the feature map without its border, `softmax_k(-inv_delta / mu ||f_u - v_k||^2)`
    over the words v; their maximum over the positions, divided by its sum, is the target `q`. Student: the logits
    `kappa <w_k, student>` with `w = n(G(n(v)))`. `L = KL(q || softmax)`, averaged over crops and images.

    In training, `mu <- momentum mu + (1 - momentum) mean_u min_k ||f_u - v_k||^2`, and one word of each image, the mean
    of 3 x 3 features at a random place, replaces the oldest word of the dictionary. The codes of a step are of the
    dictionary before and of `mu` after.

    Args:
        num_words: words of the dictionary.
        dim: channels of the teacher's map.
        inv_delta: the inverse of the temperature of the codes.
        kappa: scale of the student's logits.
        momentum: of `mu`.
        generator: `"mlp"`, a layer of `2 * student_dim` units, batch norm, ReLU and a layer of `student_dim`; None:
            `w = n(v)`, and then the student has `dim` dimensions.
        student_dim: length of a student's embedding; default `dim`.
        block_size: images at a time, exact and with less memory, or `"auto"`; None: all at once.
        seed: of the first words and of the places of the new ones.
        inputs: names of the tensors to read; default `("student", "teacher_view_1_map")`.

    Inputs:
        student: float tensor `(crops, batch, student_dim)`, or `(batch * crops, student_dim)`, the crops of an image
            one after another; it is taken as it is, not normalised.
        teacher_map: float tensor `(batch, height, width, dim)`; it gets no gradient.
        positions: int tensor `(batch,)`, where new words are taken from: `row * (width - 4) + column` of the mean's
            upper left corner inside the border; drawn when it is not given.
        sample_weight: float tensor `(batch,)`, weighs the images.
        training: whether `mu` and the dictionary are changed.

    Feeding:
        `SelfSupervised(encoder, Projector((512, student_dim)), teacher=kzoo.training.EMATeacher(0.99))`, an encoder
        whose tokens are a map of 5 x 5 or more, and `kzoo.data.views`; `dim` is the encoder's `token_dim`.

    Returns:
        float32 scalar, 0 or more.

    Raises:
        ValueError: a map that is too small: 3 x 3, and in training 5 x 5.

    Recommendations:
        For pre-training of the image tower alone. Several levels of features are several losses: their sum.

    Example:
        >>> loss = OnlineBagOfWords(num_words=2, dim=2, generator=None)
        >>> loss.dictionary.assign(np.eye(2))
        >>> loss(np.zeros((1, 2)), np.ones((1, 3, 3, 2)))  # both words alike, and none preferred
        0.0

    Reference:
        Gidaris et al., OBoW, 2020, arXiv 2012.11552. That the first words are random unit vectors is our choice.
    """

    default_inputs = ("student", "teacher_view_1_map")
    optional_inputs = PairwiseLoss.optional_inputs | {"positions": "positions"}
    shapes = PairwiseLoss.shapes | {
        "student": "rows student_dim | crops batch student_dim",
        "teacher_map": "batch height width channels",
        "positions": "batch",
    }
    arguments = {"generator": one_of("mlp") | None}

    def __init__(
        self,
        num_words=8192,
        *,
        dim,
        inv_delta=15.0,
        kappa=8.0,
        momentum=0.99,
        generator="mlp",
        student_dim=None,
        block_size=None,
        seed=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        self.num_words, self.inv_delta, self.kappa, self.momentum = num_words, inv_delta, kappa, momentum
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.dictionary = self.add_weight(
            name="dictionary",
            shape=(num_words, dim),
            initializer=lambda shape, dtype=None: l2_normalize(keras.random.normal(shape, seed=seed)),
            trainable=False,
        )
        self.pointer = self.add_weight(name="pointer", shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.mean_distance = self.add_weight(
            name="mean_distance", shape=(), initializer=keras.initializers.Constant(0.5), trainable=False
        )
        self.generator = [] if generator is None else _mlp(dim, student_dim or dim)

    def pairs(self, batch_size) -> tuple:
        return batch_size, self.num_words

    def call(self, student, teacher_map, positions=None, sample_weight=None, training=False) -> Tensor:
        _, height, width, channels = teacher_map.shape
        rows, batch = student.shape[-2], teacher_map.shape[0]
        if len(student.shape) == 3:  # (crops, batch, dim)
            student = ops.reshape(ops.swapaxes(student, 0, 1), (-1, student.shape[-1]))
        elif None not in (rows, batch) and rows % batch:
            raise ValueError(
                f"OnlineBagOfWords got {rows} rows of the student for {batch} maps of the teacher; there must be crops "
                "of every image, as many of each."
            )
        least = 5 if training else 3
        if min(height, width) < least:
            raise ValueError(f"the teacher's map is {height} x {width}; give at least {least} x {least}.")
        images = ops.stop_gradient(ops.cast(teacher_map, "float32"))[:, 1:-1, 1:-1]
        features = ops.reshape(images, (-1, (height - 2) * (width - 2), channels))  # (batch, positions, dim)
        words = ops.convert_to_tensor(self.dictionary)
        mu = ops.convert_to_tensor(self.mean_distance)
        predicted = l2_normalize(words)
        for layer in self.generator:
            predicted = layer(predicted, training=training) if _is_norm(layer) else layer(predicted)
        if training:
            mu = self.momentum * mu + (1.0 - self.momentum) * self._mean_distance(features, words)
            self.mean_distance.assign(mu)

        def crops(i, real, rows, columns):
            # ||f - v||^2 but for ||f||^2, the same for all words: so large a number would take the others' digits
            v = columns["words"]
            d = ops.sum(ops.square(v), axis=-1) - 2.0 * ops.matmul(rows["features"], ops.transpose(v))
            codes = ops.softmax(-self.inv_delta / ops.maximum(columns["mu"], 1e-12) * d, axis=-1)
            bag = ops.max(codes, axis=1)
            q = ops.stop_gradient(bag / ops.sum(bag, axis=1, keepdims=True))  # (images, words)
            z = self.kappa * ops.matmul(rows["student"], ops.transpose(columns["predicted"]))  # (images, crops, words)
            log_p = z - ops.logsumexp(z, axis=-1, keepdims=True)
            entropy = -ops.sum(q * ops.log(ops.maximum(q, 1e-30)), axis=1)  # of smaller ones jax takes the log of 0
            return {"value": ops.mean(-ops.sum(q[:, None] * log_p, axis=-1), axis=1) - entropy}, {}

        student = ops.cast(student, "float32")
        student = ops.reshape(student, (ops.shape(features)[0], -1, student.shape[-1]))
        columns = {"words": words, "predicted": l2_normalize(predicted), "mu": mu}
        of_rows, _ = by_blocks(crops, {"student": student, "features": features}, columns, self.block_size)
        if training:
            self._replace_words(images, positions)
        return weighted_mean(of_rows["value"], sample_weight)

    def _mean_distance(self, features, words):
        def nearest_words(i, real, rows, columns):
            return {"d": ops.mean(ops.min(_distances(rows["features"], columns["words"]), axis=-1), axis=1)}, {}

        return ops.mean(by_blocks(nearest_words, {"features": features}, {"words": words}, self.block_size)[0]["d"])

    def _replace_words(self, images, positions):
        _, height, width, channels = images.shape
        means = ops.average_pool(images, 3, 1, "valid", data_format="channels_last")
        places = (height - 2) * (width - 2)
        if positions is None:
            positions = keras.random.randint((ops.shape(images)[0],), 0, places, seed=self.seed_generator)
        means = ops.reshape(means, (-1, places, channels))
        where = ops.cast(positions, "int32")[:, None, None]
        dictionary, pointer = enqueued(self.dictionary, self.pointer, ops.take_along_axis(means, where, axis=1)[:, 0])
        self.dictionary.assign(dictionary)
        self.pointer.assign(pointer)


def _distances(features, words):
    """`(images, positions, words)` of `(images, positions, dim)`."""
    flat = squared_distances(ops.reshape(features, (-1, features.shape[-1])), words)
    return ops.reshape(flat, (-1, features.shape[1], words.shape[0]))


def _is_norm(layer):
    return isinstance(layer, keras.layers.BatchNormalization)


def _mlp(dim, out):
    layers = [
        keras.layers.Dense(2 * out, use_bias=False, dtype="float32", name="generator_in"),
        BatchNormalization(dtype="float32", name="generator_norm"),
        keras.layers.ReLU(dtype="float32", name="generator_relu"),
        keras.layers.Dense(out, dtype="float32", name="generator_out"),
    ]
    shape = (None, dim)
    for layer in layers:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
    return layers
