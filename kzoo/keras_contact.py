"""The contact with Keras below its documented surface: what goes past its tracking, and every private name of it.

No other file of kzoo does either, and `tests/test_keras_contact.py` names each private name that is used here, so that
a release of Keras without it is found by that name, not by a model that trains differently.
"""

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dis import opmap
from pathlib import Path
from typing import Any

import keras
from keras.src.saving import saving_lib

from kzoo.interrupts import interrupted_between_steps

RAISE = opmap["RAISE_VARARGS"]  # the instruction of a `raise`
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


@contextmanager
def shapes_shown(shapes):
    """Within it Keras' summary shows shapes of layers that nobody called with tensors of its own, which it needs.

    Args:
        shapes: list of `(layer, shape)`, or name -> shape in place of that.
    """
    kept = [(layer, layer._build_shapes_dict) for layer, _ in shapes]
    for layer, shape in shapes:
        untracked(layer, "_build_shapes_dict", {"shape": shape})
        untracked(layer, "compute_output_shape", lambda shape: shape)
    try:
        yield
    finally:
        for layer, known in kept:
            untracked(layer, "_build_shapes_dict", known)
            vars(layer).pop("compute_output_shape", None)


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


def written_as_h5():
    """Whether Keras asks for a config to put it into a file `.h5`, of a model or of what is in it."""
    from keras.src.backend.common.global_state import get_global_attribute

    return bool(get_global_attribute("use_legacy_config"))


def give_state(model, give, training):
    """Hand over, one by one, all that Keras keeps of a model in a file.

    Args:
        model: a built model of kzoo, compiled or not.
        give: function of a name, that of the tensor in a `.weights.h5`, and an array.
        training: whether what `compile` has attached is of it: the optimizer, the loss with its state, and the metrics,
            which count what a running epoch has seen.
    """
    left_out = [model.optimizer, model.objective, *model.metrics] if model.compiled and not training else []
    store, seen = _Store((), give), {id(each) for each in left_out}
    saving_lib._save_state(model, weights_store=store, assets_store=None, inner_path="", visited_saveables=seen)


def take_state(model, tensors):
    """Fill a model with what `give_state` gave or, of a path, with the content of a `.weights.h5`.

    Args:
        model: of the config of the other.
        tensors: path of an h5 file; or names to iterate over, with a method `read` of a name that gives an array.

    Returns:
        list of the names that nothing has read, sorted.

    Raises:
        ValueError: a tensor that is missing or does not fit.
        OSError: what h5 raises for a file that is none.
    """
    store, failed, said = _H5(tensors) if isinstance(tensors, Path) else _Store(tensors), set(), {}
    of_walk = {"visited_saveables": set(), "failed_saveables": failed, "error_msgs": said}
    try:
        saving_lib._load_state(model, weights_store=store, assets_store=None, inner_path="", **of_walk)
        if failed:
            owner, error = next(iter(said.values()))
            raise ValueError(f"{getattr(owner, 'path', type(owner).__name__)}: {error}") from error
        return sorted(set(store.names()) - store.read)
    finally:
        store.close()


class _H5(saving_lib.H5IOStore):
    """Keras' reader of h5 files, which knows what of one was read."""

    def __init__(self, path):
        super().__init__(path, mode="r")
        self.read, self.at = set(), ""

    def get(self, path):
        self.at = path
        return super().get(path)

    def __getitem__(self, key):
        self.read.add(f"{self.at}/vars/{key}".removeprefix("/"))
        return super().__getitem__(key)

    def names(self):
        found = []
        self.h5_file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
        return found


class _Store(saving_lib.H5IOStore):
    """The tensors of any other file, in the form in which Keras' walk through a model asks for them."""

    def __init__(self, tensors, give=None):  # there is no file that the base could open
        self.tensors, self.give, self.read, self.at, self.places = tensors, give, set(), "", {}
        for name in tensors:
            path, _, key = f"/{name}".rpartition("/vars/")
            self.places.setdefault(path.removeprefix("/"), {})[key] = name

    def __bool__(self):
        return True

    def make(self, path, metadata=None):
        self.at = path
        return self

    get = make

    def has_path(self, path):
        return any(place == path or place.startswith(f"{path}/") for place in self.places)

    def close(self):
        """Nothing: who opened the tensors closes them."""

    def names(self):
        return self.tensors

    def keys(self):
        return self.places.get(self.at, {}).keys()

    def __len__(self):
        return len(self.keys())

    def __contains__(self, key):
        return key in self.keys()

    def __getitem__(self, key):
        name = self.places[self.at][key]
        self.read.add(name)
        return self.tensors.read(name)

    def __setitem__(self, key, value):
        self.give(f"{self.at}/vars/{key}".removeprefix("/"), keras.ops.convert_to_numpy(value))


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


@contextmanager
def as_said():
    """Around the call of a layer: what kzoo itself says is raised as it was said.

    Keras puts the errors of a `call` into pages of its own, with the values of all arguments, once for each layer that
    holds another. That helps where a backend failed, and hides a sentence that says what came and what to do.

    Example:
        >>> with as_said():
        ...     super().__call__(*arguments, **keywords)
    """
    try:
        yield
    except Exception as error:
        said, text = error, str(error)
        while said is not None and not (_said_by_kzoo(said) and str(said) in text):
            said = said.__context__
        if said is None:
            raise
        said._keras_call_info_injected = True  # so that layers around this one leave it alone
        raise said from said.__cause__


def _said_by_kzoo(error):
    """Whether an error comes from a `raise` in a file of kzoo, not from what such a file has called."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or place.tb_frame.f_globals.get("__name__", "").split(".")[0] != "kzoo":
        return False
    return place.tb_frame.f_code.co_code[place.tb_lasti] == RAISE


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
    if "steps_followed" in vars(model):
        with _as_if_not_asked(model), _without_values():
            yield
        return
    followed = _StepsOfJax(model) if keras.config.backend() == "jax" else _Steps(model)
    try:
        with _without_values():
            yield
    finally:
        followed.leave()


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
    count = len(model.weights)
    if vars(model).get("weights_in_steps", count) != count:
        model.train_function = model.test_function = model.predict_function = None
    untracked(model, "weights_in_steps", count)


class _Steps:
    """Follows the steps that Keras makes for a model: none is left half done."""

    def __init__(self, model):
        self.model, self.functions = model, {}
        untracked(model, "steps_followed", True)
        self.replaced = ["steps_followed"]
        for kind in {"jax": ("train", "test", "predict"), "torch": ("train",)}.get(keras.config.backend(), ()):
            name = f"make_{kind}_function"
            self.replace(name, self.making(kind, getattr(model, name)))

    def replace(self, name, method):
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
                return function(data)

        return step

    def leave(self):
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

    def variables(self, count):
        if count not in self.carried:
            self.carried[count] = carried_variables(self.model, count)
        return self.carried[count]

    def values(self, purge_model_variables=False, **lists):
        """In place of Keras' own, which takes them out of the variables."""
        return tuple([each.value for each in variables] for variables in self.variables(sum(lists.values())))

    def followed(self, function) -> Callable:
        def step(state, iterator):
            found = []

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

    def keep(self, state):
        for variables, values in zip(self.variables(len(state)), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable._value = value  # `assign` would look at each
        self.model._jax_state_synced = True  # the next step takes them from there
