"""Losses of what a model writes: captions, pixels, states of tokens."""
