"""The steps that Keras makes for a model, and where its state is between two of them."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import keras

from kzoo.interrupts import interrupted_between_steps
from kzoo.keras_contact.adam_torch import adam_step, takes_kernel
from kzoo.keras_contact.attributes import are_noted, noted, untracked
from kzoo.keras_contact.step_tensorflow import take_steps

LONGEST = 500  # characters of what Keras shows of the data in an error


def sync_state(model) -> None:
    """Write the values that a running `fit` holds on jax into the variables of the model; elsewhere they are there.

    Within an epoch Keras' loop on jax carries all state by itself. A callback that reads or sets a variable asks for
    this first.

    Example:
        >>> sync_state(self.model)
        >>> self.model.optimizer.learning_rate = 1e-4
    """
    if keras.config.backend() == "jax":
        model.jax_state_sync()


def track_loss(model, loss, rows) -> None:
    """Let a loss join the running mean that Keras logs as `loss`, weighted by the rows of its batch."""
    model._loss_tracker.update_state(loss, sample_weight=rows)


def value_within_fit(model, variable) -> Any:
    """The value that a variable of a metric has after the last step, also while `fit` holds it on jax: a tensor.

    To read it waits for that step. On jax it writes nothing into the model, which `sync_state` does, at a cost that
    grows with the model.
    """
    if keras.config.backend() == "jax" and not model._jax_state_synced and model._jax_state:
        for own, value in zip(model.metrics_variables, model._jax_state["metrics_variables"]):
            if own is variable:
                return value
    return variable + 0  # a tensor, also of what each replica of TensorFlow has a part of


def within_fit(options) -> bool:
    """Whether `evaluate` is called by a running `fit`, which has its data set ready, by the options it is given."""
    return options.get("_use_cached_eval_dataset", False)


class SparesAll:
    """Mixin of an optimizer that may spare every variable that is trained from decay: Keras' own fails on torch then,
    whose operations on lists take none that is empty."""

    def _apply_weight_decay(self, variables) -> None:
        if any(self._use_weight_decay(each) for each in variables):
            super()._apply_weight_decay(variables)


class AllAtOnce:
    """Mixin of an optimizer that is derived from one of Keras: on torch it takes a step for all variables at once, too.

    Keras does so for its own classes alone; those of a derived one it goes through one by one, which is a large part of
    the step of a small model. One that has an `update_step` of its own is left to it. On TensorFlow each variable
    decays in its step, see `take_steps`.
    """

    def _apply_weight_decay(self, variables) -> None:
        if not _has_kernel(self) and keras.config.backend() != "tensorflow":
            super()._apply_weight_decay(variables)

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate) -> None:
        take_steps(self, distribution, grads_and_vars, learning_rate)

    def _backend_update_step(self, grads, trainable_variables, learning_rate) -> None:
        step = _step_on_torch(self)
        if step is None:
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        import torch

        with torch.no_grad():
            if _has_kernel(self):
                if takes_kernel(self, trainable_variables):
                    adam_step(self, grads, trainable_variables, learning_rate)
                    return
                super()._apply_weight_decay(trainable_variables)
            step(self, grads, trainable_variables, learning_rate)


def _has_kernel(optimizer):
    """Whether its decay is left to its step, which a kernel may take with it."""
    return isinstance(optimizer, keras.optimizers.Adam) and _step_on_torch(optimizer) is not None


def _step_on_torch(optimizer):
    """What Keras does there for all variables of its own class; None on other backends, and with another step."""
    if keras.config.backend() != "torch":
        return None
    own = next(each for each in type(optimizer).__mro__ if each.__module__.startswith("keras."))
    step = getattr(_class_on_torch(own), "_parallel_update_step", None)
    return step if type(optimizer).update_step is own.update_step else None


@cache
def _class_on_torch(optimizer) -> type:
    """The class that Keras makes on torch in place of one of its optimizers."""
    return type(optimizer())


class BuiltAlready:
    """Mixin of a model that has all its variables before it sees a batch.

    Keras would make a symbolic batch, from which a model that is not built could be; under a strategy of TensorFlow it
    takes the mean of the replicas' batches for that, which masks have none of, and reads one that no step sees.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None) -> None:
        """Nothing is left to build."""


