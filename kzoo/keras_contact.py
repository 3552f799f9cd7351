"""The contact with Keras below its documented surface: what goes past its tracking, and every private name of it."""


def called_by_compiled_loss(loss):
    """Whether a layer is being called by `keras.Model.compile(loss=layer)`, as the function of targets and predictions.

    Keras makes a loss of any callable there, which bears its name, in a scope of the compiled loss.

    Example:
        >>> called_by_compiled_loss(InfoNCE())
        False
    """
    from keras.src.backend.common.name_scope import current_path

    return current_path().split("/")[-2:] == ["compile_loss", loss.name]
