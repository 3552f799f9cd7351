"""What `fit` and `evaluate` do for every model whose loss reads named outputs."""

import inspect
from contextlib import contextmanager

import keras

from kzoo import losses
from kzoo.evaluation.retrieval import recall_at_k
from kzoo.losses.base import Loss
from kzoo.models.checks import check_training_set
from kzoo.training.callbacks import StopOnNonFinite
from kzoo.training.metrics import NamedMeans, in_batch_accuracy
from kzoo.training.optimizers import AdamW

PAIR = ("image_embeddings", "text_embeddings")


class ContrastiveModel(keras.Model):
    """Base of the trainable models: a dict of named outputs and a kzoo loss that reads them.

    A subclass calls `self.build()` at the end of its constructor, has `similarity`, `loss_spec` and
    `check_batch(batch)`, and its `call` returns a dict with one row per sample: embeddings, and what `wanted` names.
    An attribute `teacher`, an `EMATeacher`, is moved after each step.
    """

    default_outputs = ()  # beside the embeddings, where the model is called directly
    _reads = None  # names that the loss reads while it trains or evaluates; nothing while it predicts

    def wanted(self, outputs):
        """Names of the outputs beside the embeddings that a call gives: those asked for, those the loss reads.

        `predict` gives embeddings alone: tokens and logits of a whole data set fit into no memory.
        """
        return {*outputs, *(self.default_outputs if self._reads is None else self._reads)}

    @contextmanager
    def _reading(self, names):
        before = self._reads
        object.__setattr__(self, "_reads", names)  # past Keras' tracking, which locks built models
        try:
            yield
        finally:
            object.__setattr__(self, "_reads", before)

    def _training(self):
        return self._reading(self.objective.reads if self.compiled else ())  # uncompiled: Keras says so

    def build(self, batch_shape=None):
        """Nothing is left to build: the towers were built with their own shapes."""

    # -- compile --
    def compile(self, optimizer="adamw", loss=None, **kwargs):
        """Configure training.

        Args:
            optimizer: a Keras optimizer or its name; `"adamw"` is `kzoo.training.AdamW`.
            loss: a kzoo loss, such as `InfoNCE() + 2.0 * Captioning()`; default the preset's own. Its
                variables are trained and saved with the model.
            **kwargs: as in `keras.Model.compile`.

        Raises:
            TypeError: the loss is not a kzoo loss.

        Example:
            >>> model.compile(kzoo.training.AdamW(1e-4))
        """
        loss = losses.from_spec(self.loss_spec) if loss is None else loss
        if not isinstance(loss, Loss):
            raise TypeError(
                f"loss is of type {type(loss).__name__}, but a kzoo loss is expected, such as "
                "kzoo.losses.InfoNCE(); Keras losses compare with a target, which pairs do not have."
            )
        self.check_loss(loss)
        super().compile(optimizer=AdamW() if optimizer == "adamw" else optimizer, **kwargs)
        object.__setattr__(self, "_auto_jit_compile", kwargs.get("jit_compile", "auto") == "auto")
        accuracy = ["in_batch_accuracy"] if _compares_pairs(loss) else []
        self._attach(objective=loss, means=NamedMeans([*loss.term_names, *accuracy]))

    def check_loss(self, loss):
        """Stops with a sentence where the model can never give what a loss reads."""

    def _attach(self, **parts):
        # Keras locks the attributes of a built model, but an objective comes and goes with compile()
        self._tracker.unlock()
        for name, part in parts.items():
            if hasattr(self, name):
                self._tracker.untrack(getattr(self, name))
            setattr(self, name, part)
        self._tracker.lock()
        if keras.config.backend() == "torch":
            self._track_variables()  # else zero_grad() misses the objective, whose gradients would pile up

    def get_compile_config(self):
        config = super().get_compile_config()
        if not config:
            return config
        # Keras keeps what "auto" became here; torch, which compiles nothing by itself, would compile for minutes
        compiler = {"jit_compile": "auto"} if self._auto_jit_compile else {}
        return config | compiler | {"loss": keras.saving.serialize_keras_object(self.objective)}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    # -- train and test steps --
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        tensors = dict(x) | (dict(y) if isinstance(y, dict) else {}) | y_pred | self.loss_tensors(x, y_pred)
        head = {}
        if self.similarity is not None:
            head["logit_scale"] = self.similarity.scale
            if self.similarity.bias is not None:
                head["logit_bias"] = self.similarity.bias
        tensors |= head
        if sample_weight is not None:
            tensors["sample_weight"] = sample_weight
        total, values = self.objective.from_tensors(tensors, training)
        if _compares_pairs(self.objective):
            values = [*values, in_batch_accuracy(*(y_pred[name] for name in PAIR))]
        self.means.update_state(values, rows=keras.ops.shape(next(iter(y_pred.values())))[0])
        # a head that the loss does not read gets a gradient of zero, not none
        total = total + 0.0 * sum(head.values())
        return sum(self.losses, total)  # regularisers of the towers, if any

    def train_step(self, *arguments):
        result = super().train_step(*arguments)
        if getattr(self, "teacher", None) is None:  # an EMATeacher; a class attribute would hide it on torch
            return result
        if keras.config.backend() != "jax":
            self.teacher.update()
            return result
        logs, (trainable, fixed, *rest) = result  # on jax a step changes no variable, it returns their values
        pairs = [*zip(self.trainable_variables, trainable), *zip(self.non_trainable_variables, fixed)]
        with keras.StatelessScope(state_mapping=pairs) as scope:
            self.teacher.update()
        return logs, (trainable, [scope.get_current_value(each) for each in self.non_trainable_variables], *rest)

    def loss_tensors(self, x, y_pred):
        """What a loss may read beside the batch and the outputs, by name; made of them."""
        return {}

    def fit(self, x=None, y=None, batch_size=None, callbacks=None, shuffle=True, initial_epoch=0, **kwargs):
        """Train on pairs.

        Args:
            x: dict of arrays (`images`, `token_ids`, and what else the loss reads), a `kzoo.data` set, or
                any data that Keras takes and that yields such dicts.
            y: not needed; a dict joins the batch.
            shuffle: for arrays only. A data set has its own order, set by its seed and the epoch.
            **kwargs: as in `keras.Model.fit`.

        Returns:
            `keras.callbacks.History` with `loss`, each term of the loss and, where it reads both embeddings,
            `in_batch_accuracy`.

        Raises:
            ValueError: a batch of one pair.
            FloatingPointError: the loss became NaN or infinite.

        Example:
            >>> model.fit(kzoo.data.pairs("photos.csv", model.preprocessor, batch_size=256), epochs=10)
        """
        self._check(x)
        check_training_set(x, batch_size)
        if isinstance(x, keras.utils.PyDataset):
            shuffle = False
            x.epoch = initial_epoch
        callbacks = [*(callbacks or []), StopOnNonFinite()]
        arguments = {"callbacks": callbacks, "shuffle": shuffle, "initial_epoch": initial_epoch}
        with self._training():
            return super().fit(x, y, batch_size, **arguments, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", steps=None, return_dict=True, **kwargs):
        """Loss terms, in-batch accuracy, and recall@1, 5, 10 over the whole set in both directions.

        Args:
            x, y, batch_size, verbose, steps, **kwargs: as in `keras.Model.evaluate`. The set is read twice:
                once for the loss, once for the embeddings.
            return_dict: a dict by name (default), or Keras' list of the loss metrics.

        Returns:
            dict: `loss`, each term, and where the loss reads both embeddings `in_batch_accuracy`,
            `image_to_text_recall@k`, `text_to_image_recall@k`.

        Raises:
            ValueError: the set is a generator, which can be read only once.

        Example:
            >>> model.evaluate(kzoo.data.pairs("test.csv", model.preprocessor, batch_size=256, shuffle=False))
        """
        if inspect.isgenerator(x):
            raise ValueError("evaluate reads its data twice, but a generator ends; pass a PyDataset or arrays.")
        self._check(x)
        arguments = {"batch_size": batch_size, "verbose": verbose, "steps": steps}
        with self._training():
            results = super().evaluate(x, y, return_dict=return_dict, **arguments, **kwargs)
        if not return_dict or not _compares_pairs(self.objective):
            return results
        embeddings = self.predict(x, batch_size=batch_size, verbose=0, steps=steps)
        image_ids = getattr(x, "image_ids", None)
        return results | recall_at_k(*(embeddings[name] for name in PAIR), image_ids=image_ids)

    def predict(self, x, *args, **kwargs):
        """As in `keras.Model.predict`; a dict of arrays with one modality is enough. Gives embeddings only."""
        self._check(x)
        with self._reading(()):
            return super().predict(x, *args, **kwargs)

    def train_on_batch(self, x, *args, **kwargs):
        self._check(x)
        with self._training():
            return super().train_on_batch(x, *args, **kwargs)

    def test_on_batch(self, x, *args, **kwargs):
        self._check(x)
        with self._training():
            return super().test_on_batch(x, *args, **kwargs)

    def predict_on_batch(self, x):
        self._check(x)
        with self._reading(()):
            return super().predict_on_batch(x)

    def __call__(self, batch, *args, **kwargs):
        self.check_batch(batch)
        return super().__call__(batch, *args, **kwargs)

    def _check(self, x):
        """Arrays are checked where users hand them over: within a compiled step their values are gone."""
        if isinstance(x, (dict, list, tuple)):
            self.check_batch(x)


def _compares_pairs(loss):
    """Whether a loss reads both embeddings of a pair: accuracy and recall say nothing of what it trains otherwise."""
    return set(PAIR) <= set(loss.reads)
