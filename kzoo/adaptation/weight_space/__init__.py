"""Sums of the weights of models of one architecture, which are models again."""
