from kzoo.scale.engine import process
from kzoo.scale.starting import start

__all__ = [
    "process",
    "start",
]
