"""Image towers of timm, as open_clip wraps them: a file for each kind, joined to the config by `joined`."""

from kzoo.weights.trunks.joined import ARGUMENTS, KINDS, read_trunk, trunk_entries, write_trunk

__all__ = ["ARGUMENTS", "KINDS", "read_trunk", "trunk_entries", "write_trunk"]
