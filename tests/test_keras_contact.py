"""What kzoo touches of Keras below its documented surface: all of it in one room, and all of it still there."""

import ast
import inspect
import re
from importlib import import_module
from io import BytesIO
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.saving import saving_lib

from kzoo.keras_contact import attach, untracked

ROOT = Path(__file__).parent.parent
CONTACT = sorted((ROOT / "kzoo" / "keras_contact").glob("*.py"))
SOURCES = [path for room in ("kzoo", "presets", "export") for path in sorted(ROOT.glob(f"{room}/**/*.py"))]


class Line(keras.Model):
    """One dense layer."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.build((None, 2))

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)


def compiled():
    model = Line()
    model.compile("sgd", "mse")
    return model


def fitted():
    model = compiled()
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    return model


def built_adam():
    optimizer = keras.optimizers.Adam()
    optimizer.build(Line().trainable_variables)
    return optimizer


def wrapped_error():
    with pytest.raises(ZeroDivisionError) as caught:
        keras.layers.Lambda(lambda x: x * (1 // 0))(np.ones(1))
    return caught.value


def built_norm():
    norm = keras.layers.BatchNormalization()
    norm.build((None, 2))
    return norm


class Constants:
    """The strings that a function names, as attributes: keywords that its signature does not have."""

    def __init__(self, function):
        vars(self).update((each, True) for each in inspect.unwrap(function).__code__.co_consts if isinstance(each, str))


# every private name of Keras in the room -> the object that must have it, and the backend where only one does
PRIVATE = {
    "_tracker": (compiled, None),
    "_track_variables": (compiled, "torch"),
    "_untrack_variable": (compiled, None),
    "_flatten_layers": (compiled, None),
    "_build_shapes_dict": (compiled, None),
    "_loss_tracker": (compiled, None),
    "_moments": (built_norm, None),
    "_reduction_axes": (built_norm, None),
    "_non_trainable_variables": (lambda: compiled().dense, None),
    "_modules": (compiled, "torch"),
    "_trainable_variables": (lambda: compiled().optimizer, None),
    "_apply_weight_decay": (lambda: compiled().optimizer, None),
    "_forward_hooks": (lambda: compiled().dense, "torch"),
    "_forward_pre_hooks": (lambda: compiled().dense, "torch"),
    "_backward_hooks": (lambda: compiled().dense, "torch"),
    "_backward_pre_hooks": (lambda: compiled().dense, "torch"),
    "_remat_mode": (lambda: compiled().dense, None),
    "_call_has_training_arg": (lambda: compiled().dense, None),
    "_keras_mask": (lambda: Constants(import_module("keras.src.backend.common.masking").set_keras_mask), None),
    "_initialize": (lambda: compiled().dense.kernel, None),
    "_initializer": (lambda: compiled().dense.kernel, None),
    "_deferred_initialize": (lambda: compiled().dense.kernel, None),
    "_momentums": (built_adam, None),
    "_velocities": (built_adam, None),
    "_get_variable_index": (built_adam, None),
    "_var_key": (lambda: compiled().optimizer, None),
    "_parallel_update_step": (lambda: keras.optimizers.AdamW(), "torch"),
    "_backend_update_step": (lambda: compiled().optimizer, None),
    "_use_weight_decay": (lambda: compiled().optimizer, None),
    "_all_reduce_sum_gradients": (lambda: compiled().optimizer, "tensorflow"),
    "_distribute_data": (lambda: import_module("keras.src.backend.jax.trainer"), "jax"),
    "_save_state": (lambda: saving_lib, None),
    "_load_state": (lambda: saving_lib, None),
    "_keras_call_info_injected": (wrapped_error, None),
    "_jax_state": (fitted, "jax"),
    "_value": (lambda: compiled().dense.kernel, "jax"),
    "_jax_state_synced": (compiled, "jax"),
    "_get_jax_state": (compiled, "jax"),
    "_compile_loss": (fitted, None),
    "_compile_metrics": (fitted, None),
    "_metrics": (fitted, None),
    "_set_monitor_op": (lambda: keras.callbacks.EarlyStopping(), None),
    "_use_cached_eval_dataset": (lambda: Constants(keras.Model.evaluate), None),
}
# documented nowhere, though without an underscore
UNDOCUMENTED = {
    "_maybe_symbolic_build": (compiled, "tensorflow"),  # which a model of kzoo overrides
    "_should_torch_compile": (compiled, "torch"),
    "_distributed_tf_update_step": (lambda: compiled().optimizer, "tensorflow"),  # as is this of an optimizer
    "get_device": (lambda: import_module("keras.src.backend.torch.core"), "torch"),
    "current_call_ctx": (lambda: Constants(keras.layers.Layer._get_call_context), None),
    "get_value": (lambda: import_module("keras.src.layers.layer").CallContext, None),
    "set_value": (lambda: import_module("keras.src.layers.layer").CallContext, None),
    "jax_state_sync": (compiled, "jax"),
    "train_function": (compiled, None),
    "test_function": (compiled, None),
    "predict_function": (compiled, None),
    "make_train_function": (compiled, None),
    "make_test_function": (compiled, None),
    "make_predict_function": (compiled, None),
    "track": (lambda: compiled()._tracker, None),
    "untrack": (lambda: compiled()._tracker, None),
    "lock": (lambda: compiled()._tracker, None),
    "unlock": (lambda: compiled()._tracker, None),
    "current_path": (lambda: import_module("keras.src.backend.common.name_scope"), None),
    "H5IOStore": (lambda: saving_lib, None),
    "h5_file": (lambda: saving_lib.H5IOStore(BytesIO(), mode="w"), None),
    "global_state": (lambda: import_module("keras.src.random.seed_generator"), None),
    "GLOBAL_SEED_GENERATOR": (lambda: import_module("keras.src.random.seed_generator"), None),
    "global_seed_generator": (lambda: import_module("keras.src.random.seed_generator"), None),
    "in_stateless_scope": (lambda: import_module("keras.src.backend.common.stateless_scope"), None),
    "uninitialized_variables": (
        lambda: Constants(import_module("keras.src.backend.common.variables").initialize_all_variables),
        None,
    ),
    "KerasVariable": (lambda: import_module("keras.src.backend.common"), None),
    "get_global_attribute": (lambda: import_module("keras.src.backend.common.global_state"), None),
    "add_variable_from_reference": (lambda: compiled().optimizer, None),
    "save_model": (lambda: saving_lib, None),
    "save_weights_only": (lambda: saving_lib, None),
    "get_autocast_scope": (lambda: keras.src.backend, None),
    "save_model_to_hdf5": (lambda: import_module("keras.src.legacy.saving.legacy_h5_format"), None),
}


@pytest.mark.parametrize("name", [*PRIVATE, *UNDOCUMENTED])
def test_keras_still_has(name):
    make, backend = (PRIVATE | UNDOCUMENTED)[name]
    if backend in (None, keras.config.backend()):
        owner = make()
        assert name in dir(owner), f"Keras {keras.__version__} has no {type(owner).__name__}.{name}"


def private_names(path):
    """Private names that a file has as attributes or writes as strings."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    parts = {part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    names = [node.attr for node in nodes if isinstance(node, ast.Attribute)]
    names += [str(node.value) for node in nodes if isinstance(node, ast.Constant) and node not in parts]
    return {name for name in names if re.fullmatch(r"_[a-z]\w*", name)}


