"""Two ways to compare texts that teach each other without labels: by their embeddings, and read as one."""

from typing import Any

import numpy as np

from kzoo.arguments import AMOUNT, COUNT, POSITIVE, TEXT, Checked, shown, takes
from kzoo.data.text_dataset import text_pairs, text_views
from kzoo.evaluation.directions import directions
from kzoo.layers.changed import copy_weights
from kzoo.layers.copies import copy_of
from kzoo.layers.heads.classifier import Classifier
from kzoo.losses.sentences.pair_distillation import PairDistillation
from kzoo.models.self_supervised import SelfSupervised
from kzoo.preprocessing.tokenizer import check_texts
from kzoo.training.optimizers import AdamW
from kzoo.types import Array

PAIR = ("sentence1", "sentence2")
READS = ("view_1_features", "view_2_features")


class TransEncoder(Checked):
    """A bi-encoder and a cross-encoder of texts that distil into each other in turn (Trans-Encoder).

    A bi-encoder embeds each text and compares by cosine; a cross-encoder reads both as one text and is slower and
    better. Each cycle of `fit` has two steps: the cross-encoder begins with the bi-encoder's weights and learns its
    cosines (`PairDistillation("bce")`), then the bi-encoder begins with the cross-encoder's and learns its scores
    (`"mse"`). Several models teach each other: the target is the mean of the scores of all.

    Args:
        models: a model with a text tower and a vocabulary, such as one that SimCSE has trained; or a list of several,
            for mutual distillation. Their towers are copied, they stay what they are.
        template: how two texts become one, with two `{}`; of tokenizers that know it `[SEP]` is a token.

    Attributes:
        bi_encoders: list of `kzoo.SelfSupervised`, whose `encode` and `encode_text` embed texts.
        cross_encoders: list of `kzoo.SelfSupervised`, whose projection is one logit.

    Raises:
        TypeError: something else than models.
        ValueError: a model without texts or without a vocabulary, a template without two `{}`.

    Example:
        >>> both = TransEncoder(simcse)
        >>> both.fit(pairs, cycles=3)  # a list of (text, text), no scores
        >>> both.bi_encoders[0].save_to_preset("better")
        >>> both.score(["a cat"], ["a small cat", "a car"])
        array([[0.93, 0.08]])

    Reference:
        Liu et al., Trans-Encoder, 2021, arXiv 2109.13059.
    """

    arguments = {"template": TEXT}

    def __init__(self, models, template="{} [SEP] {}"):
        if template.count("{}") != 2:
            raise ValueError(f"template is {template!r}; give one with two {{}}, where the texts go.")
        self.template, self.bi_encoders, self.cross_encoders = template, [], []
        for model in models if isinstance(models, (list, tuple)) else [models]:
            tower = _text_tower(model)
            own = {"preprocessor": model.preprocessor}
            self.bi_encoders.append(SelfSupervised(copy_of(tower), False, loss=[{"loss": "SimCSE"}], **own))
            self.cross_encoders.append(SelfSupervised(copy_of(tower), Classifier(1, name="projector"), **own))
        if not self.bi_encoders:
            raise ValueError("models is empty; give at least one model of texts.")

    @takes(cycles=COUNT, epochs=COUNT, learning_rate=POSITIVE, batch_size=COUNT, seed=AMOUNT)
    def fit(self, pairs, cycles=3, epochs=1, learning_rate=2e-5, batch_size=32, seed=0) -> list[dict]:
        """Distil in turn.

        Args:
            pairs: list of pairs of texts, without labels.
            cycles: how often each learns from the other.
            epochs: of each step.
            learning_rate: of AdamW.
            batch_size: pairs of a step of the optimizer.
            seed: of their order.

        Returns:
            list of a dict for each cycle, `bi_to_cross` and `cross_to_bi`: the mean loss of the last epoch over all
            models.

        Raises:
            TypeError, ValueError: something else than pairs of texts, or fewer than a batch.
        """
        first, second = _two_lists(pairs)
        options = {"epochs": epochs, "rate": learning_rate, "batch_size": batch_size}
        history = []
        for cycle in range(cycles):
            scores, losses = np.clip(self.similarities(first, second), 0.0, 1.0), []
            for bi, cross in zip(self.bi_encoders, self.cross_encoders):
                copy_weights(bi.encoder, cross.encoder)
                source = {"texts": self._joined(first, second), "target_scores": scores}
                data = text_views(source, cross.preprocessor, batch_size, views=1, seed=seed + cycle)
                losses.append(_fitted(cross, PairDistillation("bce", inputs=("view_1",)), data, options))
            found = {"bi_to_cross": float(np.mean(losses))}
            scores, losses = self.pair_scores(first, second), []
            for bi, cross in zip(self.bi_encoders, self.cross_encoders):
                copy_weights(cross.encoder, bi.encoder)
                source = dict(zip(PAIR, (first, second))) | {"target_scores": scores}
                data = text_pairs(source, bi.preprocessor, batch_size, seed=seed + cycle)
                losses.append(_fitted(bi, PairDistillation("mse", inputs=READS), data, options))
            history.append(found | {"cross_to_bi": float(np.mean(losses))})
        return history

    def similarities(self, first, second) -> Array:
        """The mean cosine of all bi-encoders, float32 `(n,)`, of each text of one list with that of the other."""
        found = []
        for model in self.bi_encoders:
            rows = [directions(model.encode_text(texts), "the texts") for texts in (first, second)]
            found.append((rows[0] * rows[1]).sum(axis=1))
        return np.mean(found, axis=0, dtype="float32")

    def pair_scores(self, first, second) -> Array:
        """The mean score of all cross-encoders, float32 `(n,)` in [0, 1], of each text with that of the other list."""
        found, joined = [], self._joined(first, second)
        for model in self.cross_encoders:
            arrays = model.preprocessor.encode_texts(joined)
            batch = {"view_1": arrays["token_ids"], "view_1_padding_mask": arrays["padding_mask"]}
            names = [each.name for each in model.tower.inputs]
            batch = batch if "padding_mask" in names else {"view_1": batch["view_1"]}
            logits = model.predict(batch, batch_size=64, verbose=0)["view_1"]
            found.append(1.0 / (1.0 + np.exp(-np.asarray(logits, "float64")[:, 0])))
        return np.mean(found, axis=0).astype("float32")

    def score(self, queries, items) -> Array:
        """The scores of all queries with all items, float32 `(n, m)`, as `kzoo.retrieval.CURSearch` takes them."""
        first = [query for query in queries for _ in items]
        found = self.pair_scores(first, [item for _ in queries for item in items])
        return found.reshape(len(queries), len(items))

    def _joined(self, first, second):
        return [self.template.format(*both) for both in zip(first, second, strict=True)]


