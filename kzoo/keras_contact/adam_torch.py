"""The step of Adam on torch in the memory that is there."""

import math


def adam_step(optimizer, gradients, variables, rate) -> bool:
    """Take a step by the kernel of torch, which reads and writes each number once; whether it was taken.

    The operations of Keras make six arrays of the size of all weights on their way. On CPUs alone, and not in a step
    that is compiled: elsewhere the number of the step would have to be waited for.

    Args:
        optimizer: a built `keras.optimizers.Adam`, or one derived from it.
        gradients: list of tensors.
        variables: list of the variables they are of.
        rate: float tensor, the learning rate.
    """
    import torch
    from torch.optim.adamw import adamw

    if torch.compiler.is_compiling():
        return False
    places = [optimizer._get_variable_index(each) for each in variables]
    moments = [[of[place].value for place in places] for of in (optimizer._momentums, optimizer._velocities)]
    weights = [each.value for each in variables]
    taken = [*weights, *gradients, *moments[0], *moments[1]]
    if optimizer.amsgrad or not all(
        each.device.type == "cpu" and each.dtype == torch.float32 and each.is_contiguous() for each in taken
    ):
        return False
    before = float(optimizer.iterations.value)
    # torch divides the root by what Keras multiplies the rate by, and adds epsilon afterwards
    epsilon = optimizer.epsilon / math.sqrt(1.0 - optimizer.beta_2 ** (before + 1.0))
    adamw(
        weights,
        list(gradients),
        *moments,
        max_exp_avg_sqs=[],
        state_steps=[torch.tensor(before) for _ in weights],
        fused=True,
        amsgrad=False,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        lr=float(rate),
        weight_decay=0.0,  # Keras has applied its own
        eps=epsilon,
        maximize=False,
    )
    return True
