"""The contact with Keras below its documented surface: what goes past its tracking, and every private name of it.

No other file of kzoo does either, and `tests/test_keras_contact.py` names each private name that is used here, so that
a release of Keras without it is found by that name, not by a model that trains differently.
"""

import gc
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

LONGEST = 500  # characters of what Keras shows of the data in an error


def untracked(owner, name, value) -> None:
    """Set an attribute that Keras neither tracks nor wraps nor, on a built model, refuses.

    For what belongs to somebody else (a teacher's students) or is no layer, variable or metric: Keras would save it
    twice, count it twice, or turn a dict into one of its own.

    Args:
        owner: a Keras layer, model or any other object.
        name: of the attribute.
        value: kept as it is.

    Example:
        >>> untracked(model, "layout", {"text_encoder": "fused"})
    """
    object.__setattr__(owner, name, value)


def attach(model, **parts) -> None:
    """Make layers and metrics parts of a built model, in place of those that were attached under the same names.

    Keras locks the attributes of a built model, but a loss comes and goes with `compile`. What was there before is
    neither trained nor saved nor reset from here on.

    Args:
        model: a `keras.Model`.
        **parts: layers, metrics or None, by the name of the attribute.

    Example:
        >>> attach(model, objective=InfoNCE(), means=NamedMeans(["info_nce"]))
    """
    model._tracker.unlock()
    try:
        for name, part in parts.items():
            if hasattr(model, name):
                model._tracker.untrack(getattr(model, name))
            setattr(model, name, part)
    finally:
        model._tracker.lock()
    if keras.config.backend() == "torch":
        model._track_variables()  # else zero_grad() misses the objective, whose gradients would pile up


def layers_within(layer) -> list:
    """A layer and all layers within it, in the order in which Keras finds them: the same for the same config."""
    return list(layer._flatten_layers())


@contextmanager
def memory_unsearched() -> Iterator:
    """Around the quantisation of layers, each of which has Keras search all memory for garbage: a second per layer
    where large libraries are loaded. What is there already is left out of that search."""
    frozen = gc.get_freeze_count() > 0
    if not frozen:
        gc.freeze()
    try:
        yield
    finally:
        if not frozen:
            gc.unfreeze()


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


def save_weights_alone(model, path) -> None:
    """Write the weights of a model as `save_weights` does, without the state of its optimizer.

    Args:
        model: a built `keras.Model`, compiled or not.
        path: of the file, ending in `.weights.h5`.
    """
    from keras.src.saving.saving_lib import save_weights_only

    # metrics, too, are of the training: they count what a running epoch has seen
    of_training = [model.optimizer, *model.metrics] if model.compiled else []
    save_weights_only(model, path, objects_to_skip=of_training)


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
    return variable.value


def called_by_compiled_loss(loss) -> bool:
    """Whether a layer is being called by `keras.Model.compile(loss=layer)`, as the function of targets and predictions.

    Keras makes a loss of any callable there, which bears its name, in a scope of the compiled loss.

    Example:
        >>> called_by_compiled_loss(InfoNCE())
        False
    """
    from keras.src.backend.common.name_scope import current_path

    return current_path().split("/")[-2:] == ["compile_loss", loss.name]


def unscaled(optimizer) -> Any:
    """An optimizer without the `LossScaleOptimizer` that mixed precision puts around it."""
    return optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer


def optimized(model) -> list | None:
    """The variables that the optimizer of a model was made for; None where it was not made for any yet."""
    optimizer = unscaled(model.optimizer)
    return list(optimizer._trainable_variables) if optimizer.built else None


def within_fit(options) -> bool:
    """Whether `evaluate` is called by a running `fit`, which has its data set ready, by the options it is given."""
    return options.get("_use_cached_eval_dataset", False)


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
    """Around `fit`, `evaluate`, `predict` and their `..._on_batch`: whatever is raised, the model keeps its weights.

    On jax Keras takes the values out of the variables while it trains, and each step takes the memory of the values
    before it. An error in the first step, in the first batch of an epoch or in an evaluation, or Ctrl-C, leaves a model
    without weights. Here they are those of the last complete step, with the state of the optimizer and of the metrics.
    On the other backends steps change the variables in place. Ctrl-C waits for a step that runs, on torch too, where a
    step is plain code that could be left half done.

    Where the device fails in the middle of a step (out of memory), the weights go with it; a note to the error says so.

    Args:
        model: a built `keras.Model`.

    Example:
        >>> with weights_kept(model):
        ...     model.fit(data)
    """
    _forget_stale_steps(model)
    kinds = {"jax": _Kept, "torch": _Whole}
    if keras.config.backend() not in kinds or "make_train_function" in vars(model):  # within itself: a validation
        with _without_values():
            yield
        return
    kept = kinds[keras.config.backend()](model)
    try:
        with _without_values():
            yield
    except BaseException as error:
        kept.give_back(error)
        raise
    finally:
        kept.leave()


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
    count = len(model.weights)
    if vars(model).get("weights_in_steps", count) != count:
        model.train_function = model.test_function = model.predict_function = None
    untracked(model, "weights_in_steps", count)


class _Whole:
    """Follows the steps that Keras makes for a model: none is left half done."""

    kinds = ("train",)

    def __init__(self, model):
        self.model, self.functions = model, {}
        for kind in self.kinds:
            untracked(model, f"make_{kind}_function", self.making(kind, getattr(model, f"make_{kind}_function")))

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
            with _interrupted_between_steps(lambda: False):
                return function(data)

        return step

    def give_back(self, error) -> None:
        """Nothing: the weights are in their variables."""

    def leave(self) -> None:
        for name, (function, followed) in self.functions.items():
            if getattr(self.model, name) is followed:
                untracked(self.model, name, function)
        for kind in self.kinds:
            object.__delattr__(self.model, f"make_{kind}_function")
        self.functions.clear()  # which refer to this, as this does to them


class _Kept(_Whole):
    """Follows the state that Keras' loop on jax hands to its compiled steps and gets from them, too."""

    kinds = ("train", "test", "predict")

    def __init__(self, model):
        self.state = None
        super().__init__(model)
        untracked(model, "jax_state_sync", self.sync)

    def followed(self, function) -> Callable:
        def step(state, iterator):
            self.state = state
            with _interrupted_between_steps(self.is_alive):
                outputs, self.state = function(state, iterator)
            return outputs, self.state

        return step

    def is_alive(self) -> bool:
        return not any(value.is_deleted() for values in self.state for value in values)

    def sync(self) -> None:
        """In place of Keras' own, whose values may be of an epoch before, or gone."""
        if self.state is None or self.model._jax_state_synced:
            return
        for variables, values in zip(carried_variables(self.model, len(self.state)), self.state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self.model._jax_state_synced = True

    def give_back(self, error) -> None:
        if self.state is None:
            return
        if not self.model._jax_state_synced and not self.is_alive():
            error.add_note("The step had begun to replace the weights of the model, which are lost; open it again.")
        self.sync()
        self.model._jax_state = None

    def leave(self) -> None:
        super().leave()
        object.__delattr__(self.model, "jax_state_sync")


@contextmanager
def _interrupted_between_steps(is_alive):
    """Ctrl-C waits while the weights before a step are gone and those after it are not there yet."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    waiting = []

    def wait(*arguments):
        if is_alive():
            handler(*arguments)
        waiting.append(arguments)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if waiting:
        handler(*waiting[0])
