"""Quantised exports: the levels and their bounds on pictures and texts of the user, and what is said of them."""

import json
import re
import shutil

import keras
import numpy as np
import onnx
import pytest
from cli_case import fails, run
from PIL import Image
from shared_case import TESTS, captioner, spread, tiny_model, toy_pairs

from kzoo.export import calibration, runtime
from kzoo.export.int8_graphs import prepared, products, rescaled
from kzoo.export.quantize import Gate
from kzoo.export.samples import read_samples
from kzoo.keras_contact import layers_within
from kzoo.preprocessing import Preprocessor

MILDER = ("int8_rescaled", "int8_mixed")  # which of the two, rounding may decide
PAIRS = toy_pairs(12)
GIVEN = {"images": [*PAIRS["images"]], "texts": PAIRS["captions"]}


def outliers(model):
    """Gains as trained transformers have them: of every norm four channels, other ones in each, that are large."""
    for number, layer in enumerate(each for each in layers_within(model) if hasattr(each, "gamma")):
        gains = keras.ops.convert_to_numpy(layer.gamma).copy()
        gains[np.random.default_rng(number).choice(len(gains), 4, replace=False)] *= 20.0
        layer.gamma.assign(gains)
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model with outliers, and its export in float32."""
    model = tiny_model(image_size=16, width=64, num_heads=4, depth=1)
    for tower in (model.image_encoder, model.text_encoder):
        spread(tower)
        for weight in tower.weights:
            if len(weight.shape) > 1:
                weight.assign(0.5 * keras.ops.convert_to_numpy(weight))
    folder = tmp_path_factory.mktemp("quantized") / "float32"
    return outliers(model), folder, model.export(folder)


def quantised(exported, folder, **options):
    """The export with its graphs quantised, as `model.export` leaves it."""
    model, whole, manifest = exported
    given = {"quantize": "int8", "samples": GIVEN, "min_cosine": 0.999, "max_recall_drop": 0.01} | options
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("manifest.json"))
    manifest = manifest | Gate(model, **given)(folder, manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest["quantized"]


def cosine_of(served, model):
    """The smallest cosine of what an export and the model make of the samples."""
    pictures = np.sum(served.encode_image(GIVEN["images"]) * model.encode_image(GIVEN["images"]), axis=-1)
    texts = np.sum(served.encode_text(GIVEN["texts"]) * model.encode_text(GIVEN["texts"]), axis=-1)
    return min(pictures.min(), texts.min())


def test_outliers_take_a_milder_level_that_keeps_the_bound(exported, tmp_path, caplog):
    found = quantised(exported, tmp_path / "int8")
    for name, graph in found["graphs"].items():
        assert graph["level"] in MILDER and "below 0.999" in graph["refused"]["int8"]
        assert 0.999 <= graph["cosine"]["min"] <= graph["cosine"]["mean"] <= 1
        assert graph["bytes"]["quantized"] < graph["bytes"]["float32"] and graph["speed"] > 0
        assert f"{name} is exported in {graph['level']}; not int8: its cosine to float32 is" in caplog.text
    served = runtime.load(tmp_path / "int8")  # with its fingerprints
    assert cosine_of(served, exported[0]) >= 0.999 and min(found["asked"].values()) >= 0.999
    assert found["samples"] == {"images": 12, "texts": 12, "pairs": 0}
    assert {path.name for path in (tmp_path / "int8").iterdir()} == {path.name for path in exported[1].iterdir()}


def test_a_loose_bound_takes_the_first_level(exported, tmp_path):
    found = quantised(exported, tmp_path / "int8", min_cosine=0.1)
    for name, graph in found["graphs"].items():
        assert (graph["level"], graph["refused"]) == ("int8", {}) and 0.1 < graph["cosine"]["min"] < 0.999
        proto = onnx.load(tmp_path / "int8" / f"{name}.onnx")
        integer = [node for node in proto.graph.node if node.op_type == "MatMulInteger"]
        assert len(integer) == len(products(prepared(exported[1] / f"{name}.onnx"))) >= 5
    assert cosine_of(runtime.load(tmp_path / "int8"), exported[0]) < 0.999


def test_rescaling_changes_no_bit_and_lessens_the_error(exported):
    path = exported[1] / "image_encoder.onnx"
    import onnxruntime

    def run(proto):
        session = onnxruntime.InferenceSession(proto.SerializeToString())
        return lambda feed, names: session.run(names, feed)

    feed = exported[0].preprocessor.encode_images(GIVEN["images"])
    (whole,) = run(onnx.load(path))(feed, ["image_embeddings"])
    proto = prepared(path)
    found = calibration.roundings(proto, calibration.activations(proto, run, [feed]))
    smooth = rescaled(proto, {name: each.factor for name, each in found.items() if each.factor is not None})
    np.testing.assert_allclose(run(smooth)(feed, ["image_embeddings"])[0], whole, atol=1e-6)
    plain, best = (sum(getattr(each, name) for each in found.values()) for name in ("plain", "best"))
    assert best < 0.8 * plain


@pytest.mark.once
def test_a_bound_that_nothing_but_float32_keeps(exported, tmp_path, caplog):
    for quantize, refused in (("int8", ["int8", "int8_rescaled", "int8_mixed", "float16"]), ("float16", ["float16"])):
        found = quantised(exported, tmp_path / quantize, quantize=quantize, min_cosine=1.0 - 1e-12)
        assert [graph["level"] for graph in found["graphs"].values()] == ["float32", "float32"]
        assert all(list(graph["refused"]) == refused for graph in found["graphs"].values())
        assert found["asked"] == {"encode_image": 1.0, "encode_text": 1.0}
        assert re.search(
            r"image_encoder is exported in float32; .* is 0.9999\d* on the samples, below 0.9999\d*", caplog.text
        )


@pytest.mark.once
def test_recall_that_falls_takes_a_milder_level(exported, tmp_path):
    pairs = {"images": GIVEN["images"], "captions": GIVEN["texts"]}
    found = quantised(exported, tmp_path / "int8", samples=pairs, min_cosine=0.1, max_recall_drop=0.0)
    assert found["samples"]["pairs"] == 12
    assert found["recall"].keys() == {f"{way}_recall@{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5)}
    assert all(each["int8"] >= each["float32"] for each in found["recall"].values())


@pytest.mark.once
def test_weights_that_int8_suits_leave_in_it(tmp_path, caplog):
    model = tiny_model(width=32)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, picture in enumerate(PAIRS["images"]):
        Image.fromarray(picture).save(folder / f"{number}.png")
    manifest = model.export(tmp_path / "onnx", quantize="int8", samples=folder)
    graphs = manifest["quantized"]["graphs"]
    assert json.loads((tmp_path / "onnx" / "manifest.json").read_text()) == manifest
    assert graphs["image_encoder"]["level"] == "int8" and graphs["image_encoder"]["cosine"]["min"] >= 0.999
    assert graphs["text_encoder"]["level"] == "float32"  # nothing to measure it on
    assert "text_encoder is exported in float32; not int8: there are no texts among the samples" in caplog.text
    served = runtime.load(tmp_path / "onnx")
    assert np.sum(served.encode_image(GIVEN["images"]) * model.encode_image(GIVEN["images"]), -1).min() >= 0.999
    np.testing.assert_allclose(served.encode_text(["red"]), model.encode_text(["red"]), atol=2e-6)


@pytest.mark.once
def test_float16_is_stored_alone(exported, tmp_path):
    halved = quantised(exported, tmp_path / "half", quantize="float16")
    assert {graph["level"] for graph in halved["graphs"].values()} == {"float16"}
    assert all(graph["bytes"]["quantized"] < 0.75 * graph["bytes"]["float32"] for graph in halved["graphs"].values())
    assert cosine_of(runtime.load(tmp_path / "half"), exported[0]) > 0.99999


@pytest.mark.one_other("jax")
def test_a_captioner(tmp_path):
    model = captioner("coca_nano", PAIRS["captions"])
    found = model.export(tmp_path / "onnx", quantize="int8", samples=GIVEN, min_cosine=0.99)["quantized"]
    assert list(found["graphs"]) == ["image_encoder", "text_encoder", "caption_memory", "caption_step"]
    assert all(graph["level"].startswith("int8") or graph["refused"] for graph in found["graphs"].values())
    assert found["equal_captions"] >= 0.9
    served = runtime.load(tmp_path / "onnx")
    same = [a == b for a, b in zip(served.caption(GIVEN["images"]), model.caption(GIVEN["images"]))]
    assert np.mean(same) == pytest.approx(found["equal_captions"])


@pytest.mark.once
@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"quantize": "int8"}, "quantize is 'int8' without samples, on which its loss would be measured"),
        ({"quantize": "int4", "samples": GIVEN}, "quantize 'int4' is unknown; choose one of int8, float16"),
        ({"samples": GIVEN}, "samples are of a quantised export; give quantize='int8', or leave them out"),
        ({"quantize": "int8", "samples": GIVEN, "dtype": "float16"}, "quantize is 'int8' and dtype 'float16'"),
        (
            {"quantize": "int8", "samples": GIVEN, "format": "tf_saved_model"},
            "format 'tf_saved_model' takes no quantize; leave it",
        ),
        ({"quantize": "int8", "samples": GIVEN, "min_cosine": 1.5}, "min_cosine is 1.5; give a number above 0"),
        ({"quantize": "int8", "samples": GIVEN, "max_recall_drop": -1}, "max_recall_drop is -1; give a number in"),
        ({"quantize": "int8", "samples": []}, "samples has neither pictures nor texts in it; give a folder"),
        ({"quantize": "int8", "samples": "nowhere"}, "samples is 'nowhere', where nothing is; give a folder"),
        ({"quantize": "int8", "samples": 3}, "samples is 3 .int.; give a folder"),
        ({"quantize": "int8", "samples": {"texts": [3]}}, "text 0 of the samples is of type int, but a string"),
        ({"quantize": "int8", "samples": {"image": []}}, "samples has 'image'; give a folder"),
        ({"quantize": "int8", "samples": {"texts": "cats"}}, "texts of the samples is 'cats' .str.; give a list"),
        ({"quantize": "int8", "samples": {"images": None}}, "images of the samples is None; give a folder"),
        ({"quantize": "int8", "samples": {"images": "nowhere"}}, "images of the samples is 'nowhere', where"),
        ({"quantize": "int8", "samples": np.array("a")}, "samples is an array of shape ..; give a folder"),
        (
            {"quantize": "int8", "samples": ["a", f"{TESTS}/"]},
            "samples has '.*/' in a list, a path that is no picture's",
        ),
        ({"quantize": "int8", "samples": ["a", "\ud83d"]}, "text 1 of the samples holds half of a surrogate pair"),
        ({"quantize": "int8", "samples": ["a.png"]}, "image 0 of the samples: there is no image file a.png"),
    ],
)
def test_misuse(exported, tmp_path, options, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        exported[0].export(tmp_path / "onnx", **options)
    assert list(tmp_path.iterdir()) == []


class DataFrame(tuple):
    """What pandas gives, as far as it is read: as a list it would be the names of its columns."""

    __module__ = "pandas.core.frame"

    def __iter__(self):
        return iter(self[0])

    def to_dict(self, orient):
        assert orient == "records"
        return [self[place] for place in range(len(self))]


@pytest.mark.once
def test_texts_for_a_model_without_a_vocabulary():
    preprocessor = tiny_model(depth=1, vocabulary=False).preprocessor
    with pytest.raises(ValueError, match="this preprocessor has no vocabulary yet; learn one with"):
        read_samples(["a red circle"], preprocessor)
    with pytest.raises(ValueError, match="samples has texts, which this model does not read"):
        read_samples(["a red circle"], Preprocessor(preprocessor.images))


@pytest.mark.once
def test_what_samples_may_be(tmp_path, exported):
    preprocessor, table = exported[0].preprocessor, tmp_path / "pairs.csv"
    for number in range(3):
        Image.fromarray(PAIRS["images"][number]).save(tmp_path / f"{number}.png")
    table.write_text("image,caption\n0.png,a\n0.png,b\n1.png,c\n")
    cases = [
        (["a red circle", str(tmp_path / "0.png"), GIVEN["images"][0]], (2, 1, None)),
        ({"texts": ["a"]}, (0, 1, None)),
        ({"images": str(tmp_path), "texts": ("a",)}, (3, 1, None)),
        ({"images": tmp_path / "0.png"}, (1, 0, None)),
        (tmp_path, (3, 0, None)),
        (str(table), (2, 3, [0, 0, 1])),
        (
            [{"image": GIVEN["images"][0], "caption": "a"}, {"image": GIVEN["images"][1], "caption": "b"}],
            (2, 2, [0, 1]),
        ),
        (DataFrame([{"image": tmp_path / "0.png", "caption": each} for each in "ab"]), (1, 2, [0, 0])),
    ]
    for given, (images, texts, ids) in cases:
        found = read_samples(given, preprocessor)
        found_ids = found.image_ids if found.image_ids is None else found.image_ids.tolist()
        assert (len(found.images), len(found.texts), found_ids) == (images, texts, ids), given


@pytest.mark.once
def test_the_command(exported, tmp_path, capsys, monkeypatch):
    model = exported[0]
    monkeypatch.setenv("COLUMNS", "200")  # of the sentences; the table keeps the width that its console began with
    model.save_to_preset(tmp_path / "model")
    table = tmp_path / "pairs.csv"
    for number, picture in enumerate(PAIRS["images"]):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    table.write_text("image,caption\n" + "".join(f"{n}.png,{text}\n" for n, text in enumerate(PAIRS["captions"])))
    result = run("export", tmp_path / "model", tmp_path / "onnx", "--quantize", "int8", "--pairs", table)
    assert result.exit_code == 0, result.output
    assert "int8" in result.output and "cosine" in result.output and "image_to_text_recall@1:" in result.output
    for arguments, sentence in (
        (("--quantize", "int8"), "--quantize int8 needs pictures or texts to measure its loss on"),
        (("--samples", tmp_path), "--samples is of a quantised export; give --quantize int8, or leave it out"),
        (("--quantize", "int8", "--pairs", table, "--samples", tmp_path), "leave out --samples and --texts"),
        (("--quantize", "int8", "--format", "tf_saved_model"), "--quantize is of onnx; leave it out"),
    ):
        code, said = fails(capsys, monkeypatch, "export", "m", tmp_path / "new", *arguments)
        assert code == 2 and sentence in " ".join(said.split()), said
