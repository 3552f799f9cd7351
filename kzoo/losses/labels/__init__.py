"""Losses of embeddings, or scores, with labels."""
