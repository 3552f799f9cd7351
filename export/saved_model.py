"""TensorFlow SavedModel: one archive, one set of variables, a signature per use."""

from collections.abc import Iterator

import keras

from kzoo.export.captions import saved_towers
from kzoo.export.child import export_on
from kzoo.export.manifest import describe_towers, signature_of
from kzoo.extras import require

PURPOSE = "Exporting a SavedModel"


def write_saved_graphs(model, folder, verified) -> dict:
    """All signatures of a model in one archive; see `kzoo.export.onnx_graphs.write_onnx_graphs`."""
    towers = saved_towers(model)
    graphs = describe_towers(towers, "tf_saved_model")
    exporter = write_saved_model(model, towers, folder)
    for tower in towers:
        graphs[tower.name] |= verified(tower, exporter, run_saved_model(folder, tower))
    return graphs


def write_saved_model(model, towers, folder) -> str:
    """Write the SavedModel into `folder`; from jax and torch through a process that runs on TensorFlow.

    Neither backend writes one of its own that works: what jax writes fails at its first call, and torch
    fails while writing.

    Returns:
        str, the exporter that wrote it.
    """
    require("tensorflow", "tensorflow", PURPOSE)
    if keras.config.backend() != "tensorflow":
        return export_on("tensorflow", model, folder, "tf_saved_model")
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    for tower in towers:
        specs = [tf.TensorSpec((None, *shape), dtype, name=name) for name, (shape, dtype) in tower.inputs.items()]
        archive.track(tower.graph)
        archive.add_endpoint(signature_of(tower.name), tower.graph.__call__, input_signature=specs)
    if model.similarity is not None:
        rows = [tf.TensorSpec((None, model.embed_dim), "float32", name=name) for name in ("images", "texts")]
        archive.add_endpoint(
            "similarity", lambda images, texts: {"logits": model.similarity(images, texts)}, input_signature=rows
        )
    archive.write_out(str(folder), verbose=False)
    return "keras.export"


def run_saved_model(folder, tower) -> Iterator:
    """What TensorFlow gives on the tower's samples, in the form of `kzoo.export.verify.reference`."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(folder)).signatures[signature_of(tower.name)]
    return tower.run(
        lambda inputs: {
            name: value.numpy()
            for name, value in signature(**{name: tf.constant(array) for name, array in inputs.items()}).items()
        }
    )
