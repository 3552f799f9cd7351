"""Weights of a large model as the beginning of a small one: layers, heads, neurons and channels of the teacher."""

import re

import numpy as np
from keras import ops

from kzoo.adaptation.distillation.importance import channels_of, largest, most_important
from kzoo.adaptation.weight_space.named import MODEL, named_weights, weights_of
from kzoo.arguments import TABLE, one_of, shown, takes
from kzoo.paths import parameters

# pattern of a path within a tower or a block -> what each of its last axes is of
AXES = (
    (r"attention\.(query|key|value|gate)\.kernel", ("width", "heads")),
    (r"attention\.(query|key|value|gate)\.bias", ("heads",)),
    (r"attention\.inner_norm\.\w+", ("heads",)),
    (r"attention\.out\.kernel", ("heads", "width")),
    (r"attention\.(query|key)_norm\.\w+", ("head",)),
    (r"mlp_(up|gate)\.kernel", ("width", "neurons")),
    (r"mlp_(up|gate)\.bias|mlp_norm\.\w+", ("neurons",)),
    (r"mlp_down\.kernel", ("neurons", "width")),
    (r"projection\.kernel", ("width", "embed")),
    (r"projection\.bias", ("embed",)),
    (r".*", ("width",)),
)
SIZES = ("width", "depth", "num_heads", "mlp_dim", "embed_dim")  # in which a student may differ
NO_MATTER = ("name", "trainable", "dtype", "dropout", "fused", "mask_token")
BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
FIRST, MAGNITUDE, UNIFORM = "first", "magnitude", "uniform"


@takes(student=MODEL, teacher=MODEL, channels=one_of(FIRST, MAGNITUDE), masks=TABLE | None)
def inherit_weights(student, teacher, layers=UNIFORM, channels=FIRST, masks=None) -> dict:
    """Give a student slices of a teacher's weights to begin with (TinyCLIP's manual weight inheritance).

    The student is a model of the same kind with fewer blocks, heads, neurons or channels. Of each tower blocks are
    chosen, of each block heads and neurons, and of all blocks together the same channels, each in the order of the
    teacher. Where nothing is smaller all is copied. Then train it with `with_teacher`; large steps are made in several
    stages, each student the next one's teacher.

    Args:
        student: a model of transformer towers; its weights are replaced, all of them or none.
        teacher: as large or larger, with heads of the same width; nothing of it changes.
        layers: which blocks: `"uniform"`, every n-th from the first, as the authors do; `"magnitude"`, those that
            write most into the residual stream; or a dict of a modality and a list of numbers, such as
            `{"image": [0, 2, 5], "text": [0, 3]}`.
        channels: which heads, neurons and channels: `"first"`, as the authors do; or `"magnitude"`, those whose weights
            are largest, `||in|| * ||out||` of a head or neuron, `||w||` of a channel (our choice).
        masks: what `learn_masks` gives: the heads, neurons and blocks of it are those that are likeliest open there,
            whatever `layers` and `channels` say (automatic inheritance).

    Returns:
        dict: for each tower `layers`, a list of the teacher's blocks, and `width`, an int array of its channels; beside
        them `share`, weights of the student over those of the teacher, and `left`, paths of weights outside the towers
        that stay as they were: those of heads that the teacher has not, or of another size.

    Raises:
        NotImplementedError: towers without blocks of one width, such as a ResNet, a model with a decoder, or a part
            whose size differs and for which no slice is known.
        ValueError: a student that is larger, has heads of another width or differs in something else; the sentence
            names it, and nothing is changed.

    Example:
        >>> teacher = kzoo.from_preset("clip_base")
        >>> student = kzoo.from_preset("clip_nano", load_weights=False)
        >>> inherit_weights(student, teacher)["image"]["layers"]
        [0, 3, 6, 9]

    Reference:
        Wu et al., TinyCLIP, 2023, arXiv 2309.12314.
    """
    check_sizes(student, teacher)
    theirs, embed, found, taken = teacher.modalities(), _embed(student, teacher, channels), {}, {}
    _check_layers(layers, student.modalities())
    for modality, tower in student.modalities().items():
        scores = _scores(masks or {}, modality, theirs[modality])
        chosen = Chosen(tower, theirs[modality], layers, modality, channels, embed, scores)
        found[modality] = {"layers": chosen.layers, "width": chosen.width}
        for each in parameters(tower):
            taken[id(each.variable)] = each.variable, chosen.taken(each.path, tuple(each.variable.shape))
    rest = weights_of(teacher)
    for path, weight in named_weights(student):
        if id(weight) not in taken and tuple(weight.shape) == np.shape(rest.get(path, np.zeros(0))):
            taken[id(weight)] = weight, rest[path]  # the similarity head, and heads of the same size
    left = [path for path, weight in named_weights(student) if id(weight) not in taken]
    for weight, array in taken.values():
        weight.assign(array)
    counts = [sum(int(np.prod(each.shape)) for _, each in named_weights(model)) for model in (student, teacher)]
    return found | {"share": counts[0] / counts[1], "left": left}


