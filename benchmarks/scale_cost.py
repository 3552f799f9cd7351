"""What a step of a dual encoder costs on 1, 2, 4 and 8 devices: of the compiled programs, beside `docs/scale.md`.

    KERAS_BACKEND=jax python benchmarks/scale_cost.py [BATCH]

For simulated devices of the CPU, each number in a process of its own, it compiles one step of training and prints what
one device computes (matrix products), what collectives hand it, and what it holds beside its arguments, with what the
formulas of `docs/scale.md` say: for the loss as a whole, in blocks of 64 rows, and with towers in micro-batches.
Nothing is trained, and nothing is timed.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

BATCH = int(sys.argv[1]) if len(sys.argv) == 2 else 512
BLOCK, MICRO, DEVICES = 64, 128, (1, 2, 4, 8)
FORMS = {"whole": {}, "blocks": {"block": BLOCK}, "blocks, micro": {"block": BLOCK, "micro": MICRO}}


@dataclass
class Tower:
    """The sizes of a transformer that its cost depends on."""

    tokens: int
    width: int
    mlp: int
    blocks: int
    patch: int = 0  # numbers of a patch; token ids are looked up

    def multiplied(self):
        """Multiplications and additions of one row, forwards: 2 of each weight and token, and those of attention."""
        block = 2 * self.tokens * (4 * self.width**2 + 2 * self.width * self.mlp) + 4 * self.tokens**2 * self.width
        return self.blocks * block

    def embedded(self):
        return 2 * self.tokens * self.patch * self.width


IMAGE, TEXT, DIM = Tower(17, 64, 256, 4, 8 * 8 * 3), Tower(16, 64, 256, 4), 32


def predicted(batch, devices, block=None, micro=None):
    """Operations of one device in a step, and bytes of the embeddings that it is handed: the formulas of the page."""
    rows = batch / devices
    passes = 4 if micro else 3  # forwards, and backwards to inputs and to weights; forwards again
    projections = 2 * DIM * (IMAGE.width + TEXT.width)
    towers = rows * (passes * (IMAGE.multiplied() + TEXT.multiplied() + projections) + (passes - 1) * IMAGE.embedded())
    products = 4 if block else 3  # of the matrix of scores and its two gradients; in blocks it is made again
    loss = products * 2 * rows * batch * DIM
    return towers + loss


def measure(devices, block=None, micro=None):
    """Prints one line of JSON: what the program of one of so many devices does."""
    import keras
    import numpy as np
    from compiled_program import program, step_of

    import kzoo
    from kzoo.encoders import TextTransformer, VisionTransformer
    from kzoo.layers import SimilarityHead
    from kzoo.losses import InfoNCE

    with kzoo.scale.start():
        sizes = {"width": IMAGE.width, "depth": IMAGE.blocks, "num_heads": 4, "embed_dim": DIM}
        model = kzoo.DualEncoder(
            VisionTransformer(32, 8, name="image_encoder", **sizes),
            TextTransformer(64, TEXT.tokens, eot_id=2, name="text_encoder", **sizes),
            SimilarityHead(name="similarity"),
        )
        options = {} if micro is None else {"micro_batch_size": micro}
        model.compile(keras.optimizers.SGD(0.1), loss=InfoNCE(block_size=block), **options)
        model.optimizer.build(model.trainable_variables)
        ids = np.full((BATCH, TEXT.tokens), 2, "int32")
        batch = {"images": np.zeros((BATCH, 32, 32, 3), "uint8"), "token_ids": ids}
        found = program(step_of(model, batch))
    parameters = sum(int(np.prod(each.shape)) for each in model.trainable_variables)
    print(json.dumps(found | {"parameters": parameters}))


def main():
    print(f"batch {BATCH}, embeddings of {DIM}; of one device:")
    print(f"{'':16}{'devices':>8}{'GFLOP':>9}{'said':>9}{'share of 1':>12}{'MB held':>9}   MB by collectives (weights)")
    for name, form in FORMS.items():
        alone = None
        for devices in DEVICES:
            command = [sys.executable, __file__, "measure", json.dumps({"devices": devices} | form), str(BATCH)]
            environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "KERAS_BACKEND": "jax"}
            run = subprocess.run(command, env=environment, capture_output=True, text=True)
            if run.returncode:
                raise RuntimeError(run.stderr)
            found = json.loads(run.stdout.splitlines()[-1])
            alone = alone or found["flops"]
            moved = ", ".join(f"{kind} {count / 1e6:.2f}" for kind, count in found["bytes"].items()) or "-"
            print(
                f"{name:16}{devices:8}{found['flops'] / 1e9:9.3f}{predicted(BATCH, devices, **form) / 1e9:9.3f}"
                f"{devices * found['flops'] / alone:12.3f}{found['memory'] / 1e6:9.1f}   {moved}"
                f" ({4 * found['parameters'] / 1e6:.2f})",
                flush=True,
            )


if __name__ == "__main__":
    if len(sys.argv) == 4:
        BATCH = int(sys.argv[3])
        measure(**json.loads(sys.argv[2]))
    else:
        main()
