"""PyTorch: the processes that torchrun made, each of which computes its rows of every batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keras import ops

from kzoo.keras_contact import batch_norms, moments_taken
from kzoo.scale import one_device
from kzoo.scale.draws import STRIDE, drawing
from kzoo.scale.meeting import BEGIN, BEGIN_MEASURE, END, END_MEASURE, MEASURE, TRAIN, Group
from kzoo.scale.rows import PART, cut
from kzoo.types import Tensor

BUCKET = 25 * 2**20  # bytes of gradients that are averaged at once


_GROUPS = []  # the one that `started` has joined, as torch itself keeps its process group


# -- start --
@contextmanager
def started(devices=None) -> Iterator:
    """What `kzoo.scale.start` does: joins the processes of torchrun; of one process it does nothing."""
    import torch.distributed as dist

    if _GROUPS:
        raise RuntimeError("kzoo.scale.start() is open already; leave it before it is called again.")
    there = dist.is_available() and dist.is_initialized()
    count = dist.get_world_size() if there else int(os.environ.get("WORLD_SIZE", 1))
    if devices not in (None, count):
        there_are = "there is one process" if count == 1 else f"torchrun made {count} processes"
        raise ValueError(
            f"devices is {devices}, but {there_are}; on PyTorch each device has a process of its own: torchrun "
            f"--nproc-per-node {devices} script.py, or kzoo train --devices {devices}."
        )
    if count == 1:
        yield
        return
    _join(there)
    _GROUPS.append(Group(dist.get_rank(), count))
    try:
        yield
    finally:
        _GROUPS.clear()
        if not there:
            dist.destroy_process_group()  # where this one fails, the others find that it is gone


def _join(there):
    import torch
    import torch.distributed as dist

    device = ops.convert_to_tensor(0.0).device.type
    if device not in ("cpu", "cuda"):
        raise NotImplementedError(
            f"kzoo.scale.start() joins processes on cpu and cuda, but Keras computes on {device}."
        )
    if device == "cuda":
        local, known = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if local >= known:
            raise ValueError(
                f"this is process {local} of this machine, which has {known} GPUs; start as many processes as there "
                f"are: torchrun --nproc-per-node {known}."
            )
        torch.cuda.set_device(local)
    wanted = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"  # of the CPU, too: numbers of rows wait for no GPU
    if not there:
        dist.init_process_group(wanted)
    elif not {"cpu", device} <= _kinds():
        raise ValueError(
            f"the process group that was made before has no collectives for cpu and {device}; leave it to "
            f"kzoo.scale.start(), or make it by torch.distributed.init_process_group({wanted!r})."
        )


def _kinds():
    """Kinds of devices whose tensors the process group moves."""
    import torch.distributed as dist

    return {each.split(":")[0] for each in str(dist.get_backend_config()).split(",")}


def group() -> Group | None:
    """The group that was joined, or None."""
    return _GROUPS[-1] if _GROUPS else None


def process() -> tuple[int, int]:
    """This process, from 0, and how many there are."""
    here = group()
    return (0, 1) if here is None else (here.index, here.count)


def count() -> int:
    """Among how many processes a batch is shared."""
    return process()[1]


parts_read = process  # data sets give each process its own rows


def check(model) -> None:
    """Stops at what shares a model among devices in another way than `kzoo.scale.start`.

    Raises:
        NotImplementedError: a process group that was not joined, FSDP, a step that `torch.compile` shall compile.
    """
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        return
    if group() is None and dist.get_world_size() > 1:
        raise NotImplementedError(
            f"torch.distributed shares each batch among {dist.get_world_size()} devices, and each would compare its "
            "pairs with its own part only, which is another loss; build, compile and train within `with "
            "kzoo.scale.start():`, which joins them, or train on one device."
        )
    from torch.distributed.fsdp import FSDPModule

    if any(isinstance(each, FSDPModule) for each in model.modules()):
        raise NotImplementedError(
            "the model was given to torch's fully_shard, which puts sharded parameters in the place of those that "
            "Keras trains and saves; leave it out: within kzoo.scale.start() every process holds all weights. Weights "
            "that are sharded among devices there are on jax, with keras.distribution.ModelParallel."
        )
    if group() is not None and model.compiled and model.jit_compile:
        raise NotImplementedError(
            "jit_compile=True has torch.compile make the towers, which was never tried with other processes; leave it "
            "out of compile within kzoo.scale.start()."
        )


# -- within a step --
class Part(one_device.SharedPart):
    """The rows of one process; see `kzoo.scale.one_device.SharedPart`."""

    def __init__(self, batch):
        import torch

        first = next(iter(batch.values()))
        real, _, likeness = batch[PART][0].tolist() if PART in batch else (1, first.shape[0], 0)
        self.computed = first.shape[0]
        found = group().met(TRAIN if torch.is_grad_enabled() else MEASURE, self.computed * real, likeness)
        if len({each[1] for each in found}) > 1:
            raise RuntimeError(
                "the processes read different data, of which each was to take its part: give all of them the same, in "
                "the same order (equal seeds, no shuffling of their own), or say of a data set that gives every "
                "process rows of its own by_process = True."
            )
        self.counts = [each[0] for each in found]
        self.batch = {name: each for name, each in batch.items() if name != PART}
        self.rows = self.own = sum(self.counts)
        group().rows, group().counts_here = self.counts, bool(real)

    def rows_of_all(self, tensor, axis) -> Tensor:
        from kzoo.scale.torch_gather import gathered

        return gathered(tensor, axis, self.counts, group().index)


def part_of(batch) -> one_device.Part:
    """The part of a batch that this process was given."""
    return one_device.Part(batch) if group() is None else Part(batch)


shared = one_device.shared  # gradients are averaged, so each process differentiates the loss itself


def averaged(gradients) -> list:
    """The mean over the processes; None where it is None on all of them."""
    import torch

    here = group()
    if here is None or not gradients:
        return gradients
    found, kinds = _filled(gradients), {}
    for place, each in enumerate(found):
        if each is not None:
            kinds.setdefault((str(each.dtype), str(each.device)), []).append(place)
    with torch.no_grad(), here.waiting():
        for kind in sorted(kinds):
            for bucket in _buckets(kinds[kind], found):
                means = _means([found[place] for place in bucket], here.count)
                for place, mean in zip(bucket, means):
                    # in its own memory, unless that is one number for many
                    found[place] = found[place].copy_(mean) if found[place].is_contiguous() else mean
    return found


def _filled(gradients):
    """Gradients with zeros for those that only other processes have."""
    import torch
    import torch.distributed as dist

    own = torch.tensor([each is not None for each in gradients], dtype=torch.uint8)
    every = [torch.empty_like(own) for _ in range(group().count)]
    with group().waiting():
        dist.all_gather(every, own)
        there = torch.stack(every)
        if bool((there == own).all()):
            return [*gradients]
        kinds = [None] * group().count
        dist.all_gather_object(kinds, [None if each is None else (each.shape, each.dtype) for each in gradients])
    device, found = ops.convert_to_tensor(0.0).device, []
    for each, of_all in zip(gradients, zip(*kinds)):
        known = next((kind for kind in of_all if kind is not None), None)
        if each is None and known is not None:
            each = torch.zeros(known[0], dtype=known[1], device=device)
        found.append(each)
    return found


def _buckets(places, gradients):
    """Places of gradients that are averaged together."""
    found, size = [], 0
    for place in places:
        found.append(place)
        size += gradients[place].numel() * gradients[place].element_size()
        if size >= BUCKET:
            yield found
            found, size = [], 0
    if found:
        yield found


def _means(gradients, count):
    import torch
    import torch.distributed as dist

    flat = torch.cat([each.reshape(-1) for each in gradients])
    dist.all_reduce(flat)
    parts = (flat / count).split([each.numel() for each in gradients])
    return [part.view(each.shape) for part, each in zip(parts, gradients)]


@contextmanager
def whole_statistics(model) -> Iterator:
    """Within it batch norms of a model take their statistics from the rows of all processes."""
    here = group()
    norms = [] if here is None else batch_norms(model)
    if not norms:
        yield
        return
    from kzoo.scale.torch_gather import whole_moments

    size = model.micro_batch_size
    if size is not None and len({-(-rows // size) for rows in here.rows}) > 1:
        raise NotImplementedError(
            f"a batch of {sum(here.rows)} rows makes other numbers of micro-batches of {size} on {here.count} "
            "processes, whose batch norms wait for each other; give a batch_size that both divide, and leave out "
            "what does not fill a batch."
        )
    with moments_taken(norms, lambda x, axes, mask: whole_moments(x, axes, mask, here.counts_here)):
        yield


@contextmanager
def own_draws(model) -> Iterator:
    """Within it dropout of a model draws other numbers than on the other processes, which have other rows.

    What its loss draws stays the same on all of them. So do the seeds that are saved: those of process 0.
    """
    import torch

    here = group()
    if here is None or not here.index:
        yield
        return
    seeds = drawing(model)
    shift = torch.tensor([(here.index * STRIDE) % 2**31, 0], dtype=torch.int32)
    _moved(seeds, shift)
    try:
        yield
    finally:
        _moved(seeds, -shift)


def _moved(seeds, by):
    for each in seeds:
        each.assign(each.value + by.to(each.value))  # whose whole numbers go round


# -- around `fit` and the others --
def begun(model, training) -> None:
    """All processes go on from the weights of process 0, and each draws random numbers of its own from here on.

    Args:
        model: that they train or measure.
        training: whether they train.
    """
    import torch

    here = group()
    if here is None:
        return
    if training and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    optimizer = model.optimizer.variables if training else []
    here.send([*model.variables, *optimizer], BEGIN if training else BEGIN_MEASURE)
    if training:  # of layers without a seed, which draw from torch's own generator
        seed = int(here.agreed(int(torch.randint(2**31, ()))))
        if here.index:
            torch.manual_seed(seed + here.index)


def ended(model, training) -> None:
    """Wait for the others at the end of an epoch, after which all have the same weights, or of a measurement."""
    here = group()
    if here is not None:
        here.met(END if training else END_MEASURE)
    if here is not None and training:
        here.check_alike([each for each in model.variables if each.name != "seed_generator_state"])


def agreed(value) -> Any:
    """The number that process 0 has, on all of them."""
    return value if group() is None else group().agreed(value)


def of_all(array) -> list:
    """An array of the memory of the host as each process has it, in their order."""
    return [array] if group() is None else group().of_all(array)


def once(action, computes=False) -> Any:
    """What process 0 alone does, such as to write a file, while the others wait; see `Group.once`."""
    return action() if group() is None else group().once(action)


def dealt(model, batch) -> dict:
    """The rows of this process of a batch that is given as a whole, on every process."""
    here = group()
    return batch if here is None else cut(batch, here.index, here.count)