class CompiledInParts:
    """Mixin of a model whose layers are compiled on torch, with `jit_compile=True`, and not the step around them.

    What Keras does around calls and steps breaks a graph for `torch.compile` into hundreds, which take longer than
    what they replace, and minutes to make.
    """

    def _should_torch_compile(self) -> bool:
        return False


def carried_variables(model, count) -> list:
    """Lists of the variables whose values Keras' loop on jax carries from step to step, in its order.

    Args:
        count: lists of values in its state: 4 to train, 3 to test, 2 to predict.
    """
    optimizer = [model.optimizer.variables] if count == 4 else []
    metrics = [model.metrics_variables] if count > 2 else []
    return [model.trainable_variables, model.non_trainable_variables, *optimizer, *metrics]


@contextmanager
def weights_kept(model) -> Iterator:
    """Around `fit`, `evaluate`, `predict` and their `..._on_batch`: between two steps the model is whole.

    On jax Keras takes the values out of the variables while it trains, and each step takes the memory of the values
    before it. An error in the first step, in the first batch of an epoch or in an evaluation, or Ctrl-C, leaves a model
    without weights, and a callback finds none either. Here each step leaves its values in the variables, and the next
    takes them from there: what a callback reads is what the last step left, and what it assigns is trained on. On the
    other backends steps change the variables in place. Ctrl-C waits for a step that runs, on torch too, where a step is
    plain code that could be left half done.

    Within itself, where a callback asks the model for an evaluation or a prediction, and in a validation, the training
    goes on afterwards as if it had not been asked: its running means, torch's mode and its random order are put back.

    Where the device fails in the middle of a step (out of memory), the weights go with it; a note to the error says so.

    Args:
        model: a built `keras.Model`.

    Example:
        >>> with weights_kept(model):
        ...     model.fit(data)
    """
    _forget_stale_steps(model)
    if steps_run(model):
        with _as_if_not_asked(model), _without_values():
            yield
        return
    followed = _StepsOfJax(model) if keras.config.backend() == "jax" else _Steps(model)
    try:
        with _without_values():
            yield
    finally:
        followed.leave()


def steps_run(model) -> bool:
    """Whether `weights_kept` is around something that this model does, so that a callback asks."""
    return "steps_followed" in vars(model)


@contextmanager
def _as_if_not_asked(model):
    """Around what a callback asks a model that is being trained."""
    backend, counted = keras.config.backend(), [(each, keras.ops.copy(each)) for each in model.metrics_variables]
    try:
        if backend == "torch":
            import torch

            training = model.training
            with torch.random.fork_rng(devices=[]):  # a loader of torch draws a seed, also where it does not shuffle
                yield
        else:
            yield
    finally:
        for variable, value in counted:
            variable.assign(value)
        if backend == "torch":
            model.train(training)
        if backend == "jax":
            model._jax_state_synced = True  # or the loop would go on with values that an evaluation has used up


@contextmanager
def _without_values():
    """Some errors of Keras show what it was given, arrays with all their values: pages of pixels, cut off here."""
    try:
        yield
    except ValueError as error:
        said = re.split(r"(?:,? found|Received)[^:]*:", str(error), maxsplit=1)
        if len(said) == 1 or len(said[1]) < LONGEST:
            raise
        cut = f"{said[0].strip().rstrip('.')}; but a model of kzoo reads dicts of arrays, one for each batch."
        raise type(error)(cut) from None


def _forget_stale_steps(model):
    """A layer that was quantised or given LoRA since has other weights than a compiled step knows."""
    weights, notes = model.weights, vars(model).get("weights_in_steps")
    if notes is not None and are_noted(notes, weights):
        return
    if notes is not None:
        model.train_function = model.test_function = model.predict_function = None
        model.forget_compiled()
    untracked(model, "weights_in_steps", noted(weights))


