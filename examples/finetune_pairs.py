"""Fine-tune a saved model on pictures and captions of your own, listed in a csv file."""

import csv
from pathlib import Path

from PIL import Image

import kzoo
from kzoo import keras

# a model to start from: any folder that save_to_preset wrote
icons = kzoo.data.icons("test", size=32)
model = kzoo.from_preset("clip_nano", load_weights=False)
model.preprocessor.adapt(icons["captions"])
model.save_to_preset("pretrained")

# pairs of your own: a table with the columns image and caption, paths relative to the table
Path("photos").mkdir()
with open("photos/pairs.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["image", "caption"])
    for index, (image, caption) in enumerate(zip(icons["images"], icons["captions"])):
        Image.fromarray(image).save(f"photos/{index}.png")
        table.writerow([f"{index}.png", f"an icon of {caption}"])

model = kzoo.from_preset("pretrained")
model.text_encoder.trainable = False  # keep the text tower as it is, train the image tower
model.compile(kzoo.training.AdamW(1e-3, weight_decay=0.05), loss=kzoo.losses.InfoNCE(label_smoothing=0.05))
data = kzoo.data.pairs("photos/pairs.csv", model.preprocessor, batch_size=128)
stop = keras.callbacks.EarlyStopping(monitor="loss", patience=2)
history = model.fit(data, epochs=3, callbacks=[stop], verbose=2).history
print("loss per epoch:", [round(loss, 3) for loss in history["loss"]])

model.save_to_preset("finetuned")
