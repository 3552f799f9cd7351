"""FedPGP: a context that is shared, and a small part of it that is not."""

import keras
from keras import ops

from kzoo.adaptation.prompts.classifier import PromptedClassifier
from kzoo.adaptation.prompts.context import STD, Context
from kzoo.adaptation.prompts.coop import CoOp
from kzoo.adaptation.texts import TEMPLATE
from kzoo.arguments import COUNT, NOT_NEGATIVE, POSITIVE
from kzoo.layers.initializers import Normal
from kzoo.types import Tensor


@keras.saving.register_keras_serializable(package="kzoo")
class FedPGP(PromptedClassifier):
    """Federated prompt learning, one client of it: CoOp's context `p_G`, and a low-rank part `U V` of the client's own.

    Predictions are those of the context `p_G + U V`. To the cross-entropy is added `mu` times the mean over classes of
    `-log(e^a / (e^a + e^b))`, with `a = cos(t_0, t_G) / temperature` and `b = cos(t_G, t_i) / temperature`: the class
    embeddings `t_G` of `p_G` alone stay near those of the template, `t_0`, and away from those of the client, `t_i`.

    Between rounds a server takes the mean of `model.context.vectors` over the clients, weighed by their pictures, and
    assigns it to each; `U` and `V` never leave. That loop is not here. A step runs the text tower twice.

    Args:
        model, class_names, n_ctx, init: as of `CoOp`.
        rank: of `U V`.
        mu: weight of the added loss; 0 leaves it out.
        temperature: of the added loss.
        template: the text of a class for `t_0`.

    Inputs:
        as `CoOp`.

    Returns:
        as `CoOp`.

    Raises:
        ValueError: as `CoOp`; a rank above `n_ctx` or the width of the text tower.

    Formulas and numbers are those of the authors' code; `t_0` is of the template, as the paper says, where the code has
    the embedding of placeholders.

    Example:
        >>> client = kzoo.adaptation.FedPGP(clip, ["wren", "robin"])
        >>> client.compile(keras.optimizers.SGD(0.001, momentum=0.9))
        >>> client.fit({"images": images, "labels": labels}, batch_size=32)
        >>> server.append(keras.ops.convert_to_numpy(client.context.vectors))

    Reference:
        Cui et al., Harmonizing Generalization and Personalization in Federated Prompt Learning, 2024, arXiv 2405.09771.
    """

    arguments = PromptedClassifier.arguments | {
        "n_ctx": COUNT | None,
        "init": CoOp.arguments["init"],
        "rank": COUNT,
        "mu": NOT_NEGATIVE,
        "temperature": POSITIVE,
    }
    reads_template = True

    def __init__(
        self,
        model,
        class_names,
        n_ctx=None,
        rank=4,
        mu=1.0,
        temperature=0.5,
        init=None,
        template=TEMPLATE,
        **kwargs,
    ):
        super().__init__(model, class_names, template=template, **kwargs)
        self.context, self.mu, self.temperature = (
            Context(self.model, self.class_names, n_ctx, init=init),
            mu,
            temperature,
        )
        count, width = self.context.count, self.context.width
        if rank > min(count, width):
            raise ValueError(f"rank is {rank}, but a context is {count} vectors of {width}; give at most the smaller.")
        options = {"initializer": Normal(stddev=STD), "autocast": False}
        self.local_left = self.add_weight(name="local_left", shape=(count, rank), **options)
        self.local_right = self.add_weight(name="local_right", shape=(rank, width), **options)
        self.settle_prompts()

    def embed_classes(self, training=None) -> Tensor:
        left, right = (ops.convert_to_tensor(each) for each in (self.local_left, self.local_right))
        vectors = ops.convert_to_tensor(self.context.vectors) + ops.matmul(left, right)
        return self.context.embed(self.model.text_encoder, vectors)

    def stay_near(self, classes) -> None:
        if not self.mu:
            return
        shared = self.context.embed(self.model.text_encoder)
        near, far = (ops.sum(shared * each, axis=-1) for each in (self.zero_shot, classes))
        self.add_loss(self.mu * ops.mean(ops.softplus((far - near) / self.temperature)))
