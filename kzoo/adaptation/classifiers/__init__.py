"""Classifiers on stored embeddings: made of arrays, in numpy, for a model, an export and a file alike."""
