"""Which weights of each family devices can share."""

import json
from pathlib import Path

import keras
import pytest

import kzoo
from kzoo.presets.build import build
from kzoo.presets.table import read_row

TABLES = [
    json.loads(path.read_text("utf-8"))
    for path in sorted((Path(kzoo.__file__).parent.parent / "presets").glob("*.json"))
]
NANO = [name for table in TABLES for name in table.get("presets", {}) if name.endswith("_nano")]
MESH = keras.distribution.DeviceMesh((1, 2), ["batch", "model"], devices=["cpu:0", "cpu:1"])
pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", NANO)
def test_the_wide_layers_of_every_family_are_split(name):
    layouts, split, whole = kzoo.scale.layout_map(MESH), 0, 0
    for variable in build(read_row(name)).variables:
        layout, size = layouts[variable.path], 1
        for side in variable.shape:
            size *= side
        whole += size
        if layout is not None:
            split += size
            assert len(layout.axes) == len(variable.shape), variable.path
            assert all(side % 2 == 0 for side, axis in zip(variable.shape, layout.axes) if axis), variable.path
    assert split > 0.3 * whole


def test_what_is_no_mesh_is_said():
    with pytest.raises(TypeError, match="device_mesh is of type int; give a keras.distribution.DeviceMesh"):
        kzoo.scale.layout_map(2)
    with pytest.raises(ValueError, match="axis is 'tensor', but the mesh has batch, model; give one of them"):
        kzoo.scale.layout_map(MESH, axis="tensor")
