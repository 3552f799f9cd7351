"""Targets that are moved by gradients of the forward pass (CLAPS)."""

import keras
from keras import ops

from kzoo.arguments import FINITE
from kzoo.layers.configured import Configured
from kzoo.layers.inner_gradient import inner_gradient
from kzoo.layers.linear import dense
from kzoo.layers.linear_logits import LinearLogits
from kzoo.layers.numerics import l2_normalize


@keras.saving.register_keras_serializable(package="kzoo")
class AdversarialStates(Configured, keras.layers.Layer):
    """Pools the states of a decoder, and of two that are moved: one that is close but wrong, one far but right.

    With states `h` of the target's tokens, `n(g)` each token's gradient at unit length, and states and moves detached:

    - the imposter is `h + imposter_step n(grad_h NLL)`, less likely to say the target;
    - the distant one is `h' - distant_step n(grad_h' KL(p(h) || p(h')))` with `h' = h + distant_step n(grad_h C)`: less
      like its source, by the cross-entropy `C` of its cosines with all sources of the batch, and back towards the same
      words.

    All are projected, `relu(h W + b)`, and averaged over real tokens; the source has a projection of its own.

    Args:
        dim: width of the projections.
        state_dim: width of the decoder's states.
        imposter_step, distant_step: how far a token is moved.
        temperature: of `C`.

    Inputs:
        source: float tensor `(batch, any)`, or `(batch, S, any)`, whose mean is taken.
        logits: `kzoo.layers.LinearLogits` of the target's tokens, states `(batch, length, width)`, as a captioner gives
            them under `caption_linear_logits`.
        labels: int tensor `(batch, length)`, the words that the states should say.
        real: bool tensor `(batch, length)`, True where a label counts; default all do.

    Returns:
        dict of `source`, `target`, `imposter` and `distant`: float tensors `(batch, dim)`.

    Raises:
        ValueError: logits that are multiplied out: they have no states to move.

    Example:
        >>> reads = ("image_tokens", "caption_linear_logits", "caption_labels", "caption_mask")
        >>> head = Head(AdversarialStates(128, 512), reads, gives=("source", "target", "imposter", "distant"))
        >>> loss = Captioning() + AdversarialPairs()

    Reference:
        Lee et al., Contrastive Learning with Adversarial Perturbations (CLAPS), 2020, arXiv 2012.07280.
    """

    arguments = {"imposter_step": FINITE, "distant_step": FINITE}
    compares_rows = True  # a row is moved by all others of its batch

    def __init__(self, dim, state_dim, imposter_step=1.0, distant_step=3.0, temperature=0.1, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.dim, self.state_dim = dim, state_dim
        self.imposter_step, self.distant_step, self.temperature = imposter_step, distant_step, temperature

    def build(self, source_shape, logits_shape=None, labels_shape=None, real_shape=None) -> None:
        widths = {"source_projection": source_shape[-1], "projection": self.state_dim}
        for name, width in widths.items():
            layer = dense(self.dim, width**-0.5, self.dtype_policy, name)
            layer.build((None, width))
            setattr(self, name, layer)

    def compute_output_shape(self, source_shape, logits_shape=None, labels_shape=None, real_shape=None) -> tuple:
        return dict.fromkeys(("source", "target", "imposter", "distant"), (source_shape[0], self.dim))

    # -- forward --
    def call(self, source, logits, labels, real=None) -> dict:
        if not isinstance(logits, LinearLogits):
            raise ValueError(
                "AdversarialStates moves the states under the logits, but the logits are multiplied out, of shape "
                f"{tuple(logits.shape)}; give it kzoo.layers.LinearLogits, as a captioner of kzoo does."
            )
        labels = ops.cast(labels, "int32")
        real = ops.ones_like(labels, dtype="float32") if real is None else ops.cast(real, "float32")
        states = ops.cast(ops.stop_gradient(logits.states), "float32")
        kernel, bias = (None if each is None else ops.stop_gradient(each) for each in logits[1:])

        def log_words(h):
            z = LinearLogits(h, kernel, bias).whole()
            return z - ops.logsumexp(z, axis=-1, keepdims=True)  # (batch, length, vocabulary)

        source = ops.expand_dims(source, 1) if len(source.shape) == 2 else source
        source = _pooled(self.source_projection, source)
        fixed, words = l2_normalize(ops.stop_gradient(source)), log_words(states)

        def unlikely(h):
            said = ops.take_along_axis(log_words(h), ops.expand_dims(labels, -1), axis=-1)
            return -ops.sum(ops.squeeze(said, -1) * real)

        def unlike(h):
            pooled = l2_normalize(_pooled(self.projection, h, real)) / self.temperature
            z = ops.matmul(fixed, ops.transpose(pooled))
            return ops.sum(ops.logsumexp(z, axis=1) - ops.sum(fixed * pooled, axis=-1))

        def other_words(h):
            return ops.sum(ops.sum(ops.exp(words) * (words - log_words(h)), axis=-1) * real)

        imposter = states + self.imposter_step * _direction(inner_gradient(unlikely, states))
        distant = states + self.distant_step * _direction(inner_gradient(unlike, states))
        distant = distant - self.distant_step * _direction(inner_gradient(other_words, distant))
        moved = {"target": logits.states, "imposter": imposter, "distant": distant}
        return {"source": source} | {name: _pooled(self.projection, h, real) for name, h in moved.items()}


def _direction(gradient):
    """At unit length, however short it was; 0 stays 0."""
    largest = ops.max(ops.abs(gradient), axis=-1, keepdims=True)
    return l2_normalize(gradient / ops.where(largest > 0.0, largest, 1.0))


def _pooled(projection, h, real=None):
    """The mean of the projected tokens: `(batch, length, width)` to `(batch, dim)`."""
    h = ops.relu(ops.cast(projection(h), "float32"))
    if real is None:
        return ops.mean(h, axis=1)
    total = ops.sum(h * ops.expand_dims(real, -1), axis=1)
    return total / ops.maximum(ops.sum(real, axis=1, keepdims=True), 1.0)
