"""A teacher with gates on its heads, neurons and blocks, which are trained while its weights stay."""

import re

import keras
from keras import ops

from kzoo.adaptation.distillation.hard_concrete import drawn, open_share, settled
from kzoo.keras_contact import untracked
from kzoo.losses import LogitDistillation
from kzoo.paths import parameters
from kzoo.types import Tensor

KINDS = ("heads", "neurons", "layers")
START = 2.0  # of a gate: nearly always open
WARMED = 0.5  # share of the steps in which what is to be shut rises
GATED = re.compile(r"blocks\.(\d+)\.(attention\.out|mlp_down)\.(kernel|bias)")


class Gates(keras.layers.Layer):
    """Those of a tower.

    Args:
        tower: of blocks with attention and an MLP.
        kept: kind -> how many are to stay open, of each block, or of the blocks.
        seed: of what is drawn.
    """

    def __init__(self, tower, kept, seed=0, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        untracked(self, "tower", tower)
        block = tower.blocks[0]
        depth, neurons = len(tower.blocks), 0 if block.mlp_up is None else block.mlp_up.units
        self.counts = {"heads": block.attention.num_heads, "neurons": neurons, "layers": depth}
        shapes = {"heads": (depth, self.counts["heads"]), "neurons": (depth, neurons), "layers": (depth,)}
        # nothing is learned of what stays whole
        asked = {kind: share for kind, share in kept.items() if 0 < share < self.counts[kind]}
        self.targets = {kind: 1.0 - share / self.counts[kind] for kind, share in asked.items()}
        self.log_alpha = {
            kind: self.add_weight(name=kind, shape=shapes[kind], initializer=keras.initializers.Constant(START))
            for kind in self.targets
        }
        multipliers = [(kind, power) for kind in self.targets for power in (1, 2)]
        self.multipliers = {
            each: self.add_weight(name=f"{each[0]}_{each[1]}", shape=(), initializer="zeros") for each in multipliers
        }
        self.seeds, self.built = keras.random.SeedGenerator(seed), True
        self.places = {id(each.variable): GATED.fullmatch(each.path) for each in parameters(tower)}

    def gates(self, training) -> dict:
        """Kind -> numbers in [0, 1]."""
        found = {}
        for kind, weight in self.log_alpha.items():
            own = ops.convert_to_tensor(weight)
            found[kind] = drawn(own, keras.random.uniform(own.shape, seed=self.seeds)) if training else settled(own)
        return found

    def embedded(self, arrays, training) -> Tensor:
        """What the tower gives with its gates, `(batch, embed_dim)`."""
        gates = self.gates(training)
        groups = [
            [self._gated(each, gates) for each in group]
            for group in (self.tower.trainable_variables, self.tower.non_trainable_variables)
        ]
        outputs, _ = self.tower.stateless_call(*groups, *arrays, training=False)
        return outputs["embedding"]

    def _gated(self, variable, gates):
        """A weight at the end of a branch: of shut heads and neurons its rows are 0, of shut blocks all of it."""
        found, value = self.places.get(id(variable)), ops.convert_to_tensor(variable)
        if not found:
            return value
        number, kind = int(found[1]), "heads" if found[2] == "attention.out" else "neurons"
        gated = ops.cast(value, "float32")
        if kind in gates and found[3] == "kernel":
            own = gates[kind][number]
            gated = gated * ops.repeat(own, gated.shape[0] // own.shape[0])[:, None]
        if "layers" in gates:
            gated = gated * gates["layers"][number]
        return ops.cast(gated, value.dtype)

    def shortfall(self, progress) -> Tensor:
        """What is added to the loss: `m1 (p - q) + m2 (p - q)^2` of each kind, with the share p of gates that are shut,
        and q of those that shall be; the multipliers rise against it."""
        found = 0.0
        for kind, target in self.targets.items():
            wanted = target * ops.minimum(progress / WARMED, 1.0)
            gap = 1.0 - ops.mean(open_share(ops.convert_to_tensor(self.log_alpha[kind]))) - wanted
            for power in (1, 2):
                own = ops.convert_to_tensor(self.multipliers[kind, power])
                rising = 2.0 * ops.stop_gradient(own) - own  # its value; with the gradient the other way around
                found = found + rising * gap**power
        return found

    def scores(self) -> dict:
        """Kind -> how likely each is open, a float array `(blocks, count)`, of layers `(blocks,)`."""
        return {kind: ops.convert_to_numpy(open_share(each)) for kind, each in self.log_alpha.items()}


class Masked(keras.Model):
    """The gates of all towers of a dual encoder, trained to say what it says: batches of `fit` in, losses out.

    Args:
        teacher: the model.
        kept: modality -> kind -> how many are to stay open.
        steps: of the training.
        seed: of the gates that are drawn.
    """

    def __init__(self, teacher, kept, steps, seed):
        super().__init__(name="masked", dtype="float32")
        untracked(self, "teacher", teacher)
        self.gates = {
            modality: Gates(tower, kept[modality], seed=seed + place, name=f"{modality}_gates")
            for place, (modality, tower) in enumerate(teacher.modalities().items())
        }
        scale = float(teacher.scale_and_bias()[0])
        self.mimic, self.steps = LogitDistillation(temperature=1.0 / scale, teacher_temperature=1.0 / scale), steps
        self.done = self.add_weight(name="done", shape=(), initializer="zeros", trainable=False)
        self.built = True

    def call(self, batch, training=None) -> Tensor:
        own, theirs = [], []
        for gates in self.gates.values():
            arrays = [batch[each.name] for each in gates.tower.inputs]
            own.append(gates.embedded(arrays, training))
            theirs.append(ops.stop_gradient(gates.tower(*arrays, training=False)["embedding"]))
        progress = ops.convert_to_tensor(self.done) / self.steps
        if training:
            self.done.assign(self.done + 1.0)
        missed = self.mimic(*own, teacher_a=theirs[0], teacher_b=theirs[1])
        self.add_loss(missed)
        self.add_loss(sum(each.shortfall(progress) for each in self.gates.values()))
        return missed
