"""What engines on torch have in common: where tensors lie, gradients or none, and a training step."""

from benchmarks.suite.inputs import scaled, token_ids


class Torch:
    """torch for one case, on the GPU where there is one.

    Args:
        case: whose inputs are made.
    """

    def __init__(self, case):
        import torch

        self.torch, self.case = torch, case
        self.device = "cuda" if case.dtype != "float32" and torch.cuda.is_available() else "cpu"

    def placed(self, model, training):
        return model.to(self.device).train(training)

    def images(self):
        return self.torch.from_numpy(scaled(self.case, channels_first=True)).to(self.device)

    def texts(self):
        return self.torch.from_numpy(token_ids(self.case)).long().to(self.device)

    def without_gradients(self, encode):
        """What a user has at the end: a tensor in the memory of the CPU."""

        def run():
            with self.torch.inference_mode(), self._cast():
                return encode().cpu()

        return run

    def step(self, model, loss):
        """A training step with the optimizer that a user of torch takes, which updates all weights at once.

        Args:
            model: whose parameters are trained.
            loss: function to a scalar.
        """
        optimizer = self.torch.optim.AdamW(model.parameters(), 1e-4)

        def run():
            optimizer.zero_grad()
            with self._cast():
                value = loss()
            value.backward()
            optimizer.step()
            return value.detach().cpu()

        return run

    def _cast(self):
        dtype = getattr(self.torch, self.case.dtype)
        return self.torch.autocast(self.device, dtype=dtype, enabled=self.case.dtype != "float32")