def check_sizes(student, teacher) -> None:
    """Stops unless a student could begin with slices of a teacher's weights."""
    if type(student) is not type(teacher):
        raise ValueError(f"the student is a {type(student).__name__} and the teacher a {type(teacher).__name__}.")
    others = [name for name, each in student.towers().items() if not any(each is one for one in _towers(student))]
    if others:
        raise NotImplementedError(
            f"the student has a {others[0]}, whose weights are not taken over; inherit between dual encoders, "
            "and build the rest around these."
        )
    theirs = teacher.modalities()
    for modality, tower in student.modalities().items():
        _check_alike(modality, tower, theirs.get(modality))


def _towers(model) -> list:
    return list(model.modalities().values())


class Chosen:
    """What a tower takes of the teacher's.

    Args:
        student, teacher: towers.
        layers, channels: as asked for.
        modality: of the towers.
        embed: int array, channels of the embedding.
        scores: kind -> float array, of what was learned.
    """

    def __init__(self, student, teacher, layers, modality, channels, embed, scores):
        self.weights, self.modality = _weights(teacher), modality
        count, blocks = len(teacher.blocks), len(student.blocks)
        self.layers = _layers(layers, modality, blocks, count, self.weights)
        if "layers" in scores and blocks < count:
            self.layers = largest(scores["layers"], blocks).tolist()
        by = None if channels == FIRST else self.weights
        self.width = most_important("width", student.width, teacher.width, by)
        self.of_tower = {"width": self.width, "embed": embed}
        self.of_block = [
            {
                "heads": _heads(own.attention, its.attention, by, place, scores.get("heads")),
                "neurons": _neurons(own, its, by, place, scores.get("neurons")),
            }
            for own, its, place in zip(student.blocks, (teacher.blocks[each] for each in self.layers), self.layers)
        ]

    def taken(self, path, shape) -> np.ndarray:
        """The part of the teacher's weight that becomes the student's weight at a path, of this shape."""
        block = BLOCK.fullmatch(path)
        choices, source = self.of_tower, path
        if block:
            number = int(block[1])
            choices = choices | self.of_block[number]
            source = f"blocks.{self.layers[number]}.{block[2]}"
        if source not in self.weights:
            raise ValueError(f"the {self.modality} tower of the teacher has no {source}; give towers of one form.")
        array = self.weights[source]
        axes = next(axes for pattern, axes in AXES if re.fullmatch(pattern, block[2] if block else path))
        for axis, role in zip(range(-len(axes), 0), axes):
            if array.ndim + axis >= 0 and array.shape[axis] != shape[axis] and role in choices:
                array = np.take(array, choices[role], axis=axis)
        if array.shape != shape:
            raise NotImplementedError(
                f"{path} of the {self.modality} tower has shape {shape} and the teacher's "
                f"{self.weights[source].shape}, of which no slice is known; give it the same size there."
            )
        return array


def _weights(tower) -> dict:
    """Path -> float32 array of the weights of a tower."""
    return {each.path: ops.convert_to_numpy(ops.cast(each.variable, "float32")) for each in parameters(tower)}


