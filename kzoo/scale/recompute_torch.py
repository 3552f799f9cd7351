"""Micro-batches on torch: one autograd function that runs each of them again when gradients are asked for."""

from contextlib import contextmanager
from functools import cache
from typing import Any

from keras import ops

from kzoo.scale.micro_batches import ADDED
from kzoo.scale.peak import give_back
from kzoo.types import Tensor


def joined(part, batch, most) -> dict[str, Tensor]:
    """Outputs of a batch by name, made in micro-batches of at most `most` rows; see `micro_batches.forward`."""
    import torch

    run = Run(part, batch, most)
    # a compiler would unroll the loop, and lose count of the random numbers
    apart = torch.compiler.disable(_recomputed().apply if torch.is_grad_enabled() else _without_gradients)
    tensors = apart(run, *(each.value for each in part.trained))
    for variable, value in run.state:
        variable.assign(value)
    return dict(zip(run.names, tensors))


class Run:
    """One batch on its way through the model, and back.

    Args:
        part: a `Part`.
        batch: dict of tensors.
        most: rows of a micro-batch.

    Attributes:
        starts: of each micro-batch what it starts from: pairs for `part`, and the state of torch's random numbers.
        state: pairs, after the last one.
        names: of the outputs.
        all_alike: whether some outputs are the same without the others: nothing is drawn, no batch norm sees the rows
            that go through a tower together, and no layer adds a loss, which has no name but its place.
    """

    def __init__(self, part, batch, most):
        batch = {name: ops.convert_to_tensor(each) for name, each in batch.items()}  # arrays, of a batch on its own
        first = next(iter(batch.values()))
        self.part, self.rows, self.device = part, len(first), first.device
        self.count = -(-self.rows // most)
        self.parts = [
            {name: each[number :: self.count] for name, each in batch.items()} for number in range(self.count)
        ]
        self.starts, self.state, self.names, self.all_alike = [], [], [], False

    def forward(self) -> tuple:
        """Outputs of the batch, in the order of `names`."""
        import torch

        whole, numbers = {}, _random_state(self.device)
        for first, rows in enumerate(self.parts):
            self.starts.append((self.state, numbers))
            outputs, state = self.part(rows, self.state)
            self.state = [(each, new) for each, new in zip(self.part.state, state) if new is not None]
            numbers = _random_state(self.device)
            if first == 0:
                # what moves has a copy, for the variables themselves will have moved when it runs again
                self.starts[0] = [(each, each.value.detach().clone()) for each, _ in self.state], self.starts[0][1]
                drawn = not all(map(torch.equal, self.starts[0][1], numbers))
                self.all_alike = not (drawn or self.state or any(name.startswith(ADDED) for name in outputs))
                whole = {name: each.new_empty((self.rows, *each.shape[1:])) for name, each in outputs.items()}
            for name in whole:
                whole[name][first :: self.count] = outputs.pop(name)
        self.names = list(whole)
        self._give_back()
        return tuple(whole.values())

    def backward(self, weights, upstream) -> list:
        """Of gradients of the outputs those of the weights, None where there is none."""
        import torch

        upstream = {name: each for name, each in zip(self.names, upstream) if each is not None}
        total, again = [None] * len(weights), None
        self._give_back()  # of the loss
        for first, (rows, (state, numbers)) in enumerate(zip(self.parts, self.starts)):
            with torch.enable_grad(), _random_state_of(numbers, self.device):
                outputs, _ = self.part(rows, state, again)
            learnt = [name for name in upstream if outputs[name].requires_grad]
            if not learnt:
                return total
            if self.all_alike:  # a locked tower or a teacher need not run again
                upstream, again = {name: upstream[name] for name in learnt}, tuple(learnt)
            ends = [outputs[name] for name in learnt]
            found = torch.autograd.grad(
                ends, weights, [upstream[name][first :: self.count] for name in learnt], allow_unused=True
            )
            del outputs, ends
            total = [_sum(old, new, in_place=first > 1) for old, new in zip(total, found)]
            del found  # else it lies among the activations of the next micro-batch
            self._give_back()
        return total

    def _give_back(self):
        """Only small tensors remain of a micro-batch, between which an allocator of the host would keep what lay there:
        twice the memory that is ever held at a time."""
        if self.device.type == "cpu":
            give_back()


@cache
def _recomputed():
    import torch

    class Recomputed(torch.autograd.Function):
        """Outputs of a `Run` as a function of the weights."""

        @staticmethod
        def forward(context, run, *weights) -> tuple:
            outputs = run.forward()
            context.run = run
            context.save_for_backward(*weights)
            context.set_materialize_grads(False)
            context.mark_non_differentiable(*(each for each in outputs if not each.is_floating_point()))
            return outputs

        @staticmethod
        def backward(context, *upstream) -> tuple:
            if all(each is None for each in upstream):
                return None, *[None] * len(context.saved_tensors)
            return None, *context.run.backward(context.saved_tensors, upstream)

    return Recomputed


def _without_gradients(run, *weights):
    return run.forward()


def _sum(old, new, in_place):
    if old is None or new is None:
        return new if old is None else old
    return old.add_(new) if in_place else old + new  # of the first two one may belong to two weights


def _random_state(device) -> list[Any]:
    """The state of torch's own random numbers, on the host and on a device."""
    import torch

    states = [torch.get_rng_state()]
    return states if device.type == "cpu" else [*states, torch.get_device_module(device).get_rng_state(device)]


@contextmanager
def _random_state_of(states, device):
    """Within it torch draws from an earlier state, afterwards as if nothing had been drawn."""
    import torch

    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.set_rng_state(states[0])
        if device.type != "cpu":
            torch.get_device_module(device).set_rng_state(states[1], device)
        yield
