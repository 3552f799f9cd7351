"""Keras without kzoo: only imported."""


def prepare(case, options, about):
    raise NotImplementedError("Keras alone is imported, and has no model to measure.")
