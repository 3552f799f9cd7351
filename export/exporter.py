"""`model.export`: write, verify, and only then leave a folder of graphs."""

import json

import keras

import kzoo
from kzoo.arguments import FLAG, PATH, POSITIVE, TABLE, able, one_of, takes, whole
from kzoo.export import runtime
from kzoo.export.captions import worst_choice
from kzoo.export.formats import FORMATS, OPSET, options_of
from kzoo.export.manifest import FIRST_OPSET, MANIFEST_FILE
from kzoo.export.onnx_writers import check_opset
from kzoo.export.quantize import ARGUMENTS, MAX_RECALL_DROP, MIN_COSINE, gate_of
from kzoo.export.rounding import lazily
from kzoo.export.towers import BATCHES, towers_of, writes_captions
from kzoo.export.verify import asked_as_a_user, reference, worst_difference
from kzoo.extras import require
from kzoo.files import disk
from kzoo.files.fingerprint import fingerprint_of
from kzoo.files.layouts import files_of
from kzoo.files.writing import writing
from kzoo.presets.build import as_exported, as_float32

TOLERANCES = {"float32": 2e-5, "float16": 5e-3}  # on unit-length embeddings, by the dtype of the graphs


@takes(
    model=able("modalities exported", "a model of kzoo"),
    folder=PATH,
    format=one_of(*FORMATS),
    tolerance=POSITIVE,
    opset=whole(FIRST_OPSET).said(f"a version of ONNX's operators, {FIRST_OPSET} or later"),
    dtype=one_of(*TOLERANCES),
    overwrite=FLAG,
    beside=TABLE | None,
    **ARGUMENTS,
)
def export(
    model,
    folder,
    format="onnx",
    tolerance=None,
    opset=OPSET,
    dtype="float32",
    overwrite=False,
    beside=None,
    quantize=None,
    samples=None,
    min_cosine=MIN_COSINE,
    max_recall_drop=MAX_RECALL_DROP,
) -> dict:
    """Write the towers of a model as graphs that run without Keras.

    The folder holds a graph for each tower, such as `image_encoder.onnx` and `text_encoder.onnx` (or one TensorFlow
    SavedModel with the signatures `encode_image`, `encode_text` and `similarity`), `tokenizer.json` and
    `manifest.json`; docs/deployment.md says which format is for what. Graphs take all that their towers read, raw uint8
    pixels and token ids with their masks, in any batch, and return unit-length float32 embeddings. Each is run at batch
    1, 2 and 5 and compared with the model first, and then the export is asked as a user asks, for pictures and texts;
    above `tolerance` an error is all that is left.

    A tower leaves in the form that it has for inference: the branches of a FastViT are one convolution there, compared
    with the tower that has them, which stays as it is. Graphs of ONNX are optimised: batch norms, scales and padding go
    into the weights beside them, norms that an exporter wrote out become one operator, all before they are compared.

    A `Captioner` leaves with `caption_memory.onnx` (what every step needs of a picture's tokens, which its image
    encoder gives too) and `caption_step.onnx` (one id of each row, with a cache of fixed shape and the rows at
    positions of their own), compared over 16 steps; a SavedModel has the signature `caption`, a greedy search in the
    graph.

    Args:
        model: a kzoo model, with a preprocessor if it reads pictures or texts. Models of other dtypes leave in float32.
        folder: path to write. An earlier export there is replaced when the new one is verified, and stays until then;
            anything else is refused.
        format: `"onnx"`; `"openvino"`, by way of ONNX; `"tf_saved_model"` and `"litert"`, which TensorFlow writes, and
            `"torch_export"`, which torch does: from another backend in a process of its own.
        tolerance: bound on the difference of the embeddings, and of what else a graph gives relative to its largest
            value; default 2e-5, and 5e-3 in float16. The manifest says it. By default rows in which rounding alone
            moves the model's own numbers that far are left out, with a warning, if they are at most half of all.
        opset: version of ONNX's operators, for runtimes that know no later one.
        dtype: `"float32"`, or of ONNX and OpenVINO `"float16"`: half the size. ONNX keeps norms and softmaxes in
            float32, OpenVINO all that is computed; what goes in and comes out stays what it is.
        overwrite: whether to write into a folder that holds something else. A model in it is replaced; files that
            belong to none stay as they are.
        beside: dict of names of further files -> bytes, which are written and replaced together with the graphs, such
            as that of a classifier.
        quantize: of ONNX, `"int8"`: products in int8, as far as each graph stays near to itself in float32 on
            `samples`; or `"float16"`: weights stored in float16, computed with in float32 (for arithmetic in float16
            there is `dtype`). Where a level loses more than the bounds allow, the next milder one is taken and a
            warning says why; `"quantized"` of the manifest has levels, cosines, sizes and speed.
        samples: pictures and texts that are like those to come, some tens or hundreds: a folder of pictures, a list of
            pictures and texts, a dict with `"images"` (a folder or a list), `"texts"` or both, or pairs as
            `kzoo.data.pairs` takes them, with which recall is measured too. A graph without samples stays in float32.
        min_cosine: bound of a quantised graph: of the smallest cosine of its outputs with those in float32.
        max_recall_drop: bound with pairs: by how much recall@1 and recall@5 of the samples may fall, as a share.

    Returns:
        dict: the manifest.

    Raises:
        ImportError: an extra is missing; the sentence names it.
        FileExistsError: the folder holds something else than an export.
        OSError: the folder cannot be written; found out before anything is exported, as far as it can be.
        ExportError: a graph could not be written, or differs from the model.
        ValueError: an unknown format or dtype, an opset that is none, a format that takes no such option, a model
            without a preprocessor, a SavedModel of a captioner without a start id; `quantize` without samples or beside
            a dtype.

    Example:
        >>> model.export("my_clip_onnx")["worst_difference"]
        {'image_encoder': 1.2e-07, 'text_encoder': 1.5e-07}

        >>> model.export("my_clip_int8", quantize="int8", samples="photos/")["quantized"]["graphs"]["image_encoder"]
        {'level': 'int8', 'bytes': {...}, 'refused': {}, 'cosine': {'min': 0.9996, 'mean': 0.9998}, 'speed': 2.9}

    Reference:
        Dynamic quantisation: onnxruntime. Rescaling: Xiao et al., SmoothQuant, 2023, arXiv 2211.10438.
    """
    options = options_of(format, {"opset": opset, "dtype": dtype})
    rounding = dtype if tolerance is None else None  # who sets a bound means all rows
    tolerance = TOLERANCES[dtype] if tolerance is None else tolerance
    if model.preprocessor is None and {"image", "text"} & {tower.modality for tower in model.modalities().values()}:
        raise ValueError("the model has no preprocessor, so its export could read no picture; set one first.")
    for module, extra in FORMATS[format].needs:
        require(module, extra, f"Exporting to format {format!r}")
    if "opset" in options:
        check_opset(opset)
    gate = gate_of(model, format, dtype, quantize, samples, min_cosine, max_recall_drop)
    with writing(folder, format, overwrite) as place:
        model = as_float32(model)
        leaving = as_exported(model)
        # graphs are compared with the model itself, also where what leaves is another form of it
        own = {} if leaving is model else {tower.name: tower for tower in towers_of(model)}

        def verified(tower, exporter, got):
            what = f"{tower.name} by {exporter}"
            if tower.name == "caption":
                worst = worst_choice(model, tower, got, tolerance, what)
            else:
                meant = own.get(tower.name, tower)
                out = rounding and lazily(meant.graph, lambda: [*reference(meant)], tolerance, rounding)
                worst = worst_difference(reference(meant), got, tolerance, what, out)
            return {"exporter": exporter, "worst_difference": worst}

        graphs = FORMATS[format].write(leaving, place, verified, **options)
        manifest = {
            "kzoo": kzoo.__version__,
            "format": format,
            "dtype": dtype,
            "opset": options.get("opset"),
            "tolerance": tolerance,
            "preset": model.name,
            "backend": keras.config.backend(),
            "embed_dim": model.embed_dim,
            "similarity": dict(zip(("scale", "bias"), model.scale_and_bias())),
            "graphs": graphs,
            "fingerprints": {name: fingerprint_of(place / name) for name in files_of(place, format)},
            "worst_difference": {name: graph["worst_difference"] for name, graph in graphs.items()},
            "verified_batches": list(BATCHES),
            "preprocessor": model.preprocessor and model.preprocessor.save(place),  # with the fingerprint of its own
        }
        if writes_captions(model):
            manifest["captions"] = {
                "context_length": model.token_tower().context_length,
                "vocab_size": model.caption_vocab_size,
                "pad_id": model.caption_pad_id,
                "start_id": model.caption_start_id,  # of the decoder, where the tokenizer has none
            }
        if FORMATS[format].engine is not None:
            manifest["asked"] = asked_as_a_user(model, runtime.opened(place, manifest), tolerance, rounding)
        if gate is not None:
            manifest |= gate(place, manifest)
        files = {MANIFEST_FILE: (json.dumps(manifest, indent=2) + "\n").encode()} | (beside or {})
        for name, content in files.items():
            disk.write(place / name, content)
    return manifest