class _Steps:
    """Follows the steps that Keras makes for a model: none is left half done."""

    def __init__(self, model):
        self.model, self.functions = model, {}
        untracked(model, "steps_followed", True)
        self.replaced = ["steps_followed"]
        for kind in {"jax": ("train", "test", "predict"), "torch": ("train",)}.get(keras.config.backend(), ()):
            name = f"make_{kind}_function"
            self.replace(name, self.making(kind, getattr(model, name)))

    def replace(self, name, method) -> None:
        """A method of the model alone in place of that of its class, until `leave`."""
        untracked(self.model, name, method)
        self.replaced.append(name)

    def making(self, kind, make) -> Callable:
        """The function with which Keras makes a compiled step, which is followed from then on."""
        name = f"{kind}_function"

        def make_and_follow(force=False):
            make(force)
            function = getattr(self.model, name)
            if self.functions.get(name, (None, None))[1] is not function:
                self.functions[name] = function, self.followed(function)
                untracked(self.model, name, self.functions[name][1])

        return make_and_follow

    def followed(self, function) -> Callable:
        def step(data):
            with interrupted_between_steps(lambda: False):
                found = function(data)
            if self.stopwatch() is not None:
                self.stopwatch().step_ends()
            return found

        return step

    def stopwatch(self) -> Any:
        """The `kzoo.training.stopwatch.Stopwatch` of the model, where somebody wants to know; else None."""
        return vars(self.model).get("stopwatch")

    def leave(self) -> None:
        for name, (function, followed) in self.functions.items():
            if getattr(self.model, name) is followed:
                untracked(self.model, name, function)
        for name in self.replaced:
            object.__delattr__(self.model, name)
        self.functions.clear()  # which refer to this, as this does to them


class _StepsOfJax(_Steps):
    """Steps that get the values of all variables and give new ones, which the variables hold from then on."""

    def __init__(self, model):
        super().__init__(model)
        self.carried = {}  # count of lists -> lists: to gather them takes longer than a small step
        self.replace("_get_jax_state", self.values)
        self.replace("jax_state_sync", lambda: None)

    def variables(self, count) -> list:
        if count not in self.carried:
            self.carried[count] = carried_variables(self.model, count)
        return self.carried[count]

    def values(self, purge_model_variables=False, **lists) -> tuple:
        """In place of Keras' own, which takes them out of the variables."""
        return tuple([each.value for each in variables] for variables in self.variables(sum(lists.values())))

    def followed(self, function) -> Callable:
        def step(state, iterator):
            found = []
            if len(state) == 4 and self.stopwatch() is not None:
                iterator = self.stopwatch().timed(iterator)

            def is_whole():
                return not found and not any(value.is_deleted() for values in state for value in values)

            try:
                with interrupted_between_steps(is_whole):
                    found[:] = function(state, iterator)
                    self.keep(found[1])
            except BaseException as error:
                if not found and not is_whole():
                    note = "The step had begun to replace the weights of the model, which are lost; open it again."
                    error.add_note(note)
                raise
            return tuple(found)

        return step

    def keep(self, state) -> None:
        for variables, values in zip(self.variables(len(state)), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable._value = value  # `assign` would look at each
        self.model._jax_state_synced = True  # the next step takes them from there


@contextmanager
def batches_placed(place) -> Iterator:
    """Within it batches come to the devices of jax by a function of them, in place of Keras' own.

    Keras takes the layout of an epoch's first batch for all others, so that a last one of fewer rows stops it.

    Args:
        place: function of what a data set yields, numpy arrays in tuples and dicts, to the same of arrays of jax.
    """
    from keras.src.backend.jax import trainer

    kept = trainer._distribute_data
    trainer._distribute_data = lambda data, layouts=None: place(data)
    try:
        yield
    finally:
        trainer._distribute_data = kept


def decide_direction(callback) -> None:
    """Let a callback of Keras that watches a number, such as `EarlyStopping`, choose now whether more of it is better:
    it does so when it sees the first, and one whose noted numbers are put back has seen some."""
    callback._set_monitor_op()