def test_every_private_name_of_keras_in_the_room_is_named_here():
    assert set().union(*map(private_names, CONTACT)) == set(PRIVATE)


def test_no_other_file_touches_what_is_private_to_keras():
    model = compiled()
    objects = [
        model,
        model.dense,
        model.optimizer,
        keras.metrics.Mean(),
        model.dense.kernel,
        keras.callbacks.Callback(),
    ]
    of_keras = {name for each in objects for name in {*dir(each), *vars(each)}}
    of_keras -= {"_layers", "_shape"}  # which end names, of what models give and what `build` takes
    found = []
    for path in SOURCES:
        if path in CONTACT:
            continue
        text = path.read_text()
        words = [word for word in ("keras.src", "object.__setattr__", "jax_state_sync") if word in text]
        found += [f"{path.relative_to(ROOT)}: {word}" for word in [*words, *(private_names(path) & of_keras)]]
    assert not found


def test_what_is_untracked_is_neither_trained_nor_wrapped():
    model, other = compiled(), keras.layers.Dense(3)
    other.build((None, 2))
    untracked(model, "other", other)
    untracked(model, "layout", {"a": 1})
    assert model.other is other and type(model.layout) is dict and len(model.weights) == 2


def test_an_attached_part_takes_the_place_of_the_one_before():
    model = compiled()
    for width in (3, 4):
        head = keras.layers.Dense(width)
        head.build((None, 2))
        attach(model, head=head, seen=keras.metrics.Mean(name="seen"))
        assert model.head is head and len(model.weights) == 4
        assert [metric.name for metric in model.metrics].count("seen") == 1
    attach(model, head=None)
    assert len(model.weights) == 2
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
