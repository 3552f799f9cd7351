"""What the first of several processes does for all of them, where the engine can send them nothing but numbers."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np


def done_by_first(action, index, of_first: Callable, failed_there) -> Any:
    """What the first process alone does while the others wait; all get what it gives.

    Args:
        action: function of nothing; what it gives can be pickled.
        index: of this process, from 0.
        of_first: function of an array of whole numbers to the one that the first process has, on all of them, which
            wait for each other; of one shape and dtype on all.
        failed_there: sentence for the others, where the first one failed.

    Raises:
        RuntimeError: on the others, where the first one failed; that raises its own error.
    """
    failed, given = None, b""
    if index == 0:
        try:
            given = pickle.dumps(action())
        except BaseException as error:  # the others are told of Ctrl-C, too
            failed = error
    size = int(of_first(np.array([-1 if failed else len(given)], "int32"))[0])
    if failed is not None:
        raise failed
    if size < 0:
        raise RuntimeError(failed_there)
    own = given if index == 0 else bytes(size)
    return pickle.loads(of_first(np.frombuffer(own, "uint8")).tobytes())
