import keras
import numpy as np
from shared_case import numpy

from kzoo.models.compiled import compiled, held


def test_outputs_keep_their_order():
    """Exporters name what a graph gives by the order in which its layer gives it."""
    layer = keras.layers.Dense(2)
    layer.build((None, 3))

    def named(inputs):
        found = layer(inputs)
        return {"b": found, "a": [{"d": 2 * found, "c": 3 * found}, found]}

    function, inputs = compiled(layer, named), np.ones((4, 3), "float32")
    for call in (function, held(function)):
        found = call(inputs)
        assert list(found) == ["b", "a"] and list(found["a"][0]) == ["d", "c"]
        np.testing.assert_allclose(numpy(found["a"][0]["d"]), 2 * numpy(layer(inputs)), rtol=1e-6)
