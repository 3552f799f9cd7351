"""Measurements: the suite, `python -m benchmarks`, and scripts of single questions, each run by its path."""
