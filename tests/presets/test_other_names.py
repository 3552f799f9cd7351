"""Names that other libraries have for the models of the table, and repositories without their scheme."""

import pytest
from shared_case import TESTS

import kzoo
from kzoo.presets.other_names import KNOWN
from kzoo.presets.table import is_preset

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "name, preset",
    [
        ("ViT-B-32", "clip_base"),
        ("ViT-B/32", "clip_base"),
        ("vit_b_32", "clip_base"),
        ("ViT-B-32-quickgelu", "clip_base"),
        ("ViT-B-32/openai", "clip_base"),
        ("ViT-B/32/openai", "clip_base"),
        ("ViT-B-32/laion2b_s34b_b79k", "clip_base_laion2b"),
        ("ViT-B-32:LAION2B-S34B-B79K", "clip_base_laion2b"),
        ("ViT-L/14@336px", "clip_large_patch14_336"),
        ("ViT-S-32", "clip_small_patch32"),
        ("ViT-g-14", "clip_giant_patch14"),
        ("ViT-H-14", "clip_huge_patch14"),
        ("ViT-H-14-quickgelu", "clip_huge_patch14_metaclip_fullcc"),
        ("ViT-H-14/dfn5b", "clip_huge_patch14_dfn5b"),
        ("RN50", "clip_resnet50"),
        ("rn50/cc12m", "clip_resnet50_cc12m"),
        ("ViT-B-16-SigLIP", "siglip_base_patch16_224"),
        ("ViT-SO400M-14-SigLIP-384/webli", "siglip_so400m_patch14_384"),
        ("xlm-roberta-base-ViT-B-32", "clip_base_xlm_roberta"),
        ("coca_ViT-B-32/mscoco_finetuned_laion2b_s13b_b90k", "coca_base_mscoco"),
        ("coca_base", "coca_base"),  # a config of open_clip without weights, too: the name of a preset is the preset's
    ],
)
def test_a_name_of_open_clip_means_a_preset(name, preset):
    assert kzoo.describe(name) == kzoo.describe(preset)


def test_it_is_opened_like_the_preset():
    model = kzoo.from_preset("rn50", load_weights=False, image_size=32, vocab_size=300)
    assert model.name == "clip_resnet50" and model.image_encoder.image_size == (32, 32)
    with pytest.raises(FileNotFoundError, match="clip_base_laion2b has its weights in laion/CLIP-ViT-B-32-laion2B"):
        kzoo.from_preset("ViT-B-32/laion2b_s34b_b79k")
    with pytest.raises(FileNotFoundError, match="clip_small_patch32 has no released weights; build it untrained"):
        kzoo.from_preset("ViT-S-32")


def test_a_folder_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ViT-B-32").mkdir()
    with pytest.raises(ValueError, match="ViT-B-32 holds no model"):
        kzoo.from_preset("ViT-B-32", load_weights=False)


def test_schemes_of_open_clip():
    folder = TESTS / "fixtures" / "oc_clip_vit_tiny"
    assert kzoo.from_preset(f"local-dir:{folder}", load_weights=False).name == "oc_clip_vit_tiny"
    with pytest.raises(FileNotFoundError, match="hf://owner/name"):
        kzoo.from_preset("hf-hub:owner/name")


def test_an_unknown_tag_is_answered_with_the_known():
    for call in (kzoo.describe, kzoo.from_preset):
        with pytest.raises(ValueError, match="no preset of the tag 'laion2b' of open_clip's ViT-g-14; .* laion2b_s12b"):
            call("ViT-g-14/laion2b")
    with pytest.raises(ValueError, match="of open_clip's ViT-S-32; no weights of it are in the table"):
        kzoo.describe("ViT-S-32/openai")
    with pytest.raises(
        ValueError, match="tags with one are openai, laion400m_e32, laion400m_e31, metaclip_400m, metacl"
    ):
        kzoo.describe("ViT-B-32-quickgelu/laion2b_s34b_b79k")


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(ValueError, match="no preset 'ViT-B-33', and no folder of that name; did you mean ViT-B-32"):
        kzoo.describe("ViT-B-33")


def test_a_repository_is_asked_for_by_its_name(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="^hf://openai/clip-vit-base-patch32: "):
        kzoo.from_preset("openai/clip-vit-base-patch32")
    (tmp_path / "openai").mkdir()
    monkeypatch.chdir(tmp_path)  # where it is the path of a folder that lacks
    with pytest.raises(ValueError, match="write hf://openai/clip-vit-base-patch32; the preset clip_base"):
        kzoo.from_preset("openai/clip-vit-base-patch32")
    with pytest.raises(ValueError, match="there is no preset 'somebody/something'"):
        kzoo.describe("somebody/something")


def test_a_name_of_timm_is_answered_with_the_preset():
    with pytest.raises(ValueError, match=r"the preset of this model is clip_base\."):
        kzoo.from_preset("vit_base_patch32_clip_224.openai")


def test_every_name_leads_to_a_preset():
    assert [preset for preset in KNOWN.values() if not is_preset(preset)] == []
