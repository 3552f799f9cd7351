"""What Keras makes of the errors of a layer, and from where it calls one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dis import opmap

RAISE = opmap["RAISE_VARARGS"]  # the instruction of a `raise`
WRAPPED = "Exception encountered when calling "  # begins what Keras makes of an error


def called_by_compiled_loss(loss) -> bool:
    """Whether a layer is being called by `keras.Model.compile(loss=layer)`, as the function of targets and predictions.

    Keras makes a loss of any callable there, which bears its name, in a scope of the compiled loss.

    Example:
        >>> called_by_compiled_loss(InfoNCE())
        False
    """
    from keras.src.backend.common.name_scope import current_path

    return current_path().split("/")[-2:] == ["compile_loss", loss.name]


@contextmanager
def as_said() -> Iterator:
    """Around the call of a layer: what kzoo itself says is raised as it was said.

    Keras puts the errors of a `call` into pages of its own, with the values of all arguments, once for each layer that
    holds another. That helps where a backend failed, and hides a sentence that says what came and what to do.

    Example:
        >>> with as_said():
        ...     super().__call__(*arguments, **keywords)
    """
    try:
        yield
    except Exception as error:
        said, text = error, str(error)
        while said is not None and not (_said_by_kzoo(said) and str(said) in text):
            said = said.__context__
        if said is None:
            raise
        said._keras_call_info_injected = True  # so that layers around this one leave it alone
        raise said from said.__cause__


def _said_by_kzoo(error):
    """Whether an error comes from a `raise` in a file of kzoo, not from what such a file has called."""
    if str(error).startswith(WRAPPED):
        return False
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or place.tb_frame.f_globals.get("__name__", "").split(".")[0] != "kzoo":
        return False
    return place.tb_frame.f_code.co_code[place.tb_lasti] == RAISE
