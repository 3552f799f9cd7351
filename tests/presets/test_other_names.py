"""Names that other libraries have for the models of the table, and repositories without their scheme."""

import pytest

import kzoo
from kzoo.presets.other_names import KNOWN
from kzoo.presets.table import is_preset

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "name, preset",
    [
        ("ViT-B-32", "clip_base"),
        ("ViT-B/32", "clip_base"),
        ("ViT-B-32-quickgelu", "clip_base"),
        ("ViT-L/14@336px", "clip_large_patch14_336"),
        ("RN50", "clip_resnet50"),
        ("ViT-B-16-SigLIP", "siglip_base_patch16_224"),
        ("ViT-SO400M-14-SigLIP-384", "siglip_so400m_patch14_384"),
        ("coca_ViT-B-32", "coca_base"),
    ],
)
def test_a_name_of_open_clip_is_answered_with_the_preset(name, preset):
    for call in (kzoo.describe, kzoo.from_preset):
        with pytest.raises(ValueError, match=f"the preset of this model is {preset}."):
            call(name)


def test_a_repository_is_answered_with_how_to_write_it():
    with pytest.raises(ValueError, match="write hf://openai/clip-vit-base-patch32; the preset clip_base"):
        kzoo.from_preset("openai/clip-vit-base-patch32")
    with pytest.raises(ValueError, match=r"write hf://somebody/something\.$"):
        kzoo.from_preset("somebody/something")


def test_every_name_leads_to_a_preset():
    assert [preset for preset in KNOWN.values() if not is_preset(preset)] == []
