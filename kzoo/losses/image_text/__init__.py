"""Losses of pairs of an image and a text, or of more modalities."""
