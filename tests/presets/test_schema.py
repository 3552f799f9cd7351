"""The schema of configs: what every row of the tables says is within it, and every parameter of a tower has
a line there or in the tower itself."""

import inspect

import pytest

from kzoo import encoders
from kzoo.arguments import declared
from kzoo.presets import schema, table

pytestmark = pytest.mark.once
NAMES = [row["name"] for row in table.list_presets()]
OWN = {"name", "dtype", "trainable"}


def test_rows_of_the_tables_are_within_the_schema():
    for name in NAMES:
        row = {key: value for key, value in table.read_row(name).items() if value is not None}
        assert not list(schema.problems(row, name, whole_row=True))


def test_every_parameter_of_a_tower_is_declared():
    for tower in encoders.KINDS:
        if tower.kind not in schema.ELSEWHERE:
            parameters = inspect.signature(tower.__init__).parameters.values()
            names = {each.name for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD} - {"self"}
            assert names - OWN <= schema.TOWER.keys() | declared(tower).keys(), tower
