"""torchvision where its own library cannot be loaded.

Its wheel is built for one torch; on another, such as one without CUDA, the operators that it compiles are lacking, and
with the first of them its import fails. open_clip and transformers import it for their image steps, which no case asks
for: operators that have a name and cannot be called are enough for them.
"""

import sys

OPERATORS = ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
BACKWARD = ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
_libraries = []  # torch forgets the names with them


def make_importable() -> None:
    """Import torchvision, where need be with names alone."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [each for each in sys.modules if each.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in (*OPERATORS, *(f"_{each}_backward" for each in BACKWARD)):
            library.define(f"{name}(Tensor x) -> Tensor")
        _libraries.append(library)
