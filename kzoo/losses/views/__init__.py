"""Losses of several views of the same thing."""
