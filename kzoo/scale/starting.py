"""The way in: one call that starts the engine of the backend."""

from collections.abc import Iterator
from contextlib import contextmanager

from kzoo.arguments import COUNT, takes
from kzoo.scale.engine import engine


@contextmanager
@takes(devices=COUNT | None)
def start(devices=None) -> Iterator:
    """Within it models are built and trained on all devices, and every loss sees the whole batch.

    Build or open the model, compile and train within it. With one device it does nothing.

    Args:
        devices: how many, where not all there are shall work; on PyTorch that is for `torchrun` to say.

    Raises:
        ValueError: more devices than there are.

    Example:
        >>> with kzoo.scale.start():
        ...     model = kzoo.from_preset("clip_base")
        ...     model.compile("clip_adamw")
        ...     model.fit(kzoo.data.pairs("photos.csv", model.preprocessor, batch_size=4096))
    """
    with engine().started(devices):
        yield
