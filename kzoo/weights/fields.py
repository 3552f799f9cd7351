"""Another library's config, read field by field with a sentence where one is not understood."""

import json
from typing import Any


class Fields:
    """A dict of a config file that names itself in its errors.

    Args:
        values: content.
        place: name of the file and of the part, for messages.
    """

    def __init__(self, values, place):
        if not isinstance(values, dict):
            raise ValueError(f"{place} holds {json.dumps(values)[:60]}, but an object is expected.")
        self.values, self.place = values, place

    def __contains__(self, name) -> bool:
        return name in self.values

    def get(self, name, default=None) -> Any:
        """A field; without a default it must be there."""
        value = self.values.get(name, default)
        if value is None:
            raise ValueError(f"{self.place} has no {name!r}, which the architecture needs.")
        return value

    def part(self, name) -> "Fields":
        """A field that is an object itself."""
        return Fields(self.get(name, {}), f"{self.place}, {name}")

    def choice(self, name, known, default) -> Any:
        """A field that stands for one of a few things."""
        value = self.values.get(name, default)
        if value not in known:
            raise ValueError(f"{self.place} says {name}={value!r}; this version knows {', '.join(map(repr, known))}.")
        return known[value]

    def refuse(self, **plain) -> None:
        """Stops at a field whose value is not the plain one: what it asks for is not built."""
        for name, expected in plain.items():
            if name in self.values and self.values[name] not in (expected, None):
                raise ValueError(f"{self.place} says {name}={self.values[name]!r}, which this version cannot build.")
