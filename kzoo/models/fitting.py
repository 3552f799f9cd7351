"""`fit`, `evaluate` and `predict` of every model: Keras' own, with what they are given looked at first."""

from collections.abc import Iterator
from threading import RLock
from typing import Any

import keras

from kzoo import keras_contact
from kzoo.data.batches import Batches, Stretches
from kzoo.data.pair_dataset import PairDataset
from kzoo.evaluation.results import Results, in_order
from kzoo.evaluation.retrieval import recall_at_k
from kzoo.models.checks import (
    check_callbacks,
    check_class_weight,
    check_compiled,
    check_fit,
    check_split,
    check_steps,
)
from kzoo.models.compiled_towers import CompiledTowers
from kzoo.models.intake import Intake
from kzoo.models.programs import blocks_of, programs_of
from kzoo.models.reading import EndOfData, check_own, expect_rows, to_test, to_train, to_validate
from kzoo.scale.engine import begun, dealt, ended, feeding, parts_read, scope_of
from kzoo.scale.peak import freed_after_compiling
from kzoo.training.callbacks import StopOnNonFinite
from kzoo.training.engines import check_devices
from kzoo.training.epochs import EpochOrder
from kzoo.training.feed import is_data_set, source_of
from kzoo.training.last_good import LastGood
from kzoo.training.parts import in_parts
from kzoo.training.progress import first_of
from kzoo.training.record import Record
from kzoo.training.resume import taken_from
from kzoo.training.run_data import split
from kzoo.training.together import Together, of_first, of_process
from kzoo.types import Array

_ONE_BY_ONE = RLock()


