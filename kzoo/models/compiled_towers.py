"""Towers as `torch.compile` makes them, for a model that is compiled with `jit_compile=True` on torch."""

import keras

from kzoo.keras_contact import outputs_hidden, show_outputs


class CompiledTowers:
    """Calls towers, each as a program of its own: compiled at the first call with arrays of some shapes.

    `torch.compile` reads Python, of which Keras has much around each layer. So the operations of a tower are recorded
    while it is called once, and these are compiled: one graph, which asks for nothing but its arrays and weights.

    Weights and arrays come in anew at each call, and gradients go to both. States that a call moves, as those of batch
    norms, are moved. A tower that draws random numbers is called as it is, as a program would draw the same ones; so is
    one whose layers add losses.

    Example:
        >>> call = CompiledTowers()
        >>> call(model.image_encoder, images, training=False)["embedding"].shape
        (8, 512)
    """

    def __init__(self):
        self.programs = {}

    def __call__(self, tower, *arrays, training=None, **options) -> dict:
        import torch

        draws = training and len(tower.variables) > len(tower.weights)  # by the seeds
        if draws or torch.compiler.is_compiling() or not _has_numbers(arrays[0]):
            return tower(*arrays, training=training, **options)
        named = {number: each for number, each in enumerate(arrays) if each is not None} | options
        rest = {name: each for name, each in named.items() if isinstance(each, (bool, int, tuple))}
        tensors = {name: keras.ops.convert_to_tensor(each) for name, each in named.items() if name not in rest}
        shapes = ((name, tuple(each.shape), each.dtype, each.device) for name, each in tensors.items())
        device = next(iter(tensors.values())).device.type
        cast_to = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None  # within the program
        key = (id(tower), bool(training), cast_to, *shapes, *((name, repr(each)) for name, each in rest.items()))
        if key not in self.programs:
            self.programs[key] = _Program(tower, bool(training), tensors, rest, len(arrays))
        program = self.programs[key]
        if program.adds_losses:
            return tower(*arrays, training=training, **options)
        found = program(tensors)
        show_outputs(tower, found)
        return found


def _has_numbers(x):
    """Whether an array is not one of those by which Keras asks for shapes."""
    return keras.ops.is_tensor(x) and x.device.type != "meta"


class _Program:
    """A tower for arrays of some shapes.

    Args:
        tower: of which all weights are made.
        training: as ever.
        tensors, rest: name of an option, or number of an array -> what is given.
        count: of the arrays, those that are None counted.
    """

    def __init__(self, tower, training, tensors, rest, count):
        import torch
        from torch.fx.experimental.proxy_tensor import make_fx

        self.tower, self.variables = tower, tower.variables
        self.outputs, self.moved, self.adds_losses = [], [], False

        def plain(*given):
            values, arrays = given[: len(self.variables)], dict(zip(tensors, given[len(self.variables) :]))
            arrays |= rest
            with keras.StatelessScope(list(zip(self.variables, values)), collect_losses=True) as scope:
                before = [scope.get_current_value(each) for each in self.variables]
                options = {name: each for name, each in arrays.items() if isinstance(name, str)}
                found = tower(*(arrays.get(number) for number in range(count)), training=training, **options)
                after = [scope.get_current_value(each) for each in self.variables]
            self.outputs, self.adds_losses = list(found), bool(scope.losses)
            self.moved = [number for number, (new, old) in enumerate(zip(after, before)) if new is not old]
            return [*found.values(), *(after[number] for number in self.moved)]

        with torch.no_grad(), outputs_hidden(tower):
            graph = make_fx(plain)(*self._values(), *tensors.values())
        self.run = torch.compile(graph, dynamic=False)

    def _values(self):
        return [each.value for each in self.variables]

    def __call__(self, tensors) -> dict:
        found = self.run(*self._values(), *tensors.values())
        for number, value in zip(self.moved, found[len(self.outputs) :]):
            self.variables[number].assign(value)
        return dict(zip(self.outputs, found))
