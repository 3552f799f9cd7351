"""Exported captioners: the four graphs and the runtime's captions, the SavedModel's search."""

import json
import shutil

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from shared_case import TESTS, captioner, spread, tiny_model, toy_pairs

import kzoo
from kzoo.export import ExportError, runtime
from kzoo.export.captions import worst_choice
from kzoo.export.towers import Tower
from kzoo.models import Captioner

PAIRS = toy_pairs(5)
PICTURES = PAIRS["images"]
NATIVE = {"jax": "jax2onnx", "tensorflow": "tf2onnx", "torch": "torch.onnx"}
STRATEGIES = {
    "greedy": {"prefix": "a big"},
    "sample": {"seed": 3, "top_k": 40, "num_captions": 2},
    "beam": {"num_beams": 3, "num_captions": 2, "no_repeat_ngram": 2},
    "contrastive": {"top_k": 3, "min_length": 8},
}


@pytest.fixture
def exported(coca_onnx):
    return coca_onnx


@pytest.fixture
def coca_captions(exported):
    """A model, pictures of batches of 1, 2 and 5 as its export verifies them, and the captions of the five."""
    model = exported[0]
    images = model.preprocessor.encode_images(PICTURES)["images"]
    samples = [{"images": images[:rows]} for rows in (1, 2, 5)]
    tower = Tower("caption", None, samples, {"token_ids": (15,)}, "int32")
    return model, tower, model.generate(PICTURES)[0]


def test_the_graphs(exported):
    model, folder, manifest = exported
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert list(manifest["graphs"]) == ["image_encoder", "text_encoder", "caption_memory", "caption_step"]
    assert {graph["exporter"] for graph in manifest["graphs"].values()} == {NATIVE[keras.config.backend()]}
    assert max(manifest["worst_difference"].values()) < 5e-6
    assert manifest["captions"] == {"context_length": 15, "vocab_size": 512, "pad_id": 0, "start_id": None}
    step = manifest["graphs"]["caption_step"]
    cache, memory = (
        [f"{of}{what}_{block}" for block in range(blocks) for what in ("keys", "values")]
        for of, blocks in (("", len(model.empty_cache(1, 15))), ("memory_", model.text_decoder.memory_blocks))
    )
    assert [each["name"] for each in step["inputs"]] == ["token_ids", "positions", *cache, *memory]
    assert [each["name"] for each in step["outputs"]] == ["logits", "states", *(f"new_{each}" for each in cache)]
    assert [each["name"] for each in manifest["graphs"]["caption_memory"]["outputs"]] == memory
    assert step["outputs"][0]["shape"] == ["batch", 512]
    proto = onnx.load(folder / "caption_step.onnx")
    for each in (*proto.graph.input, *proto.graph.output):
        rows = "pictures" if each.name in memory else "batch"
        assert each.type.tensor_type.shape.dim[0].dim_param == rows
    assert [each["name"] for each in step["inputs"] if each["shape"][0] == "pictures"] == memory
    images = model.preprocessor.encode_images(PICTURES)["images"]
    session = onnxruntime.InferenceSession(str(folder / "image_encoder.onnx"))
    (tokens,) = session.run(["image_tokens"], {"images": images})
    expected = keras.ops.convert_to_numpy(model({"images": images}, outputs=("image_tokens",))["image_tokens"])
    np.testing.assert_allclose(tokens, expected, atol=2e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_runtime_writes_the_models_captions(exported, strategy):
    model, folder, _ = exported
    served = runtime.load(folder)
    options = {"strategy": strategy, "return_scores": True, **STRATEGIES[strategy]}
    captions, scores = model.caption(PICTURES, **options)
    found, found_scores = served.caption(PICTURES, **options)
    assert found == captions and len({str(each) for each in captions}) > 1
    np.testing.assert_allclose(found_scores, scores, rtol=1e-4, atol=1e-5)
    assert served.caption(PICTURES, batch_size=2, **options)[0] == captions
    np.testing.assert_allclose(served.encode_image(PICTURES), model.encode_image(PICTURES), atol=5e-6)


def test_beams_hold_the_memory_of_one_picture_once(exported):
    model, folder, _ = exported
    served, images = runtime.load(folder), model.preprocessor.encode_images(PICTURES)["images"]
    for pictures, rows in ((1, 1), (2, 6)):
        decoder = served.open_decoder({"images": images[:pictures]})
        decoder.begin(3, 15)
        assert {len(each) for each in decoder.memory.values()} == {rows}
    for options in (STRATEGIES["beam"] | {"strategy": "beam"}, STRATEGIES["contrastive"] | {"strategy": "contrastive"}):
        assert served.caption(PICTURES, batch_size=1, **options) == model.caption(PICTURES, batch_size=1, **options)


@pytest.mark.one_other("jax")
def test_an_export_whose_step_gives_all_of_the_cache_still_runs(exported, tmp_path):
    model, folder, manifest = exported
    older = tmp_path / "older"
    shutil.copytree(folder, older)
    proto, step = onnx.load(older / "caption_step.onnx"), manifest["graphs"]["caption_step"]
    caches = {each["name"]: each["shape"][1:] for each in step["inputs"] if each["name"].startswith(("keys", "values"))}
    initializers = {"places": np.arange(15, dtype="int32")[:, None], "axes": np.array([1, 2, 3])}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(each, name) for name, each in initializers.items())
    for kind, read, made in (("Unsqueeze", ["positions", "axes"], "place"), ("Equal", ["place", "places"], "at")):
        proto.graph.node.append(onnx.helper.make_node(kind, read, [made]))
    for name, shape in caches.items():
        proto.graph.node.append(onnx.helper.make_node("Where", ["at", f"new_{name}", name], [f"next_{name}"]))
        output = next(each for each in proto.graph.output if each.name == f"new_{name}")
        proto.graph.output.remove(output)
        proto.graph.output.append(onnx.helper.make_tensor_value_info(f"next_{name}", 1, ["batch", *shape]))
    onnx.save(proto, older / "caption_step.onnx")
    said = json.loads((older / "manifest.json").read_text())
    for each in said["graphs"]["caption_step"]["outputs"]:
        name = each["name"].removeprefix("new_")
        if name in caches:
            each |= {"name": f"next_{name}", "shape": ["batch", *caches[name]]}
    (older / "manifest.json").write_text(json.dumps(said))
    served = runtime.load(older, verify=False)
    for options in ({}, {"strategy": "beam", "num_beams": 3}):
        assert served.caption(PICTURES, **options) == model.caption(PICTURES, **options)