class Fitting(keras_contact.CompiledInParts):
    """The ways into a `ContrastiveModel`, a mixin before `keras.Model`."""

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Train on pairs.

        Args:
            x: dict of arrays (`images`, `token_ids`, and what else the loss reads), a `kzoo.data` set, or
                any data that Keras takes and that yields such dicts, such as a `DataLoader` of torch. A generator, or
                another iterator, is read once: several epochs need `steps_per_epoch`, and where it ends, `fit` ends.
            y: not needed; a dict joins the batch, and all that is in it is read by the model or the loss.
            batch_size: for arrays only: rows of a batch, 32 by default. A data set has batches of its own.
            shuffle: for arrays only. A data set has its own order, set by its seed and by the epochs that the model
                has made since it was compiled; with `steps_per_epoch` an epoch goes on where the last one ended.
            sample_weight: array `(rows,)` or `(rows, 1)`, joins the batch. A data set yields it as an entry of its
                dicts, or in a tuple `(x, y, sample_weight)`.
            class_weight: refused, as pairs have no classes.
            validation_data: as `x` in `evaluate`, or a tuple with weights of samples. The batches of a generator are
                held in memory, `validation_steps` of them where that is given.
            epochs, verbose, callbacks, validation_split, initial_epoch, steps_per_epoch, **kwargs: as in
                `keras.Model.fit`. A callback may ask the model for anything, or save it: training goes on as before.

        Returns:
            `keras.callbacks.History` with `loss`, each term of the loss and, where it reads both embeddings,
            `in_batch_accuracy`.

        Raises:
            TypeError: epochs or a batch_size that are no numbers.
            ValueError: a batch that does not fit, or of one pair; a `batch_size` beside a data set that has another;
                weights that were locked or opened since `compile`.
                Whatever is raised, the model has the weights of the last complete step.
            FloatingPointError: the loss became NaN or infinite. The model has the weights of the last epoch in which it
                was finite.
            NotImplementedError: several devices, by TensorFlow's strategies or torch's process groups.

        Example:
            >>> model.fit(kzoo.data.pairs("photos.csv", model.preprocessor, batch_size=256), epochs=10)
        """
        check_fit(epochs, initial_epoch, batch_size)
        check_class_weight(class_weight)
        check_steps(steps_per_epoch)
        check_own(x, batch_size, shuffle)
        callbacks = keras.tree.flatten(callbacks or [])
        check_callbacks(callbacks)
        self.check_training()
        callbacks, verbose, (_, processes) = of_process(callbacks), of_first(verbose), parts_read()
        resume, callbacks = taken_from(first_of(callbacks, self))
        intake, validation = Intake(self, self.objective), Intake(self, self.objective)
        if validation_data is not None:
            parts = keras.utils.unpack_x_y_sample_weight(validation_data)
            parts = to_validate(parts[0], kwargs.get("validation_steps")), *parts[1:]
            expect_rows(self, (parts[0], kwargs.get("validation_batch_size") or batch_size))
            validation_data = validation.whole(*parts, kwargs.get("validation_batch_size") or batch_size)
        expect_rows(self, (x, batch_size))
        record = Record(x, batch_size)
        x, steps_per_epoch = to_train(x, steps_per_epoch, epochs - initial_epoch)
        order, end = EpochOrder(x if isinstance(x, (Batches, Stretches)) else None), EndOfData(x, steps_per_epoch)
        shuffle = shuffle and isinstance(x, dict)
        x, last_good = intake.whole(x, y, sample_weight, batch_size), LastGood()
        check_split(
            validation_split if validation_data is None else 0, x if isinstance(x, dict) else None, self.objective
        )
        if processes > 1:  # each reads its own rows of arrays
            if validation_split and validation_data is None:
                x, validation_data = split(x, validation_split)
            validation_split = 0.0
            validation_data = in_parts(validation_data, kwargs.pop("validation_batch_size", None) or batch_size)
            if resume is None:
                x, batch_size, shuffle = in_parts(x, batch_size, shuffle), None, False
        arguments = {"epochs": epochs, "verbose": verbose, "shuffle": shuffle, "initial_epoch": initial_epoch}
        arguments |= {"validation_split": validation_split, "validation_data": validation_data}
        arguments |= {"steps_per_epoch": steps_per_epoch} | kwargs
        # first what stops, before what would save weights that are not finite
        arguments["callbacks"] = [
            StopOnNonFinite(),
            Together(),
            last_good,
            order,
            end,
            record,
            *callbacks,
        ]
        try:
            with keras_contact.weights_kept(self), feeding(), intake, validation, freed_after_compiling():
                begun(self, training=True)
                if resume is not None:
                    self.make_train_function()  # and the optimizer's variables, which a checkpoint fills
                    return resume.fit(self, super().fit, x, order, batch_size, arguments)
                return super().fit(x, None, batch_size, **arguments)
        except FloatingPointError:
            last_good.give_back()
            raise

    def forget_compiled(self) -> None:
        """Have towers compiled anew where they are compiled apart from the step: on torch with `jit_compile=True`."""
        apart = keras.config.backend() == "torch" and self.jit_compile
        keras_contact.untracked(self, "compiled_towers", CompiledTowers() if apart else None)

    def make_train_function(self, force=False) -> Any:
        """As in Keras, with the optimizer's variables made before: TensorFlow traces a step twice that makes some."""
        if self.built and not self.optimizer.built:
            with scope_of(self):
                self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def make_predict_function(self, force=False) -> Any:
        """As in Keras, but on jax and TensorFlow blocks that are alike have one program where that is ready sooner."""
        with _ONE_BY_ONE:  # of several threads that ask at once another would find `jit_compile` as it is meanwhile
            if self.predict_function is not None and not force:
                return self.predict_function
            keras_contact.untracked(self, "predict_programs", programs_of(self))
            keras_contact.untracked(self, "predict_blocks", blocks_of(self))
            if self.predict_programs is None:
                return super().make_predict_function(force)
            kept, self.jit_compile = self.jit_compile, False  # or Keras makes one program of it all
            try:
                return super().make_predict_function(force)
            finally:
                self.jit_compile = kept

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=True,
        **kwargs,
    ) -> Any:
        """Loss terms, in-batch accuracy, and recall@1, 5, 10 over the whole set in both directions.

        A batch of one pair has no negatives: at the end of a set it counts in no mean. A `kzoo.data` set is read in the
        source's order, every row once, whatever its settings; so are `validation_data`.

        Args:
            x, y, batch_size, verbose, sample_weight, steps, callbacks: as in `fit` and `keras.Model.evaluate`. The set
                is read twice, for the loss and for the embeddings: batches of a generator are held in memory, `steps`
                of them where that is given.
            return_dict: a dict by name (default), or Keras' list of the loss metrics.

        Returns:
            dict, in a notebook a table: `loss`, each term, and where the loss reads both embeddings
            `in_batch_accuracy`, `image_to_text_recall@k`, `text_to_image_recall@k`.

        Raises:
            ValueError: a batch that does not fit.

        Example:
            >>> model.evaluate(kzoo.data.pairs("test.csv", model.preprocessor, batch_size=256, shuffle=False))
        """
        check_compiled(self)
        check_devices(self, training=False)
        if keras_contact.within_fit(kwargs) and is_data_set(x):
            batch_size = None  # that of the arrays which `fit` reads
        check_own(x, batch_size)
        x = to_test(x, steps)
        if not keras_contact.within_fit(kwargs):
            expect_rows(self, (x, batch_size))
        intake = Intake(self, self.objective)
        given = x if keras_contact.within_fit(kwargs) else intake.whole(x, y, sample_weight, batch_size)
        given, of_set = in_parts(given, batch_size), batch_size if parts_read()[1] == 1 else None
        arguments = {"batch_size": of_set, "verbose": of_first(verbose), "steps": steps, "callbacks": callbacks}
        self._begin_to_measure()
        with keras_contact.weights_kept(self), feeding(), intake:
            results = super().evaluate(given, return_dict=return_dict, **arguments, **kwargs)
        ended(self, training=False)
        if not return_dict:
            return results
        results = _in_order(results)
        if not self.compares_pairs(self.objective):
            return results
        found = self._predicted(x, batch_size, 0, steps)
        if any(name not in found or found[name].ndim != 2 for name in self.PAIR):
            return results  # of bags there is no one right answer to a picture
        source = source_of(x)
        image_ids = source.image_ids if isinstance(source, PairDataset) else None
        image_ids = None if image_ids is None else image_ids[: len(found[self.PAIR[0]])]
        return _in_order(results | recall_at_k(*(found[name] for name in self.PAIR), image_ids=image_ids))

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None) -> dict[str, Array]:
        """As in `keras.Model.predict`; a dict of arrays with one modality is enough. Gives embeddings only.

        A `kzoo.data` set is read as in `evaluate`; its `in_order().rows_read` says which rows those are. Of several
        processes each computes its rows, and gives all of them.
        """
        check_devices(self, training=False)
        self._begin_to_measure()
        return self._predicted(x, batch_size, of_first(verbose), steps, callbacks)

    def _predicted(self, x, batch_size, verbose, steps, callbacks=None):
        check_own(x, batch_size)
        intake = Intake(self)
        given = intake.whole(x if isinstance(x, Iterator) else to_test(x))  # which is read once
        given, batch_size = in_parts(given, batch_size), batch_size if parts_read()[1] == 1 else None
        with keras_contact.weights_kept(self), feeding(), intake:
            found = super().predict(given, batch_size, verbose, steps, callbacks)
        ended(self, training=False)
        return found

    def _begin_to_measure(self):
        """Of several processes all measure the weights of the first, unless they train them together already."""
        if not keras_contact.steps_run(self):
            begun(self, training=False)

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False) -> Any:
        """As in `keras.Model.train_on_batch`, of one dict of arrays; see `fit`."""
        check_class_weight(class_weight)
        self.check_training()
        x = Intake(self, self.objective).take(x, y, sample_weight)
        expect_rows(self, (x, len(next(iter(x.values())))))
        if not self.begun_together:  # once, as such a loop is many calls
            begun(self, training=True)
            keras_contact.untracked(self, "begun_together", True)
        with keras_contact.weights_kept(self), feeding(), freed_after_compiling():
            return super().train_on_batch(dealt(self, x), return_dict=return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False) -> Any:
        """As in `keras.Model.test_on_batch`, of one dict of arrays."""
        check_compiled(self)
        check_devices(self, training=False)
        x = Intake(self, self.objective).take(x, y, sample_weight)
        expect_rows(self, (x, len(next(iter(x.values())))))
        with keras_contact.weights_kept(self), feeding():
            return super().test_on_batch(dealt(self, x), return_dict=return_dict)

    def predict_on_batch(self, x) -> dict:
        """As in `keras.Model.predict_on_batch`, of one dict of arrays."""
        x = Intake(self).take(x)
        with keras_contact.weights_kept(self), feeding():
            return super().predict_on_batch(dealt(self, x))


def _in_order(results):
    return Results({name: results[name] for name in sorted(results, key=in_order)})
