"""Where the processes of PyTorch meet: each says what it is about to do, and none waits for one that does otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

# What a process can be about to do; all exchange the same four numbers, so that two that differ understand each other.
TRAIN, MEASURE, BEGIN, END, BEGIN_MEASURE, END_MEASURE, COMPARE, AGREE, SAVE = DOINGS = (
    "train a batch",
    "measure a batch",
    "begin to train",
    "end an epoch",
    "begin to measure",
    "end a measurement",
    "compare its weights",
    "agree on a number",
    "save",
)


@dataclass
class Group:
    """The processes that work together, as one of them sees it.

    Attributes:
        index: of this one.
        count: of all.
        rows: of each process in the batch that is computed now.
        counts_here: whether the rows that this process computes now are of the batch; else they stand in for none.
        alone: whether this process does something for all, and the others wait until it is done.
    """

    index: int
    count: int
    rows: tuple | list = ()
    counts_here: bool = True
    alone: bool = False

    @contextmanager
    def waiting(self) -> Iterator:
        """Around what waits for the others: where one has ended, that is said."""
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"process {self.index} of {self.count} waited for the others, of which one has ended or does not "
                "answer; what that one says is the cause."
            ) from error

    def met(self, doing, *numbers) -> list:
        """Wait until all processes are about to do the same.

        Args:
            doing: one of `DOINGS`.
            numbers: at most three whole numbers.

        Returns:
            list of the lists of numbers of each process.

        Raises:
            RuntimeError: another process is about to do something else, or has ended.
        """
        import torch
        import torch.distributed as dist

        if self.alone:
            raise RuntimeError(f"process {self.index} is to {doing} while it saves and the others wait; do it before.")
        said = [DOINGS.index(doing), *map(int, numbers), *[0] * (3 - len(numbers))]
        own = torch.tensor(said, dtype=torch.int64)
        every = [torch.empty_like(own) for _ in range(self.count)]
        with self.waiting():
            dist.all_gather(every, own)
        found = [each.tolist() for each in every]
        if len({each[0] for each in found}) > 1:
            first = {}
            for index, each in enumerate(found):
                first.setdefault(DOINGS[each[0]], index)
            listed = ", ".join(f"process {index} is about to {each}" for each, index in first.items())
            raise RuntimeError(
                f"the processes do not do the same: {listed}. Call fit, evaluate, predict and what saves on each of "
                "them, with data of the same number of batches, and let no callback stop on one alone."
            )
        return [each[1 : 1 + len(numbers)] for each in found]

    def agreed(self, value) -> float:
        """The number that process 0 has, on all of them."""
        import torch
        import torch.distributed as dist

        self.met(AGREE)
        number = torch.tensor(float(value), dtype=torch.float64)
        with self.waiting():
            dist.broadcast(number, 0)
        return float(number)

    def of_all(self, array) -> list:
        """A numpy array as each process has it, in their order: of one shape and dtype on all."""
        import torch
        import torch.distributed as dist

        self.met(AGREE)
        own = torch.from_numpy(array.copy())
        every = [torch.empty_like(own) for _ in range(self.count)]
        with self.waiting():
            dist.all_gather(every, own)
        return [each.numpy() for each in every]

    def once(self, action) -> Any:
        """Let process 0 do something, such as writing a file, while the others wait; all get what it gives.

        Args:
            action: function of nothing; what it gives can be pickled.

        Raises:
            RuntimeError: on the others, where process 0 has failed, which raises its own error.
        """
        import torch.distributed as dist

        if self.alone:
            return action()
        self.met(SAVE)
        said, failed = [None, None], None
        if self.index == 0:
            self.alone = True
            try:
                said[0] = action()
            except BaseException as error:  # the others are told of Ctrl-C, too
                failed, said[1] = error, f"{type(error).__name__}: {error}"
            finally:
                self.alone = False
        with self.waiting():
            dist.broadcast_object_list(said, 0)
        if failed is not None:
            raise failed
        if said[1] is not None:
            raise RuntimeError(f"process 0, which saves, has failed: {said[1]}")
        return said[0]

    def send(self, variables, doing) -> None:
        """Give variables the values that they have on process 0.

        Args:
            variables: list of `keras.Variable`, on all processes in the same order.
            doing: one of `DOINGS`.

        Raises:
            ValueError: the processes have other variables.
        """
        import torch
        import torch.distributed as dist

        shapes = crc32(repr([(tuple(each.shape), each.dtype) for each in variables]).encode())
        for index, (number, other) in enumerate(self.met(doing, len(variables), shapes)):
            if (number, other) != (len(variables), shapes):
                raise ValueError(
                    f"process {index} has a model of {number} variables and process {self.index} one of "
                    f"{len(variables)}, or of other shapes; build and compile the same model on all of them."
                )
        with torch.no_grad(), self.waiting():
            for each in variables:
                value = each.value.detach().clone(memory_format=torch.contiguous_format)
                dist.broadcast(value, 0)
                each.assign(value)

    def check_alike(self, variables) -> None:
        """Stops where a variable has other values on another process.

        Raises:
            RuntimeError: which variable that is.
        """
        import torch
        import torch.distributed as dist

        sums = np.zeros((len(variables), 2))
        for row, each in enumerate(variables):
            value = each.value.detach().double()
            sums[row] = float(value.sum()), float(value.square().sum())
        own = torch.from_numpy(sums)
        every = [torch.empty_like(own) for _ in range(self.count)]
        self.met(COMPARE, len(variables))
        with self.waiting():
            dist.all_gather(every, own)
        for index, other in enumerate(every):
            length = every[0][:, 1].sqrt()
            apart = (other[:, 0] - every[0][:, 0]).abs() > 1e-4 * length
            apart |= (other[:, 1].sqrt() - length).abs() > 1e-5 * length
            if apart.any():
                path = variables[int(apart.nonzero()[0])].path
                raise RuntimeError(
                    f"{path} has other values on process {index} than on process 0: something changes it by the rows "
                    "of one process, or by chance; train this model on one device."
                )
