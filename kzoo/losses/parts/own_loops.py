"""A training loop of one's own over several devices, each of which has a part of the batch: what it compares with."""

import keras
from keras import ops

OTHER_LOSS = "each would compare its pairs with its own part only, which is another loss"
MARK = "kzoo_devices"  # attribute of a tensor: among how many devices the batch is shared that it was made of


def marked(outputs) -> dict:
    """Outputs of a model, where a loop of one's own shares the batch among several devices marked as those of a part.

    What is made of them, such as embeddings gathered from all devices, has no mark.

    Args:
        outputs: dict of tensors, which is given back.
    """
    count = _devices_sharing()
    if count > 1:
        for tensor in filter(ops.is_tensor, outputs.values()):
            setattr(tensor, MARK, count)
    return outputs


def check_whole(loss, arguments) -> None:
    """Stops where a loss that compares the rows of a batch is given those of one device's part.

    Args:
        loss: says by `pairs` and `negatives` whether it compares them.
        arguments: list of `(name, array)`.

    Raises:
        NotImplementedError: outputs of a model that were not gathered.
    """
    counts = [_devices_of(array) for _, array in arguments]
    if max(counts, default=1) > 1 and (loss.pairs(2) is not None or loss.negatives(2) > 0):
        raise NotImplementedError(
            f"{type(loss).__name__} is given what a model made on one of {max(counts)} devices that share a batch, and "
            f"{OTHER_LOSS}; gather the embeddings of all devices, with their gradients, before the loss, or train by "
            "fit within kzoo.scale.start(), which does that, or on one device."
        )


def check_replica(model) -> None:
    """Stops where torch.nn.DataParallel runs copies of a model in threads.

    Raises:
        NotImplementedError: it does.
    """
    if getattr(model, "_is_replica", False):
        raise NotImplementedError(
            "torch.nn.DataParallel runs copies of the model in threads, while Keras reads the weights of the model "
            "itself, which are on the first GPU; start a process for each GPU by torchrun, and train by fit within "
            "kzoo.scale.start()."
        )


def _devices_of(array):
    # where some weights may be unused torch gives copies of outputs, without their attributes
    copied = type(getattr(array, "grad_fn", None)).__name__ == "_DDPSinkBackward"
    return _devices_sharing() if copied else getattr(array, MARK, 1)


def _devices_sharing():
    """How many devices a step runs on here, each with a part of the batch; 1 on jax, where a batch stays whole."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()  # None outside of `strategy.run`
        return 1 if context is None else context.num_replicas_in_sync
    if backend == "torch":
        import torch

        shared = torch.distributed.is_available() and torch.distributed.is_initialized()
        # without gradients a process evaluates for itself
        return torch.distributed.get_world_size() if shared and torch.is_grad_enabled() else 1
    return 1
