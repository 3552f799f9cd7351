"""Train on pictures alone, SimCLR, and tell the classes of unseen icons, cropped and shifted, by its features."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import kzoo
from kzoo import keras
from kzoo.encoders import VisionTransformer
from kzoo.layers import Projector
from kzoo.losses import NTXent
from kzoo.preprocessing import Augmentation, ImageSteps

CLASSES = ["account", "alpha", "arrow", "battery", "book", "calendar", "file", "folder", "format", "home", "numeric"]


def labelled(icons):
    """The icons whose name begins with one of the classes, and the number of that class."""
    firsts = [caption.split()[0] for caption in icons["captions"]]
    chosen = [index for index, word in enumerate(firsts) if word in CLASSES]
    return icons["images"][chosen], np.array([CLASSES.index(firsts[index]) for index in chosen])


icons, unseen = (kzoo.data.icons(split, size=32) for split in ("train", "test"))
(train_x, train_y), (test_x, test_y) = labelled(icons), labelled(unseen)

# icons have no colours, and arrows that point left are not those that point right: crops and shifts make the views
steps, augmentation = ImageSteps(32), Augmentation(scale=(0.4, 1.0), shift=0.1)
test = {"images": test_x, "labels": test_y}
test = kzoo.data.views(test, steps, len(test_y), views=4, augmentation=augmentation, shuffle=False)[0]
test_x, test_y = np.concatenate([test[f"view_{number}"] for number in range(1, 5)]), np.tile(test["labels"], 4)


def scores(model):
    """Accuracy on what was not seen, of the nearest neighbours and of a linear classifier."""
    scaler = StandardScaler().fit(model.encode(train_x))
    x, y = (scaler.transform(model.encode(images)) for images in (train_x, test_x))
    readers = KNeighborsClassifier(5, metric="cosine"), LogisticRegression(C=0.1, max_iter=300)
    return [reader.fit(x, train_y).score(y, test_y) for reader in readers]


keras.utils.set_random_seed(0)
encoder = VisionTransformer(32, 8, width=64, depth=2, num_heads=4, embed_dim=64, pool="average", class_token=False)
model = kzoo.SelfSupervised(encoder, Projector((128, 64)))

rows = [("untrained", scores(model))]
model.compile(kzoo.training.AdamW(4e-3, weight_decay=0.05), loss=NTXent(temperature=0.2))
model.fit(kzoo.data.views(icons["images"], steps, 128, augmentation=augmentation), epochs=4, verbose=2)
rows.append(("SimCLR", scores(model)))
print(f"{'':12}{'k-NN':>8}{'linear':>8}   of {len(test_y)} crops, {len(CLASSES)} classes")
for name, found in rows:
    print(f"{name:12}" + "".join(f"{score:8.1%}" for score in found))
