"""A temperature for each sample of the data, learned by robust optimisation (iSogCLR)."""

import keras
from keras import ops

from kzoo.arguments import POSITIVE, number
from kzoo.layers.numerics import l2_normalize
from kzoo.losses.base import weighted_mean
from kzoo.losses.parts.pairwise import PairwiseLoss, by_blocks, same
from kzoo.types import Tensor

FLOOR = 1e-10  # beside a running sum that may be tiny
STEEPEST = 5.0  # the gradient of a temperature is clipped to this


@keras.saving.register_keras_serializable(package="kzoo")
class IndividualTemperature(PairwiseLoss):
    """A contrastive loss whose every sample learns its own temperature and remembers its denominator.

    Of row i, sample k of the data, with unit rows: `h_j = <a_i, b_j> - <a_i, b_i>`, `q_j = h_j / tau_k` and
    `g = sum_j exp(q_j) / (B - 1)`. The denominator is averaged over visits, `s_k <- (1 - gamma) s_k + gamma g`, so that
    small batches do not bias it, and
    `L = mean_i sum_j sg(exp(q_j) / s_k) h_j / (B - 1)`, on the rows plus on the columns. Its gradient is that of
    the objective, its value is not. Each `tau_k` then descends, with momentum, along
    `G = ln s_k + rho - sum_j w_j q_j / (B - 1)`, the derivative of a distributionally robust objective.

    Args:
        dataset_size: number of samples; eight float32 numbers are kept for each.
        temperature: `tau` of every sample at first.
        gamma: how much of the denominator is that of the current batch, in (0, 1].
        rho: radius of the robust objective; larger ones make temperatures fall.
        eta: step size of the temperatures.
        momentum: weight of the newest gradient in that of the temperatures.
        minimum, maximum: bounds of the temperatures.
        block_size: rows compared at a time, exact and with less memory, or `"auto"`; None: all at once.
        inputs: names of the tensors to read; default `("image_embeddings", "text_embeddings")`.

    Inputs:
        a, b: float tensors `(batch, dim)`; row i of `a` belongs to row i of `b`. They are normalised.
        ids: int tensor `(batch,)`, which sample of the data each row is, in [0, dataset_size). A sample that stands
            twice in a batch keeps the mean of what its rows say.
        sample_weight: float tensor `(batch,)`; a row of weight 0 still serves as a negative.

    State:
        `temperature_a`, `temperature_b`, running denominators `s_a`, `s_b` (as `s exp(-shift)`), their `shift_a`,
        `shift_b`, and gradients of the temperatures `u_a`, `u_b`, all `(dataset_size,)`; updated in training only.

    Feeding:
        `DualEncoder` and `kzoo.data.pairs(source, preprocessor, ids=True)`; `dataset_size` is the number of its pairs.

    Returns:
        float32 scalar, of which only the gradient means something.

    Raises:
        ValueError: `gamma` or a temperature out of range, a batch of one.

    Recommendations:
        Small batches, or data with frequent and rare meanings that want different temperatures. The authors train
        with `rho` 6 to 8 and `eta` 0.03. `InfoNCE` where the batch is large.

    Example:
        >>> IndividualTemperature(dataset_size=4, temperature=0.5)(np.eye(4), np.eye(4), ids=np.arange(4))
        -0.7219

    Reference:
        Qiu et al., Not All Semantics are Created Equal (iSogCLR), 2023, arXiv 2305.11965.
    """

    optional_inputs = PairwiseLoss.optional_inputs | {"ids": "ids"}
    required_inputs = ("ids",)
    shapes = PairwiseLoss.shapes | {"ids": "batch"}
    numbers = PairwiseLoss.numbers | {"ids": "index of dataset_size"}
    arguments = {"gamma": number(above=0, most=1), "temperature": POSITIVE}

    def __init__(
        self,
        dataset_size,
        temperature=0.01,
        gamma=0.8,
        rho=8.0,
        eta=0.001,
        momentum=0.9,
        minimum=0.005,
        maximum=1.0,
        block_size=None,
        inputs=None,
        **kwargs,
    ):
        super().__init__(block_size, inputs, **kwargs)
        if not 0.0 < minimum <= temperature <= maximum:
            raise ValueError(
                f"the temperature {temperature} lies outside the bounds {minimum} and {maximum}; choose one inside."
            )
        self.gamma, self.rho, self.eta, self.momentum = gamma, rho, eta, momentum
        self.minimum, self.maximum, self.dataset_size = minimum, maximum, dataset_size
        for side in "ab":
            for name, initial in (("temperature", temperature), ("s", 0.0), ("shift", 0.0), ("u", 0.0)):
                table = self.add_weight(
                    name=f"{name}_{side}",
                    shape=(dataset_size,),
                    initializer=keras.initializers.Constant(initial),
                    trainable=False,
                    autocast=False,
                )
                setattr(self, f"{name}_{side}", table)

    def call(self, a, b, ids, sample_weight=None, training=False) -> Tensor:
        if a.shape[0] == 1:
            raise ValueError("IndividualTemperature compares each row with others, but the batch is one row; use 2.")
        a, b, ids = l2_normalize(a), l2_normalize(b), ops.cast(ids, "int32")
        per_row = 0.0
        for side, x, y in (("a", a, b), ("b", b, a)):
            of_rows = self._side(side, x, y, ids)
            per_row += of_rows["loss"]
            if training:
                self._update(side, ids, of_rows)
        return weighted_mean(per_row, sample_weight)

    def _side(self, side, x, y, ids):
        state = {name: ops.take(getattr(self, f"{name}_{side}"), ids) for name in ("temperature", "s", "shift")}
        others = ops.cast(ops.maximum(ops.shape(x)[0] - 1, 1), "float32")

        def terms(i, real, rows, columns):
            h = ops.matmul(rows["x"], ops.transpose(columns["y"])) - rows["partner"][:, None]
            itself = same(i, ops.arange(ops.shape(h)[1], dtype="int32"))
            h = ops.where(itself > 0.0, 0.0, h)  # without the rounding that a small temperature would blow up
            q = ops.stop_gradient(rows["scale"][:, None] * h)
            shift = ops.maximum(rows["shift"], ops.max(q, axis=1))
            e = ops.exp(q - shift[:, None])
            s = (1.0 - self.gamma) * rows["s"] * ops.exp(rows["shift"] - shift)
            s = s + self.gamma * ops.sum(e, axis=1) / others
            weight = e / (s[:, None] + FLOOR) / others
            slope = ops.log(ops.maximum(s, 1e-30)) + shift + self.rho - ops.sum(weight * q, axis=1)
            state = {"s": s, "shift": shift, "slope": ops.clip(slope, -STEEPEST, STEEPEST)}
            return {"loss": ops.sum(weight * h, axis=1)} | state, {}

        rows = {
            "x": x,
            "partner": ops.sum(x * y, axis=-1),
            "scale": 1.0 / state["temperature"],
            "s": state["s"],
            "shift": state["shift"],
        }
        return by_blocks(terms, rows, {"y": y}, self.block_size)[0]

    def _update(self, side, ids, of_rows):
        u, temperature = getattr(self, f"u_{side}"), getattr(self, f"temperature_{side}")
        slope = (1.0 - self.momentum) * ops.take(u, ids) + self.momentum * of_rows["slope"]
        descended = ops.clip(ops.take(temperature, ids) - self.eta * slope, self.minimum, self.maximum)
        new = {"temperature": descended, "s": of_rows["s"], "shift": of_rows["shift"], "u": slope}
        visits = ops.segment_sum(ops.ones_like(slope), ids, self.dataset_size)
        for name, values in new.items():
            table = getattr(self, f"{name}_{side}")
            mean = ops.segment_sum(ops.stop_gradient(values), ids, self.dataset_size) / ops.maximum(visits, 1.0)
            table.assign(ops.where(visits > 0.0, mean, ops.convert_to_tensor(table)))
