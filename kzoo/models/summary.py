"""What a model shows of itself: its layers with the shapes of what they give."""

from kzoo import keras_contact


class Summary:
    """`summary` and `repr` of every model."""

    def summary(self, *args, **kwargs) -> None:
        """Print the layers with the shapes of what they give and the numbers of their parameters, as in `keras.Model`.

        Nothing is computed: towers and heads declare their shapes, None where a side varies.

        Args:
            *args, **kwargs: as in `keras.Model.summary`.
        """
        with keras_contact.shapes_shown(self.shown_shapes()):
            super().summary(*args, **kwargs)

    def shown_shapes(self) -> list:
        """What layers of the model give, list of `(layer, shapes)`: a shape, or name -> shape."""
        shown = []
        for modality, tower in self.modalities().items():
            shapes = {"embedding": self.shape_of(f"{modality}_features")}
            if tower.token_dim is not None:
                shapes["tokens"] = self.shape_of(f"{modality}_tokens")
            shown.append((tower, shapes))
        shown += [(head, {name: self.shape_of(name) for name in head.gives}) for head in self.heads]
        if self.similarity is not None:
            shown.append((self.similarity, ()))
        if self.teacher is not None:
            towers = self.modalities().items()
            given = {f"teacher_{name}_embeddings": (None, tower.embed_dim) for name, tower in towers}
            shown.append((self.teacher, given))
        if self.compiled:
            shown += [(self.objective, ()), (self.gradients, {})]  # which are not given on
        return shown

    def __repr__(self) -> str:
        towers = ", ".join(f"{name} {tower.embed_dim}" for name, tower in self.modalities().items())
        loss = f", compiled with {self.objective!r}" if self.compiled else ""
        return f"<{type(self).__name__} {self.name!r}: {towers}; {self.count_params():,} parameters{loss}>"
