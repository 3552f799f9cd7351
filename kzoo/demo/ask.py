"""Ask an exported model, in a process that never imports Keras: `python -m kzoo.demo.ask FOLDER < questions`.

Reads a JSON object from standard input, `{"images": path of an .npy, "queries": [...], "k": 5}`, and writes
one: the best k pictures for each query, and the packages of this process that must not be there.
"""

import json
import sys
from pathlib import Path

import numpy as np

from kzoo.export import runtime
from kzoo.types import Array

FORBIDDEN = ("keras", "jax", "tensorflow", "torch")


def best(logits, k) -> Array:
    """Indices of the k largest logits of each row, best first."""
    return np.argsort(-logits, axis=1, kind="stable")[:, :k]


def main(folder) -> None:
    question = json.load(sys.stdin)
    model = runtime.load(Path(folder))
    images = model.encode_image(np.load(question["images"]))
    texts = model.encode_text(question["queries"])
    answer = {
        "best": best(texts @ images.T, question["k"]).tolist(),
        "scores": (texts @ images.T).tolist(),
        "forbidden": [name for name in FORBIDDEN if name in sys.modules],
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
