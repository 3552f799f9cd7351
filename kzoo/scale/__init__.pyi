from kzoo.scale.engine import process
from kzoo.scale.memory import memory_estimate
from kzoo.scale.starting import start

__all__ = [
    "memory_estimate",
    "process",
    "start",
]
