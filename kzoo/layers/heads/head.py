"""A layer between the towers of a model and its loss, with the names of what it reads and gives."""

import inspect

import keras

from kzoo.arguments import NAME, able, names
from kzoo.layers.configured import Configured

NAMES = (NAME | names()).said("the name of a tensor, or several")


@keras.saving.register_keras_serializable(package="kzoo")
class Head(Configured, keras.layers.Layer):
    """A layer and the names of its tensors: what a model runs behind its towers.

    A `*` in a name stands for every slot of the model that is there: `Head(Projector((64,)), "*_features",
    "*_projected")` projects `image_features` to `image_projected`, and `text_features` to `text_projected`.

    Args:
        layer: keras layer, called as `layer(*tensors)`, and with `training` where its `call` takes it. It returns one
            tensor, or several as a tuple, a list, or a dict.
        reads: names of the tensors that it is called with, in the order of its arguments; a string for one.
        gives: names of what it returns; a string for one. A tuple is named in its order, a dict by its keys: `"common"`
            is given as `common` or as a name that ends so, `view_1_common` or `*_common`.
        name: default the first of `gives`, without the `*`.

    Inputs:
        the tensors of `reads`, as many positional arguments; they are not cast.

    Returns:
        dict: name, as it stands in `gives` -> tensor, as the layer gives it.

    Raises:
        ValueError: no name, a name twice or with more than one `*`, a `*` on one side only, more tensors than the layer
            takes, or another number of results than names.

    Example:
        >>> head = Head(Projector((64, 16)), reads="image_features", gives="image_projected")
        >>> head(np.zeros((2, 32)))["image_projected"].shape
        (2, 16)
        >>> head.names_for("image")
        (('image_features',), ('image_projected',))
    """

    arguments = {"layer": able("call build", "a layer of Keras"), "reads": NAMES, "gives": NAMES}

    def __init__(self, layer, reads, gives, name=None, **kwargs):
        reads, gives = (_names(each, which) for each, which in ((reads, "reads"), (gives, "gives")))
        starred = [name for name in gives if "*" in name]
        if bool(starred) != any("*" in name for name in reads):
            place, other = ("gives", "reads") if starred else ("reads", "gives")
            raise ValueError(f"a head's {place} have a '*', which stands for each slot, but its {other} have none.")
        if starred and len(starred) < len(gives):
            plain = next(name for name in gives if "*" not in name)
            raise ValueError(f"a head with a '*' would give {plain!r} once for each slot; write '*_{plain}'.")
        super().__init__(name=name or gives[0].replace("*", "").strip("_") or None, autocast=False, **kwargs)
        self.reads, self.gives = reads, gives
        self.layer = layer
        self.takes_training = "training" in _check_takes(layer, reads)

    @property
    def runs_per_slot(self) -> bool:
        """Whether a `*` stands for each slot."""
        return "*" in self.gives[0]

    def names_for(self, slot) -> tuple:
        """`(reads, gives)` with a slot in place of the `*`."""
        return tuple(tuple(name.replace("*", slot) for name in names) for names in (self.reads, self.gives))

    def build(self, shapes) -> None:
        """Builds the layer for a list of the shapes of what it reads, with None where a side varies."""
        if len(shapes) != len(self.reads):
            raise ValueError(f"head {self.name!r} reads {len(self.reads)} tensors, but got {len(shapes)} shapes.")
        if self.layer.built:
            return
        if type(self.layer).build is keras.layers.Layer.build:  # none of its own: a call builds what it holds
            self.layer(*(keras.KerasTensor(shape) for shape in shapes))
        else:
            self.layer.build(*map(_as_tuple, shapes))

    def compute_output_shape(self, shapes) -> dict:
        """Name, as in `gives` -> shape, for the shapes of what it reads."""
        if type(self.layer).compute_output_shape is not keras.layers.Layer.compute_output_shape:
            found = self.layer.compute_output_shape(*map(_as_tuple, shapes))
            several = isinstance(found, dict) or (len(found) and isinstance(found[0], (tuple, list)))
            return self._named(found if several else [found])
        tensors = self.layer.compute_output_spec(*(keras.KerasTensor(shape) for shape in shapes))
        return {name: tensor.shape for name, tensor in self._named(tensors).items()}

    # -- forward --
    def call(self, *tensors, training=None) -> dict:
        keywords = {"training": training} if self.takes_training else {}
        return self._named(self.layer(*tensors, **keywords))

    def _named(self, results):
        if isinstance(results, dict):
            found = {name: [key for key in results if name == key or name.endswith(f"_{key}")] for name in self.gives}
            unnamed = set(results) - {key for keys in found.values() for key in keys}
            if unnamed or any(len(keys) != 1 for keys in found.values()):
                raise ValueError(
                    f"head {self.name!r} gives {', '.join(self.gives)}, but its layer returns "
                    f"{', '.join(map(str, results))}; let each name end in one of these."
                )
            return {name: results[key] for name, (key,) in found.items()}
        results = results if type(results) in (tuple, list) else [results]  # LinearLogits is one
        if len(results) != len(self.gives):
            raise ValueError(
                f"head {self.name!r} gives {len(self.gives)} tensors, {', '.join(self.gives)}, but its layer returns "
                f"{len(results)}; name each of them."
            )
        return dict(zip(self.gives, results))

    # -- config --
    def get_config(self) -> dict:
        # written out: a copy made from the config has a layer of its own
        own = {"layer": keras.saving.serialize_keras_object(self.layer), "name": self.name}
        return super().get_config() | own | {"reads": list(self.reads), "gives": list(self.gives)}


def _as_tuple(shape):
    """A shape, or shapes within each other as those of `LinearLogits`, which a saved model gives as lists."""
    return tuple(map(_as_tuple, shape)) if isinstance(shape, (tuple, list)) else shape


def _names(given, which):
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names or not all(names):
        raise ValueError(f"a head's {which} are empty; name a tensor, such as 'image_features'.")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"a head's {which} name {name!r} twice; give each name once.")
        if name.count("*") > 1:
            raise ValueError(f"{name!r} has more than one '*'; it stands for a slot, which a tensor has one of.")
    return names


def _check_takes(layer, reads):
    parameters = inspect.signature(layer.call).parameters
    tensors = [each for each in parameters.values() if each.name != "training"]
    most = sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in tensors)
    if len(reads) > most and not any(each.kind is each.VAR_POSITIONAL for each in tensors):
        raise ValueError(
            f"the head reads {len(reads)} tensors, {', '.join(reads)}, but {type(layer).__name__} takes {most}."
        )
    return parameters
