"""Train on all devices there are; every loss sees the whole batch, and N devices give the gradients of one.

The same script on each backend; on a CPU the second line of each plays two devices:

jax         KERAS_BACKEND=jax python multi_device.py
            KERAS_BACKEND=jax JAX_NUM_CPU_DEVICES=2 python multi_device.py
            One process. Keras shares each batch among its devices (keras.distribution.DataParallel).

TensorFlow  KERAS_BACKEND=tensorflow python multi_device.py
            One process. A tf.distribute.MirroredStrategy runs a replica of the model on each GPU.

PyTorch     KERAS_BACKEND=torch torchrun --nproc-per-node 8 multi_device.py
            KERAS_BACKEND=torch torchrun --nproc-per-node 2 multi_device.py
            A process for each device. All run this script, each reads its own rows of every batch, and the first
            one prints and writes. Several machines: torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d
            --rdzv-endpoint first-machine:29500 multi_device.py, on each of them.

With one device it runs as if `kzoo.scale.start()` were not there. docs/scale.md says what is shared and what is not.
"""

import kzoo

train, test = kzoo.data.icons("train", size=32), kzoo.data.icons("test", size=32)

with kzoo.scale.start():  # before the model is made
    index, count = kzoo.scale.process()
    model = kzoo.from_preset("clip_nano", load_weights=False)
    model.preprocessor.adapt(train["captions"])

    model.compile(kzoo.training.AdamW(2e-3))
    # batch_size is that of the whole batch; a process that is one of four reads 64 of its rows
    data = kzoo.data.pairs(train, model.preprocessor, batch_size=256)
    model.fit(data, epochs=3, verbose=2)  # the first process shows it

    # every row is measured once, whoever computes it, and all processes get the same numbers
    held_out = kzoo.data.pairs(test, model.preprocessor, batch_size=256, shuffle=False)
    results = model.evaluate(held_out, verbose=0)
    if index == 0:
        print(f"{count} process(es), recall@10 {results['image_to_text_recall@10']:.3f}")

    model.save_to_preset("my_clip")  # called on all, written once
