"""Losses of sentences, their partners and their graded pairs."""
