"""The step of Adam on torch in the memory that is there."""

import math

from keras import ops


def takes_kernel(optimizer, variables) -> bool:
    """Whether `adam_step` takes the step of these variables, with their decay.

    On CPUs alone, and not in a step that is compiled: elsewhere the number of the step would have to be waited for.

    Args:
        optimizer: a built `keras.optimizers.Adam`, or one derived from it.
        variables: list of the variables.
    """
    import torch

    if torch.compiler.is_compiling() or optimizer.amsgrad:
        return False
    places = [optimizer._get_variable_index(each) for each in variables]
    moments = [of[place].value for of in (optimizer._momentums, optimizer._velocities) for place in places]
    return all(
        each.device.type == "cpu" and each.dtype == torch.float32 and each.is_contiguous()
        for each in (*(variable.value for variable in variables), *moments)
    )


def adam_step(optimizer, gradients, variables, rate) -> None:
    """Decay weights and take a step by the kernel of torch, which reads and writes each number once.

    The operations of Keras make six arrays of the size of all weights on their way, and read and write the weights once
    more for their decay.

    Args:
        optimizer: as of `takes_kernel`.
        gradients: list of tensors.
        variables: list of the variables they are of.
        rate: float tensor, the learning rate.
    """
    import torch
    from torch.optim.adamw import adamw

    before = float(ops.convert_to_tensor(optimizer.iterations))  # of an optimizer that sums gradients no variable
    # torch divides the root by what Keras multiplies the rate by, and adds epsilon afterwards
    epsilon = optimizer.epsilon / math.sqrt(1.0 - optimizer.beta_2 ** (before + 1.0))
    decay = optimizer.weight_decay or 0.0
    groups = {}  # decay -> gradients, weights and both moments
    for gradient, variable in zip(gradients, variables):
        place = optimizer._get_variable_index(variable)
        own = decay if decay and optimizer._use_weight_decay(variable) else 0.0
        moments = optimizer._momentums[place].value, optimizer._velocities[place].value
        groups.setdefault(own, []).append((variable.value, gradient.contiguous(), *moments))
    for own, group in groups.items():
        adamw(
            *(list(each) for each in zip(*group)),
            max_exp_avg_sqs=[],
            state_steps=[torch.tensor(before) for _ in group],
            fused=True,
            amsgrad=False,
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            lr=float(rate),
            weight_decay=own,
            eps=epsilon,
            maximize=False,
        )