def test_the_runtime_reports_bad_input_as_the_model_does(exported):
    served = runtime.load(exported[1])
    for options, sentence in (
        ({"images": []}, "images is empty; give at least one"),
        ({"strategy": "magic"}, "strategy 'magic' is unknown"),
        ({"prefix": "a big red circle and " * 9}, "1 of 1 prefixes are longer than the context of 15 ids"),
    ):
        with pytest.raises(ValueError, match=sentence):
            served.caption(**{"images": PICTURES} | options)


@pytest.mark.one_other("jax")
def test_a_captioner_without_a_text_tower(tmp_path):
    model = captioner("blip_caption_nano", PAIRS["captions"])
    manifest = model.export(tmp_path / "onnx")
    assert list(manifest["graphs"]) == ["image_encoder", "caption_memory", "caption_step"]
    served = runtime.load(tmp_path / "onnx")
    assert served.caption(PICTURES, "beam") == model.caption(PICTURES, "beam")
    with pytest.raises(ValueError, match="has no text tower: it writes captions and embeds none"):
        served.encode_text(["a big red circle"])


@pytest.mark.one_other("tensorflow")
def test_a_saved_model_writes_captions_in_its_graph(tmp_path):
    import tensorflow as tf

    model = captioner("coca_nano", PAIRS["captions"])
    manifest = model.export(tmp_path / "saved", format="tf_saved_model")
    assert list(manifest["graphs"]) == ["image_encoder", "text_encoder", "caption"]
    assert manifest["graphs"]["caption"]["outputs"] == [{"name": "token_ids", "dtype": "int32", "shape": ["batch", 15]}]
    signature = tf.saved_model.load(str(tmp_path / "saved")).signatures["caption"]
    images = model.preprocessor.encode_images(PICTURES)["images"]
    token_ids, _ = model.generate(PICTURES)
    np.testing.assert_array_equal(signature(images=tf.constant(images))["token_ids"].numpy(), token_ids)


@pytest.mark.one_other("tensorflow")  # where a search in a graph is verified
def test_a_search_that_takes_worse_ids_is_told(coca_captions):
    """The ids of a SavedModel are held against the model's logits."""
    model, tower, token_ids = coca_captions
    got = [{"token_ids": token_ids[:1]}, {"token_ids": token_ids[:2]}, {"token_ids": token_ids}]
    assert worst_choice(model, tower, got, 2e-5, "caption") < 2e-6
    got[1] = {"token_ids": np.where(np.arange(15) == 2, (token_ids[:2] + 1) % 512, token_ids[:2])}
    with pytest.raises(ExportError, match="caption: at batch 2 a caption takes an id whose logit is .* below"):
        worst_choice(model, tower, got, 2e-5, "caption")


@pytest.mark.one_other("tensorflow")
def test_without_a_vocabulary_there_are_ids_and_no_search_in_a_graph(tmp_path):
    """A checkpoint without its tokenizer: the runtime writes ids, as the model does."""
    model = kzoo.from_preset(TESTS / "fixtures" / "oc_coca_tiny")
    model.export(tmp_path / "onnx")
    served, given = runtime.load(tmp_path / "onnx"), {"prefix": [3], "end_id": None}
    expected = model.generate(PICTURES, strategy="beam", **given)
    found = served.generate(PICTURES, strategy="beam", **given)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4)
    with pytest.raises(ValueError, match="the vocabulary of this model comes with oc_coca_tiny and is not here"):
        served.caption(PICTURES)
    with pytest.raises(ValueError, match="the id that begins a caption is None, not one of this model's"):
        model.export(tmp_path / "saved", format="tf_saved_model")


@pytest.mark.one_other("tensorflow")
def test_a_head_that_reads_the_embedding(tmp_path):
    """Its image graph gives what the decoder attends to, not the tokens of the tower."""
    model = Captioner.from_dual_encoder(tiny_model(), memory="embedding", depth=1)
    spread(model.text_decoder)
    model.export(tmp_path / "onnx")
    served = runtime.load(tmp_path / "onnx")
    captions = model.caption(PICTURES, "beam")
    assert served.caption(PICTURES, "beam") == captions and len(set(captions)) > 1
    np.testing.assert_allclose(served.encode_image(PICTURES), model.encode_image(PICTURES), atol=2e-6)
