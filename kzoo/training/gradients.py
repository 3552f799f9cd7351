"""What becomes of the gradients of a step: those of several terms put together, or asked for at other weights."""

import difflib

import keras
from keras import ops

from kzoo.arguments import NAME, NOT_NEGATIVE, POSITIVE, names, number
from kzoo.layers.configured import Configured
from kzoo.types import Tensor

TINY = 1e-30  # of squared lengths: a gradient of zero is at an angle to none


class GradientPolicy(Configured, keras.layers.Layer):
    """Base of what `compile(gradients=...)` takes.

    To write one, say what it needs and make one list of gradients of those that `compute` gives. State (the seed of an
    order) are weights of it, as of any layer.

    Attributes:
        by_term: whether `compute()` gives one list of gradients for each term of the loss; else that of their sum.
        several_passes: whether `compute` is called more than once; `compute(offsets)` gives the gradients at the
            weights plus these tensors.
        reads_model: whether `apply` is told whose weights these are, `apply(compute, model)`. All gradients carry the
            factor `model.optimizer.scale_loss(1.0)`, which is not 1 where the loss is scaled for half precision.

    Example:
        >>> class Signs(GradientPolicy):
        ...     def apply(self, compute):
        ...         return [ops.sign(each) for each in compute()]
        >>> model.compile("adamw", loss=InfoNCE(), gradients=Signs())
    """

    by_term = False
    several_passes = False
    reads_model = False

    def __init__(self, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.built = True

    def check(self, model) -> None:
        """Stops with a sentence where it has no use for a model; `compile` asks it."""

    def apply(self, compute) -> list:
        """One list of gradients, in the order of the trainable weights.

        Args:
            compute: function of nothing, or of a list of tensors like the weights, to a list of gradients, or to one
                list for each term where `by_term`. All are tensors, zeros where a weight has no part in a term.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it makes of gradients; define apply.")


@keras.saving.register_keras_serializable(package="kzoo")
class GradientSum(GradientPolicy):
    """The gradient of the sum of all terms, in one pass; what `compile` takes unless it is told otherwise."""

    def apply(self, compute) -> list:
        return compute()


class TermWeights(GradientPolicy):
    """Base of policies whose result is a weighted sum of the terms' gradients.

    What they look at are the inner products of the gradients, over all weights together; no gradient is copied.
    """

    by_term = True

    def apply(self, compute) -> list:
        return self.combine(compute())

    def combine(self, gradients_by_term) -> list:
        """One list of gradients, of one list for each term."""
        weights = self.weights_of(inner_products(gradients_by_term))
        return [
            sum(ops.cast(weights[term], each.dtype) * each for term, each in enumerate(of_weight))
            for of_weight in zip(*gradients_by_term, strict=True)
        ]

    def weights_of(self, products) -> Tensor:
        """What each term's gradient is multiplied by, `(terms,)`, of their inner products `(terms, terms)`."""
        raise NotImplementedError(f"{type(self).__name__} gives terms no weights; define weights_of.")


@keras.saving.register_keras_serializable(package="kzoo")
class Harmonised(TermWeights):
    """Takes out of each term's gradient what runs against another's, as that was before.

    `g_i' = g_i - sum_{j: <g_i, g_j> < 0} <g_i, g_j> / |g_j|^2 g_j`, and the step is their sum. The order of the terms
    does not matter; of two terms it is `PCGrad`.

    Args:
        drop_below: leave out a step in which two terms have a cosine below this, such as -0.3: its gradients are 0.
            Terms that fight so hard are taken for a pair that does not belong together. None leaves out none.

    Raises:
        ValueError: `drop_below` outside [-1, 0].

    Recommendations:
        For sums of contrastive terms over several modalities, which share towers.

    Example:
        >>> loss = InfoNCE() + InfoNCE(inputs=("video_embeddings", "audio_embeddings"))
        >>> model.compile("adamw", loss=loss, gradients="harmonised")

    Reference:
        Wu et al., Scaling Multimodal Pre-Training via Cross-Modality Gradient Harmonization, 2022, arXiv 2211.02077.
        From memory of the paper; that more than two terms are treated at once, and that a step is left out whole, is
        our choice.
    """

    arguments = {"drop_below": number(least=-1, most=0).said("a cosine in [-1, 0], or None to leave out no step")}

    def __init__(self, drop_below=None, **kwargs):
        super().__init__(**kwargs)
        self.drop_below = drop_below

    def weights_of(self, products) -> Tensor:
        squares = ops.maximum(ops.diagonal(products), TINY)
        weights = 1.0 + ops.sum(ops.maximum(-products, 0.0), axis=0) / squares
        if self.drop_below is None:
            return weights
        cosines = products * ops.rsqrt(squares[:, None]) * ops.rsqrt(squares[None, :])
        return weights * ops.cast(ops.all(cosines >= self.drop_below), "float32")


@keras.saving.register_keras_serializable(package="kzoo")
class PCGrad(TermWeights):
    """Projects each term's gradient onto the normal plane of each other that it still runs against, one by one.

    From `g_i' = g_i`, for each other term j in an order drawn anew for each i and step:
    `g_i' <- g_i' - <g_i', g_j> / |g_j|^2 g_j` where `<g_i', g_j> < 0`. The step is the sum of all `g_i'`.

    Args:
        seed: of the orders; default a new one.

    Example:
        >>> model.compile("adamw", loss=InfoNCE() + 2.0 * Captioning(), gradients="pcgrad")

    Reference:
        Yu et al., Gradient Surgery for Multi-Task Learning, 2020, arXiv 2001.06782.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def weights_of(self, products) -> Tensor:
        count = products.shape[0]
        order = ops.argsort(keras.random.uniform((count, count), seed=self.seed_generator), axis=1)
        return projected_weights(products, order)


@keras.saving.register_keras_serializable(package="kzoo")
class SAM(GradientPolicy):
    """The gradient where the loss is worst within a small ball around the weights: minima that are flat.

    `g(w + rho g(w) / |g(w)|)`: two passes over a batch, so a step takes twice as long. Both have the same dropout; what
    the first changes (queues, statistics) stays.

    Args:
        rho: radius of the ball.

    Raises:
        ValueError: a radius that is not positive.

    Example:
        >>> model.compile("adamw", gradients=kzoo.training.SAM(rho=0.1))

    Reference:
        Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, 2020, arXiv 2010.01412.
    """

    several_passes = True
    arguments = {"rho": POSITIVE}

    def __init__(self, rho=0.05, **kwargs):
        super().__init__(**kwargs)
        self.rho = rho

    def apply(self, compute) -> list:
        first = compute()
        square = sum(ops.sum(ops.square(ops.cast(each, "float32"))) for each in first)
        scale = self.rho * ops.rsqrt(ops.maximum(square, TINY))
        return compute([ops.cast(scale, each.dtype) * each for each in first])


@keras.saving.register_keras_serializable(package="kzoo")
class MetaStep(GradientPolicy):
    """Trains some parts, such as learned augmenters, by what they do to a model that has taken its step already.

    With `w` the weights of these parts and `t` all others, of one loss `L`: `t` gets `g = dL/dt(t, w)`, and `w` gets
    `dL/dw(t - a g, w)`, the gradient where plain gradient descent would take the others. No gradient goes through that
    step. Two passes over a batch, so a step takes twice as long; both have the same dropout, and what the first changes
    (queues, statistics) stays.

    Args:
        parts: names of heads, of towers as in a preset row, or `"projector"`; or one name. Their weights are `w`.
        learning_rate: `a`; 0 makes it the plain sum.

    Raises:
        ValueError: no part, a negative learning rate; at `compile` a part that the model does not train, or parts that
            are all there is.

    Recommendations:
        With `FeatureAugmenter`, `a` as the optimizer's own learning rate is where it is plain gradient descent.

    Example:
        >>> augmenter = Head(FeatureAugmenter(256), "*_features", "*_augmented", name="augmenter")
        >>> model = kzoo.SelfSupervised(encoder, heads=[augmenter])
        >>> loss = NTXent() + NTXent(inputs=("view_1_augmented", "view_2_augmented"))
        >>> model.compile("adamw", loss=loss, gradients=kzoo.training.MetaStep("augmenter", learning_rate=0.001))

    Reference:
        Qin et al., Meta-optimized Contrastive Learning for Sequential Recommendation (MCLRec), 2023, arXiv 2304.07763,
        which alternates the two stages batch by batch; that both gradients make one step is our choice.
    """

    several_passes = True
    reads_model = True
    arguments = {"parts": NAME | names("a list of names of heads or towers"), "learning_rate": NOT_NEGATIVE}

    def __init__(self, parts, learning_rate=0.01, **kwargs):
        super().__init__(**kwargs)
        self.parts = (parts,) if isinstance(parts, str) else tuple(parts)
        if not self.parts:
            raise ValueError("parts is empty; name the heads or towers that are trained a step ahead.")
        self.learning_rate = learning_rate

    def check(self, model) -> None:
        if all(self._learns(model)):
            raise ValueError(f"MetaStep is to train {', '.join(self.parts)}, which is all that the model trains.")

    def apply(self, compute, model) -> list:
        learns, first = self._learns(model), compute()
        rate = -self.learning_rate / model.optimizer.scale_loss(1.0)
        ahead = [
            ops.zeros_like(each) if own else ops.cast(rate, each.dtype) * each
            for own, each in zip(learns, first, strict=True)
        ]
        return [there if own else here for own, here, there in zip(learns, first, compute(ahead), strict=True)]

    def _learns(self, model):
        """Of each trainable weight of a model whether it is one of the parts'."""
        parts = model.towers() | model.parts() | {head.name: head for head in model.heads}
        trained = {name: part for name, part in parts.items() if part.trainable_variables}
        for name in self.parts:
            if name not in trained:
                raise ValueError(f"MetaStep is to train {name!r}, but the model trains {', '.join(trained)}.")
        own = {id(each) for name in self.parts for each in trained[name].trainable_variables}
        return [id(each) in own for each in model.trainable_variables]


POLICIES = {"sum": GradientSum, "harmonised": Harmonised, "pcgrad": PCGrad, "sam": SAM}


def gradient_policy(policy) -> GradientPolicy:
    """The policy that `compile(gradients=...)` is given: one of `POLICIES` by name, or the policy itself.

    Raises:
        ValueError: a name that is unknown; the sentence says which are near.
        TypeError: what is neither a name nor a policy.

    Example:
        >>> gradient_policy("pcgrad")
        <PCGrad name=pc_grad, built=True>
    """
    if isinstance(policy, GradientPolicy):
        return policy
    if not isinstance(policy, str):
        raise TypeError(
            f"gradients is of type {type(policy).__name__}, but a policy of kzoo.training is expected, such as "
            f"PCGrad(), or its name: {', '.join(POLICIES)}."
        )
    if policy not in POLICIES:
        near = difflib.get_close_matches(policy, POLICIES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(POLICIES)}."
        raise ValueError(f"gradients={policy!r} is unknown; {hint}")
    return POLICIES[policy]()


def inner_products(gradients_by_term) -> Tensor:
    """Of each two terms the inner product of their gradients over all weights, float32 `(terms, terms)`."""
    count = len(gradients_by_term)
    products = [[0.0] * count for _ in range(count)]
    for row, one in enumerate(gradients_by_term):
        for column, other in enumerate(gradients_by_term[: row + 1]):
            pairs = zip(one, other, strict=True)
            product = sum(ops.sum(ops.cast(a, "float32") * ops.cast(b, "float32")) for a, b in pairs)
            products[row][column] = products[column][row] = product
    return ops.stack([ops.stack(row) for row in products])


def projected_weights(products, order) -> Tensor:
    """What `PCGrad` multiplies each gradient by.

    All that it makes are sums of the gradients it starts with, so their inner products are enough.

    Args:
        products: float tensor `(terms, terms)`.
        order: int tensor `(terms, terms)`; row i: the terms that gradient i is projected by, one after another.

    Returns:
        float32 tensor `(terms,)`.
    """
    count = products.shape[0]
    identity = ops.eye(count, dtype="float32")
    squares = ops.maximum(ops.diagonal(products), TINY)
    shares = identity  # row i: g_i' as a sum of the gradients
    for step in range(count):
        other = ops.one_hot(order[:, step], count, dtype="float32")  # row i: the term that g_i meets
        dot = ops.sum(shares * ops.matmul(other, products), axis=1)
        against = ops.logical_and(dot < 0.0, ops.sum(other * identity, axis=1) == 0.0)
        factor = ops.where(against, dot, 0.0) / ops.matmul(other, squares)
        shares = shares - factor[:, None] * other
    return ops.sum(shares, axis=0)
