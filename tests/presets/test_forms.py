"""Models of every form leave and come back: presets with towers by modality, heads and teachers; exports; cards."""

import numpy as np
import pytest
from shared_case import fill, numpy, tiny_model, toy_pairs

import kzoo
from kzoo.encoders import TextTransformer, VisionTransformer
from kzoo.export import runtime
from kzoo.layers import Head, Projector
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.presets.table import flat
from kzoo.training import EMATeacher

PAIRS = toy_pairs(6)
SMALL = {"width": 12, "depth": 1, "num_heads": 2}


def three():
    """Pictures, captions and titles, with a head that reads two of them."""
    pair = tiny_model(depth=1)
    titles = TextTransformer(320, 6, embed_dim=12, eot_id=2, causal=False, mask_padding=True, **SMALL)
    towers = {"image": pair.image_encoder, "text": pair.text_encoder, "title": titles}
    head = Head(Projector((7,), batch_norm=False), "*_features", "*_projected")
    model = kzoo.MultiEncoder(towers, preprocessor=pair.preprocessor, heads=[head], name="three")
    fill(model)
    return model


def alone():
    """A tower with its teacher."""
    tower = VisionTransformer(16, 8, embed_dim=8, **SMALL)
    head = Head(Projector((5,), batch_norm=False), "*_tokens", "*_projected_tokens")
    model = kzoo.SelfSupervised(
        tower,
        Projector((6, 4)),
        EMATeacher(0.9),
        preprocessor=Preprocessor(ImageSteps(16)),
        heads=[head],
        name="alone",
    )
    fill(model.teacher, seed=2)
    return model


def batch_of(model):
    pictures = model.preprocessor.encode_images(PAIRS["images"])["images"]
    if model.kind == "self_supervised":
        return {"view_1": pictures, "view_2": pictures[::-1].copy()}
    titles = np.array([[1, 5 + row, 2, 0, 0, 0] for row in range(6)], "int32")
    texts = model.preprocessor(texts=PAIRS["captions"])
    return {"images": pictures, "title": titles, "title_padding_mask": titles > 0} | texts


@pytest.mark.parametrize("make, asked", [(three, "title_projected"), (alone, "teacher_view_2_projected_tokens")])
def test_a_folder_opens_again_with_heads_and_teacher(make, asked, tmp_path):
    model = make()
    batch = batch_of(model)
    assert asked in model.gives(batch)
    model.save_to_preset(tmp_path / "model")
    again = kzoo.from_preset(tmp_path / "model")
    assert type(again) is type(model) and again.name == model.name
    for name, value in model(batch, outputs=(asked,)).items():
        np.testing.assert_array_equal(numpy(again(batch, outputs=(asked,))[name]), numpy(value))
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert "vision transformer for images" in card and f"{model.count_params():,} parameters in all" in card


def test_towers_of_any_name_leave_as_graphs(tmp_path):
    model = three()
    manifest = model.export(tmp_path / "graphs")
    assert set(manifest["graphs"]) == {"image_encoder", "text_encoder", "title_encoder"}
    assert [each["name"] for each in manifest["graphs"]["title_encoder"]["inputs"]] == ["title", "title_padding_mask"]
    served, batch = runtime.load(tmp_path / "graphs"), batch_of(model)
    expected = model.predict(batch, verbose=0)
    np.testing.assert_allclose(served.embed_arrays("title", batch), expected["title_embeddings"], atol=2e-5)
    np.testing.assert_allclose(served.encode_text(PAIRS["captions"]), expected["text_embeddings"], atol=2e-5)
    with pytest.raises(ValueError, match="three has no audio tower: it embeds image, text, title alone"):
        served.embed_arrays("audio", {})


def test_one_tower_leaves_as_a_graph(tmp_path):
    model = alone()
    manifest = model.export(tmp_path / "graphs")
    assert set(manifest["graphs"]) == {"image_encoder"}
    served = runtime.load(tmp_path / "graphs")
    np.testing.assert_allclose(served.encode_image(PAIRS["images"]), model.encode_image(PAIRS["images"]), atol=2e-5)


def test_a_mask_of_padding_is_an_input_of_the_graph(tmp_path):
    """It was left out, the graph was verified, and texts came out with others' embeddings."""
    model = tiny_model(depth=1)
    masked = TextTransformer(320, 10, embed_dim=12, eot_id=2, causal=False, mask_padding=True, **SMALL)
    model = kzoo.DualEncoder(model.image_encoder, masked, preprocessor=model.preprocessor)
    fill(masked)
    manifest = model.export(tmp_path / "graphs")
    assert [each["name"] for each in manifest["graphs"]["text_encoder"]["inputs"]] == ["token_ids", "padding_mask"]
    served = runtime.load(tmp_path / "graphs")
    got, expected = (each.encode_text(PAIRS["captions"]) for each in (served, model))
    np.testing.assert_allclose(got, expected, atol=2e-5)
    assert set(manifest["asked"]) == {"encode_image", "encode_text"}


def test_a_row_names_its_towers_by_modality():
    row = {"model": "multi_encoder", "towers": {"image": {"kind": "vit"}, "audio": {"kind": "vit"}}, "heads": []}
    assert flat(row) == {
        "model": "multi_encoder",
        "image_encoder": {"kind": "vit"},
        "audio_encoder": {"kind": "vit"},
        "heads": [],
    }
