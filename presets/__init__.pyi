from kzoo.presets.description import describe
from kzoo.presets.loader import from_preset
from kzoo.presets.table import list_presets, read_row

__all__ = [
    "describe",
    "from_preset",
    "list_presets",
    "read_row",
]
