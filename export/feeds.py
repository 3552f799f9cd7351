"""What the graphs of an export get of samples: arrays, graph by graph."""

import numpy as np

from kzoo.export.manifest import carried, following, names
from kzoo.inference.embed import BATCH_SIZE

ALONE = 8  # rows that are also tried each by itself
CAPTIONED, STEPS = 32, 16  # pictures, and ids of a caption, on which a captioner's graphs are measured


def feeds_of(name, served, samples) -> tuple:
    """Inputs of a graph, in batches as the runtime makes them, and of some rows each alone: ranges are of a batch.

    Args:
        name: of the graph.
        served: the export in float32, opened by `kzoo.export.runtime`.
        samples: `kzoo.export.samples.Samples`.

    Returns:
        `(feeds, lacking)`: list of dicts of arrays; why there is none, or None.
    """
    preprocessor = served.preprocessor
    if name == "image_encoder" and preprocessor is not None and preprocessor.images is not None:
        return _encoded(served, name, samples.images, preprocessor.encode_images), _lacking(samples.images, "pictures")
    if name == "text_encoder" and preprocessor is not None and preprocessor.tokenizer is not None:
        return _encoded(served, name, samples.texts, preprocessor.encode_texts), _lacking(samples.texts, "texts")
    if name in ("caption_memory", "caption_step") and preprocessor is not None and preprocessor.tokenizer is not None:
        pictures = samples.images[:CAPTIONED]
        feeds = (_memory if name == "caption_memory" else _steps)(served, pictures) if pictures else []
        return feeds, _lacking(pictures, "pictures")
    return [], "there are no samples of what it reads"


def _lacking(sources, what):
    return None if sources else f"there are no {what} among the samples"


def _encoded(served, name, sources, encode):
    inputs, feeds = names(served.manifest["graphs"][name]["inputs"]), []
    for start in range(0, len(sources), BATCH_SIZE):
        arrays = encode(sources[start : start + BATCH_SIZE])
        feeds.append({key: arrays[key] for key in inputs})
    return feeds + _alone(feeds)


def _alone(feeds):
    """Some rows of the first feed, each by itself; of a batch of one there is no need."""
    rows = len(next(iter(feeds[0].values()))) if feeds else 0
    return [
        {key: array[row : row + 1] for key, array in feeds[0].items()} for row in range(min(rows, ALONE) * (rows > 1))
    ]


def _memory(served, pictures):
    feeds = _encoded(served, "image_encoder", pictures, served.preprocessor.encode_images)
    return [{"image_tokens": served.run_graph("image_encoder", feed, ["image_tokens"])[0]} for feed in feeds]


def _steps(served, pictures):
    """Every step of the captions that the export in float32 writes, with its own caches."""
    token_ids = served.generate(pictures)[0]
    graphs = served.manifest["graphs"]
    made, graph = names(graphs["caption_memory"]["outputs"]), graphs["caption_step"]
    memory = dict(zip(made, served.run_graph("caption_memory", _memory(served, pictures)[0], made)))
    shapes = {each["name"]: each["shape"][1:] for each in graph["inputs"]}
    handed_on = carried(shapes, names(graph["outputs"]))
    rows, length = len(pictures), served.manifest["captions"]["context_length"]
    ids = np.full((rows, length), served.manifest["captions"]["pad_id"], "int32")
    ids[:, : token_ids.shape[1]] = token_ids[:, :length]
    past, feeds = {name: np.zeros((rows, *shapes[name]), "float32") for name in handed_on}, []
    for step in range(min(STEPS, token_ids.shape[1] - 1, length)):
        feeds.append({"token_ids": ids, "positions": np.full(rows, step, "int32"), **past, **memory})
        found = served.run_graph("caption_step", feeds[-1], [*handed_on.values()])
        past = following(feeds[-1], dict(zip(handed_on.values(), found)), handed_on)
    return feeds
