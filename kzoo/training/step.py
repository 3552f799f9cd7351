"""One step of training or evaluation: from a batch to the loss, its gradients, and what follows the weights."""




def forward(model, batch, sample_weight, training):
    """The loss of a batch.

    Returns:
        `(total, values)`: the scalar to minimise, and the values of the terms as `model.means` names them.
    """
    objective, given = model.objective, model.any_number()
    names = model.reading(objective.may_read(given), batch)
    outputs = model(batch, training=training, only=names)
    tensors = batch | model.loss_tensors(outputs) | head_tensors(model)
    if sample_weight is not None:
        tensors["sample_weight"] = sample_weight
    total, values = objective.from_tensors(tensors, training, given)
    return total, values, outputs


def train_step(self, *arguments):
    raise NotImplementedError


def test_step(self, *arguments):
    raise NotImplementedError
