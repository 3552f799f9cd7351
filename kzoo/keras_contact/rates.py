"""Learning rates of single variables, which the optimizers of Keras do not have."""

import keras

from kzoo.keras_contact.attributes import unscaled, untracked

STEP, DECAY = "_backend_update_step", "_apply_weight_decay"  # what an optimizer does with lists of variables
DECAYS = ("weight_decay", "adam_weight_decay")  # the second one of Muon


def scale_rates(optimizer, rates) -> None:
    """From now on an optimizer multiplies its learning rate by a number of each variable.

    The variables of one number take their step together. Decoupled decay is multiplied too, as it goes by the learning
    rate; clipping, averages of weights and `iterations` are as without.

    Args:
        optimizer: of Keras, or a `LossScaleOptimizer` around one.
        rates: id of a variable -> the number; 1 for those that are not named. Empty: as Keras made it.

    Example:
        >>> scale_rates(optimizer, {id(model.image_encoder.position_embedding): 0.1})
    """
    optimizer = unscaled(optimizer)
    for name in (STEP, DECAY):
        vars(optimizer).pop(name, None)
    if not rates or not isinstance(optimizer, keras.optimizers.Optimizer):
        return
    step, decay = getattr(optimizer, STEP), getattr(optimizer, DECAY)

    def grouped(variables):
        places = {}
        for place, each in enumerate(variables):
            places.setdefault(rates.get(id(each), 1.0), []).append(place)
        return places.items()

    def scaled_step(grads, trainable_variables, learning_rate):
        for rate, places in grouped(trainable_variables):
            own = learning_rate if rate == 1.0 else learning_rate * rate
            step([grads[place] for place in places], [trainable_variables[place] for place in places], own)

    def scaled_decay(variables):
        kept = {name: getattr(optimizer, name) for name in DECAYS if getattr(optimizer, name, None) is not None}
        try:
            for rate, places in grouped(variables):
                for name, value in kept.items():
                    untracked(optimizer, name, value * rate)
                decay([variables[place] for place in places])
        finally:
            for name, value in kept.items():
                untracked(optimizer, name, value)

    untracked(optimizer, STEP, scaled_step)
    untracked(optimizer, DECAY, scaled_decay)
