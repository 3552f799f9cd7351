"""Words for what goes in and comes out, for type checkers and readers. No Keras here."""

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray  # of numpy
Tensor: TypeAlias = Any  # of the backend: Keras has no name for it that a type checker would know