def _heads(own, its, by, place, scores) -> np.ndarray:
    """Channels of the heads that are kept."""
    heads = most_important("heads", own.num_heads, its.num_heads, by, place)
    if scores is not None:
        heads = largest(scores[place], own.num_heads)
    return channels_of(heads, its.width // its.num_heads)


def _neurons(own, its, by, place, scores) -> np.ndarray:
    if own.mlp_up is None or its.mlp_up is None:
        return np.arange(0)
    if scores is not None:
        return largest(scores[place], own.mlp_up.units)
    return most_important("neurons", own.mlp_up.units, its.mlp_up.units, by, place)


def _scores(masks, modality, tower) -> dict:
    """What was learned of a tower, looked at."""
    found = masks.get(modality, {})
    count, block = len(tower.blocks), tower.blocks[0]
    shapes = {"heads": (count, block.attention.num_heads), "layers": (count,)}
    shapes["neurons"] = (count, 0 if block.mlp_up is None else block.mlp_up.units)
    for kind, scores in found.items():
        if np.shape(scores) != shapes.get(kind):
            raise ValueError(
                f"the {shown(kind)} of masks of the {modality} tower have the shape {np.shape(scores)}, but the "
                f"teacher's have {shapes.get(kind)}; give what learn_masks gave of this teacher."
            )
    return {kind: np.asarray(scores) for kind, scores in found.items()}


def _embed(student, teacher, channels) -> np.ndarray:
    """Channels of the embeddings: the same of all towers, which are compared by them."""
    weights = None
    if channels == MAGNITUDE:
        weights = {path: each for path, each in weights_of(teacher).items() if path.endswith("projection.kernel")}
    sizes = [next(iter(each.modalities().values())).embed_dim for each in (student, teacher)]
    return most_important("embed", *sizes, weights)


def _layers(asked, modality, blocks, count, weights) -> list[int]:
    if isinstance(asked, dict) and modality in asked:
        found = list(asked[modality])
        if len(found) != blocks or found != sorted(set(found)) or not all(0 <= each < count for each in found):
            raise ValueError(
                f"layers of the {modality} tower are {shown(found)}; give {blocks} numbers of the teacher's {count} "
                "blocks, in their order."
            )
        return [int(each) for each in found]
    if blocks > count:
        raise ValueError(
            f"the {modality} tower of the student has {blocks} blocks and the teacher's {count}; give it {count} or "
            "fewer."
        )
    if asked == MAGNITUDE:
        return most_important("layers", blocks, count, weights).tolist()
    return list(range(0, blocks * (count // blocks), count // blocks))


def _check_layers(layers, modalities):
    if isinstance(layers, dict):
        unknown = next((each for each in layers if each not in modalities), None)
        if unknown is not None:
            raise ValueError(f"layers names {shown(unknown)}; the towers are {', '.join(modalities)}.")
        wrong = next((each for each in layers.values() if not isinstance(each, (list, tuple, range))), None)
        if wrong is not None:
            raise TypeError(f"layers holds {shown(wrong, True)}; give a list of numbers for each tower.")
        return
    one_of(UNIFORM, MAGNITUDE)("layers", layers)


def _check_alike(modality, student, teacher):
    """Stops unless two towers differ in sizes alone."""
    if type(student) is not type(teacher) or not all(hasattr(each, "blocks") for each in (student, teacher)):
        raise NotImplementedError(
            f"the {modality} towers are a {type(student).__name__} and a {type(teacher).__name__}; weights are taken "
            "over between transformers of one kind."
        )
    own, its = student.get_config(), teacher.get_config()
    for key in own:
        if key not in (*SIZES, *NO_MATTER) and own[key] != its.get(key):
            raise ValueError(
                f"the {modality} tower of the student has {key}={shown(own[key])} and the teacher's "
                f"{shown(its.get(key))}; a student may differ in {', '.join(SIZES)} alone."
            )
    heads = [config["width"] // config["num_heads"] for config in (own, its)]
    if heads[0] != heads[1]:
        raise ValueError(
            f"heads of the {modality} tower have {heads[0]} channels and the teacher's {heads[1]}; a head is taken "
            f"over whole: give the student num_heads = width / {heads[1]}."
        )
    for key in ("width", "num_heads", "embed_dim"):
        sizes = [config.get(key) or config["width"] for config in (own, its)]
        if sizes[0] > sizes[1]:
            raise ValueError(
                f"the {modality} tower of the student has {key}={sizes[0]}, more than the teacher's "
                f"{sizes[1]}; take a larger teacher."
            )
