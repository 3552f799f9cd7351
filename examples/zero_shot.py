"""Classify pictures by class names alone: each name becomes prompts, the nearest prompt wins."""

import numpy as np

import kzoo
from kzoo.training import TimeBudget

train, test = kzoo.data.icons("train", size=32), kzoo.data.icons("test", size=32)
model = kzoo.from_preset("clip_nano", load_weights=False)
model.preprocessor.adapt(train["captions"])
model.compile("clip_adamw")
data = kzoo.data.pairs(train, model.preprocessor, batch_size=256)
model.fit(data, epochs=1000, callbacks=[TimeBudget(0.5, 2e-3)], verbose=2)

classes = ["battery", "calendar", "car", "folder", "heart", "lock"]
chosen = [
    index for index, caption in enumerate(test["captions"]) if sum(name in caption.split() for name in classes) == 1
]
images = test["images"][chosen]
truth = [next(name for name in classes if name in test["captions"][index].split()) for index in chosen]

# embeddings are plain arrays: compute them once, use them again
embeddings = model.encode_image(images)
for templates in (["{}"], ["{}", "{} outline", "{} off", "{} plus"]):
    probabilities = model.classify(embeddings, classes, templates=templates)
    accuracy = np.mean([classes[index] == name for index, name in zip(probabilities.argmax(axis=-1), truth)])
    print(f"{len(templates)} templates: {accuracy:.0%} of {len(images)} held-out icons (chance {1 / len(classes):.0%})")
