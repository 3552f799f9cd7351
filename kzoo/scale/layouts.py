"""Which weights several devices share on jax: those of the wide layers of every tower, by their paths."""

import keras

from kzoo.arguments import NAME, takes

# Of two layers in a row the first is split by what it gives and the second by what it reads, so that between them no
# device needs what another one computed: Shoeybi et al., Megatron-LM, 2019, arXiv 1909.08053.
GIVES = (
    r"(query|key|value)",  # of attention: its heads
    r"mlp_(up|gate)",
    r"mlp/up",  # of convolutional blocks, as the next ones
    r"stage_\d+_\d+/expand",
    r"merging/reduction",
)
READS = (r".*attention/out", r".*mlp_down", r".*mlp/down", r".*stage_\d+_\d+/project", r"(.*/)?text_decoder/head")
CONVOLUTIONS_GIVE = (r"expand/convolution", r"conv_2/convolution", r"stage_\d+/reduction")
CONVOLUTIONS_READ = (r"project/convolution", r"conv_3/convolution")


@takes(axis=NAME)
def layout_map(device_mesh, axis="model") -> keras.distribution.LayoutMap:
    """The layout of the towers' weights for `keras.distribution.ModelParallel`: for models that fit on no device.

    Split along one side of the mesh are the projections of attention by heads, the layers of every MLP by their hidden
    width, token embeddings by their width, and the wide convolutions of convolutional towers; all else (norms,
    positions, patch embeddings, projections) is small, and every device has it. Gradients and the state of the
    optimizer go with the weights. On jax; the distribution is set before the model is built.

    Args:
        device_mesh: a `keras.distribution.DeviceMesh`, such as one of (8, 4) devices with the axes "batch" and "model".
        axis: the name of its axis along which weights are split. Its length has to divide the widths; by more than
            the number of heads, it splits within heads, which is right but slower.

    Raises:
        TypeError: no mesh.
        ValueError: a mesh without that axis.

    Example:
        >>> mesh = keras.distribution.DeviceMesh((8, 4), ["batch", "model"])
        >>> layouts = kzoo.scale.layout_map(mesh)
        >>> with keras.distribution.ModelParallel(layout_map=layouts, auto_shard_dataset=False).scope():
        ...     model = kzoo.from_preset("clip_giant_patch14_laion2b_s34b")
    """
    if not isinstance(device_mesh, keras.distribution.DeviceMesh):
        raise TypeError(
            f"device_mesh is of type {type(device_mesh).__name__}; give a keras.distribution.DeviceMesh, such as "
            'DeviceMesh((2, 4), ["batch", "model"]).'
        )
    if axis not in device_mesh.axis_names:
        raise ValueError(f"axis is {axis!r}, but the mesh has {', '.join(device_mesh.axis_names)}; give one of them.")
    found = keras.distribution.LayoutMap(device_mesh)
    for layer in GIVES:
        found[rf".*/{layer}/kernel"] = (None, axis)
        found[rf".*/{layer}/bias"] = (axis,)
    for layer in READS:
        found[rf"{layer}/kernel"] = (axis, None)
    for layer in CONVOLUTIONS_GIVE:
        found[rf".*/{layer}/kernel"] = (None, None, None, axis)
    for layer in CONVOLUTIONS_READ:
        found[rf".*/{layer}/kernel"] = (None, None, axis, None)
    found[r".*token_embedding"] = (None, axis)
    found[r".*/prototypes"] = (axis, None)
    return found
