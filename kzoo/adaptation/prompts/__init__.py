"""Prompt learning: classifiers made of a dual encoder whose weights stay, of which prompts alone are trained."""
