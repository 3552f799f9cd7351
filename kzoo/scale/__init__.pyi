from kzoo.scale.engine import process
from kzoo.scale.layouts import layout_map
from kzoo.scale.memory import memory_estimate
from kzoo.scale.starting import start

__all__ = [
    "layout_map",
    "memory_estimate",
    "process",
    "start",
]