def _fitted(model, loss, data, options) -> float:
    """The loss of the last epoch of a training."""
    model.compile(AdamW(options["rate"]), loss=loss)
    return model.fit(data, epochs=options["epochs"], verbose=0).history["loss"][-1]


def _text_tower(model) -> Any:
    if not all(hasattr(model, each) for each in ("modalities", "preprocessor")):
        raise TypeError(f"models holds {shown(model, True)}; give models of kzoo with a text tower.")
    tower = next((each for each in model.modalities().values() if each.modality == "text"), None)
    if tower is None:
        raise ValueError(f"{model.name} has no text tower; give a model that reads texts.")
    if model.preprocessor is None or model.preprocessor.tokenizer is None:
        raise ValueError(f"{model.name} has no vocabulary; give its preprocessor one, see Preprocessor.adapt.")
    return tower


def _two_lists(pairs) -> tuple[list[str], list[str]]:
    wrong = isinstance(pairs, (str, bytes, dict)) or not hasattr(pairs, "__len__")
    if wrong or any(isinstance(each, str) or not hasattr(each, "__len__") or len(each) != 2 for each in pairs):
        raise TypeError(f"pairs is {shown(pairs, True)}; give a list of pairs of texts.")
    if not len(pairs):
        raise ValueError("pairs is empty; give a list of pairs of texts.")
    found = tuple(list(each) for each in zip(*pairs))
    for texts in found:
        check_texts(texts)
    return found
