"""Train an image tower on pictures alone, SimCLR, and read the shape of unseen icons from its features."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import kzoo
from kzoo.encoders import VisionTransformer
from kzoo.losses import NTXent
from kzoo.preprocessing import Augmentation, ImageSteps
from kzoo.training import AdamW, TimeBudget

CLASSES = ["account", "alpha", "arrow", "battery", "book", "calendar", "file", "folder", "format", "home", "numeric"]


def labelled(icons):
    """The icons whose name begins with one of the classes, and the number of that class."""
    firsts = [caption.split()[0] for caption in icons["captions"]]
    chosen = [index for index, word in enumerate(firsts) if word in CLASSES]
    return icons["images"][chosen], np.array([CLASSES.index(firsts[index]) for index in chosen])


def probe(model, train, test):
    """Accuracy on icons that were not seen, of the nearest neighbours and of a linear classifier."""
    scaler = StandardScaler().fit(model.encode(train[0]))
    x, y = scaler.transform(model.encode(train[0])), scaler.transform(model.encode(test[0]))
    readers = KNeighborsClassifier(5, metric="cosine"), LogisticRegression(C=0.1, max_iter=300)
    return [reader.fit(x, train[1]).score(y, test[1]) for reader in readers]


icons, unseen = (kzoo.data.icons(split, size=32) for split in ("train", "test"))
train, test = labelled(icons), labelled(unseen)

encoder = VisionTransformer(32, 8, width=64, depth=2, num_heads=4, embed_dim=64, pool="average", class_token=False)
model = kzoo.SelfSupervised(encoder)
before = probe(model, train, test)

# arrows that point left are not those that point right, and icons have no colours: crops and shifts are the views
augmentation = Augmentation(scale=(0.4, 1.0), shift=0.1)
data = kzoo.data.views(icons["images"], ImageSteps(32), batch_size=256, augmentation=augmentation)
model.compile(AdamW(weight_decay=0.05), loss=NTXent(temperature=0.2))
model.fit(data, epochs=1000, callbacks=[TimeBudget(minutes=0.75, learning_rate=2e-3)], verbose=2)
after = probe(model, train, test)

print(f"{'':12}{'k-NN':>8}{'linear':>8}")
for name, scores in (("untrained", before), ("SimCLR", after)):
    print(f"{name:12}" + "".join(f"{score:8.1%}" for score in scores))
print(f"{'most common':12}{np.bincount(test[1]).max() / len(test[1]):8.1%}")
