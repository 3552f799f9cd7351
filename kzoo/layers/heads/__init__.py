"""Layers between towers and losses."""

from kzoo.layers.heads.head import Head

__all__ = ["Head"]
