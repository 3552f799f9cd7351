"""Memory of a training: all weights, low-rank updates, and low-rank updates of weights in 8 bits.

    KERAS_BACKEND=torch python benchmarks/adaptation_memory.py                 # the image tower of ViT-L/14, 2 pictures
    KERAS_BACKEND=jax python benchmarks/adaptation_memory.py 6 4               # its first 6 blocks, 4 pictures

Each form runs in a process of its own: a model beside a small text tower, AdamW, steps of one batch. Held is what the
model takes before the first step, the highest what model, gradients, optimizer and activations take in the steps after
it, which compiles; both above what the process had before the model was made. Updates are of rank 8 on queries and
values of the image tower.
Needs 9 GB for all 24 blocks.
"""

import json
import math
import os
import subprocess
import sys
import time

DEPTH, ROWS, STEPS = 24, 2, 1
FORMS = ("full", "lora", "qlora")


def prepared(form, depth):
    """A dual encoder whose image tower has the sides of ViT-L/14, with what a form trains open."""
    from kzoo.adaptation import LoRA, add_adapter, freeze
    from kzoo.encoders import TextTransformer, VisionTransformer
    from kzoo.models import DualEncoder
    from kzoo.training import AdamW

    image = VisionTransformer(224, 14, width=1024, depth=depth, num_heads=16, embed_dim=768, name="image_encoder")
    text = TextTransformer(320, 10, width=64, depth=1, num_heads=2, embed_dim=768, eot_id=2, name="text_encoder")
    model = DualEncoder(image, text)
    freeze(model, "text_encoder")
    if form == "qlora":
        model.quantize("int8")
    if form != "full":
        add_adapter(model, LoRA(rank=8, targets="image_encoder.**.attention.{query,value}"))
    model.compile(AdamW(1e-4))
    return model


def measured(form, depth, rows):
    from load import give_back, resident

    import kzoo.adaptation.lora
    import kzoo.encoders  # noqa: F401
    from kzoo.scale.peak import peak_of

    before = resident()
    model = prepared(form, depth)
    give_back()
    held, seconds, losses = resident() - before, [], []
    batch = model.image_encoder.samples(rows) | model.text_encoder.samples(rows)

    def steps():
        for _ in range(STEPS):
            begun = time.process_time()
            losses.append(float(model.train_on_batch(batch, return_dict=True)["loss"]))
            seconds.append(time.process_time() - begun)

    steps()
    give_back()
    resting = resident() - before
    rise = peak_of(steps)
    trained = sum(math.prod(each.shape) for each in model.trainable_variables)
    found = {"trained": trained, "held": held, "highest": resting + rise, "seconds": min(seconds), "losses": losses}
    print(json.dumps(found))


def main():
    if len(sys.argv) > 3:
        return measured(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    depth, rows = (int(sys.argv[place]) if len(sys.argv) > place else each for place, each in ((1, DEPTH), (2, ROWS)))
    found = {}
    for form in FORMS:
        command = [sys.executable, __file__, form, str(depth), str(rows)]
        found[form] = json.loads(subprocess.check_output(command, text=True, env=os.environ).splitlines()[-1])
    print(f"{depth} blocks of ViT-L/14, {rows} pictures a step, {os.environ.get('KERAS_BACKEND', 'the first backend')}")
    print(f"{'':8}{'trained':>14}{'held':>10}{'highest':>10}{'of full':>10}{'time of full':>14}")
    for form, each in found.items():
        share, slower = (each[name] / found["full"][name] for name in ("highest", "seconds"))
        sizes = f"{each['held'] / 1e9:>7.2f} GB{each['highest'] / 1e9:>7.2f} GB"
        print(f"{form:8}{each['trained']:>14,}{sizes}{share:>10.0%}{slower:>14.2f}")
    return None


if __name__ == "__main__":
    main()
