"""Small models from large ones: what a teacher says, stored once, and weights that a student takes over."""
