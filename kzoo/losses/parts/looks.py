"""What a loss says of a batch before a step: of arrays by name, whose numbers can be seen."""

from kzoo.losses.parts.numbers import check_numbers
from kzoo.losses.parts.shapes import check_shapes, in_rows, sizes_of


class Looks:
    """`look` and `rows_of` of every loss that names what it reads."""

    def look(self, tensors, outputs=None) -> None:
        """Stops where arrays of a batch have shapes or numbers that the loss cannot read.

        Args:
            tensors: name -> array.
            outputs: name -> what has the shape of an output of the model, by which classes are counted.
        """
        found = self._found(tensors | self.rows_of(tensors))
        check_shapes(self, [(argument, each) for argument, _, each in found if argument in self.optional_names])
        given = [(argument, each) for argument, _, each in found]
        outputs = [(argument, each) for argument, _, each in self._found(outputs or {})]
        check_numbers(self, given, sizes_of(self, [*given, *outputs]))

    def rows_of(self, tensors) -> dict:
        """Of a batch, name -> array, those that are a column of one number for each row, as rows."""
        rows = {name: in_rows(each, self.shapes.get(argument)) for argument, name, each in self._found(tensors)}
        return {name: each for name, each in rows.items() if each is not tensors[name]}

    def _found(self, tensors):
        names = [*zip(self._positional(len(self.input_names)), self.input_names), *self.optional_names.items()]
        return [(argument, name, tensors[name]) for argument, name in names if name in tensors]
