"""The model card: its front matter as the hub reads it, its facts, its code, and whose cards are kept."""

import re

import pytest
from huggingface_hub import ModelCard
from PIL import Image
from shared_case import TESTS, tiny_model, toy_pairs

import kzoo
from kzoo.encoders import BertDecoder, MultimodalDecoder, TextTransformer, VisionTransformer
from kzoo.models import Captioner
from kzoo.preprocessing import ImageSteps, Preprocessor
from kzoo.presets import card
from kzoo.presets.table import read_row

pytestmark = pytest.mark.once
SOURCE = "owner/some-clip"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MIT = {"name": "MIT", "status": "read on its card"}


@pytest.fixture
def nano():
    model = kzoo.from_preset("clip_nano", load_weights=False)
    model.preprocessor.adapt(toy_pairs(24)["captions"])
    return model


@pytest.fixture
def licensed(nano, monkeypatch):
    """A function of a licence: clip_nano with weights of a repository that has this licence by the table."""

    def model(licence, source=SOURCE):
        row = read_row("clip_nano") | {"weights": {"repo": SOURCE}, "licence": licence}
        monkeypatch.setattr(card, "read_row", lambda name: row)
        nano.source = f"hf://{source}@{COMMIT}"
        return nano

    return model


def read(folder):
    return ModelCard.load(folder / "README.md")


@pytest.mark.parametrize(
    "fixture, format",
    [("hf_clip_tiny", "kzoo"), ("hf_siglip_tiny", "transformers"), ("oc_clip_vit_tiny", "open_clip")],
)
def test_every_format_has_a_card(fixture, format, tmp_path):
    model = kzoo.from_preset(TESTS / "fixtures" / fixture)
    model.save_to_preset(tmp_path, format=format)
    data = read(tmp_path).data
    assert (data.library_name, data.pipeline_tag) == ("keras", "zero-shot-image-classification")
    assert data.tags == ["kzoo", *([] if format == "kzoo" else [format]), "image-text"]
    assert data.license is data.base_model is None
    text = read(tmp_path).text
    assert str(TESTS) not in text and str(tmp_path) not in text  # a card is for others
    assert "Weights: where they come from is not recorded." in text and "Licence: none is stated" in text
    assert (f"the layout of {format}" in text) == (format != "kzoo")
    assert 'model.encode_image(["photo.jpg"])' in text and "takes token ids" in text  # there is no vocabulary


def test_a_preset_says_what_the_table_knows(nano):
    text = card.render(nano, "kzoo")
    for part in (
        "# clip_nano\n",
        "of the `clip` family: a vision transformer for images and a text transformer for texts",
        "2021, [arXiv 2103.00020](https://arxiv.org/abs/2103.00020).\n",
        "- Architecture: the preset `clip_nano` of kzoo.\n",
        f"- Written by kzoo {kzoo.__version__}.\n",
    ):
        assert part in text
    assert ModelCard(text).data.tags == ["kzoo", "clip", "image-text"]


def test_the_numbers_of_the_model(nano):
    table = dict(re.findall(r"^\| ([\w ]+) \| (.*) \|$", card.render(nano, "kzoo"), re.MULTILINE))
    assert table == {
        "input": "32 x 32 pixels, patches of 8 x 8 | 16 token ids, vocabulary of 512",
        "width": "48 | 32",
        "blocks": "2 | 2",
        "attention heads": "3 | 4",
        "MLP width": "192 | 128",
        "activation": "`quick_gelu` | `quick_gelu`",
        "pooling": "`class_token` | `end_of_text`",
        "embedding": "24 | 24",
        "parameters": "67,968 | 43,136",
    }
    text = card.render(nano, "kzoo")
    assert "111,105 parameters in all" in text and "one space of 24 dimensions" in text
    assert "scaled until they cover 32 x 32 pixels, cropped to their centre (bicubic)" in text
    assert "mean 0.4815, 0.4578, 0.4082, standard deviation 0.2686, 0.2613, 0.2758" in text
    vocab_size = nano.preprocessor.tokenizer.vocab_size
    assert f"16 ids of a vocabulary of {vocab_size}: shorter ones are filled with id 0" in text
    assert "`scale * cosine`, with scale 4.0000. `model.compile()` trains it with InfoNCE." in text


def test_the_numbers_are_those_of_now(nano):
    nano.similarity.log_scale.assign(2.0)
    nano.loss_spec = ({"loss": "InfoNCE"}, {"loss": "Captioning", "weight": 0.5})
    text = card.render(nano, "kzoo")
    assert "with scale 7.3891. `model.compile()` trains it with InfoNCE + 0.5 * Captioning." in text
    siglip = card.render(kzoo.from_preset(TESTS / "fixtures" / "hf_siglip_tiny"), "kzoo")
    assert "`scale * cosine + bias`, with scale 4.3835 and bias -1.8668." in siglip
    wide = kzoo.from_preset("clip_nano", load_weights=False, image_size=(32, 64), context_length=8)
    assert "| 32 x 64 pixels, patches of 8 x 8 | 8 token ids, vocabulary of 512 |" in card.render(wide, "kzoo")
    assert "the preset `clip_nano`" in card.render(wide, "kzoo")


def test_a_name_of_the_table_on_other_towers_says_nothing():
    model = tiny_model()
    model.name = "clip_nano"
    text = card.render(model, "kzoo")
    assert "# clip_nano\n" in text
    for part in ("`clip`", "arXiv", "preset `clip_nano`"):
        assert part not in text


def test_a_captioner_with_and_without_a_text_tower():
    common = {"width": 24, "depth": 2, "num_heads": 2}
    image = VisionTransformer(16, 8, name="image_encoder", **common)
    text = TextTransformer(320, 10, name="text_encoder", **common)
    preprocessor = Preprocessor(ImageSteps(16, resize_size=20), vocabulary={"train": 320, "context_length": 10})
    decoder = MultimodalDecoder(320, name="text_decoder", **common)
    both = card.render(Captioner(image, text, decoder, preprocessor=preprocessor), "kzoo")
    assert "a text transformer for texts and a transformer decoder for captions. Embeddings of images" in both
    assert "| input | 16 x 16 pixels, patches of 8 x 8 | 10 token ids, vocabulary of 320 | tokens of the" in both
    assert "scaled until they cover 20 x 20 pixels, cropped or padded to 16 x 16 (bicubic)" in both
    assert "`scale * cosine`, with scale 14.2857. `model.compile()` trains it with InfoNCE + 2 * Captioning." in both
    decoder = BertDecoder(320, 10, cross_width=24, name="text_decoder", **common)
    alone = card.render(Captioner(image, None, decoder, preprocessor=preprocessor), "kzoo")
    assert ModelCard(alone).data.pipeline_tag == "image-to-text"
    assert "a vision transformer for images and a BERT decoder for captions. The decoder writes captions.\n" in alone
    assert "## Loss\n\n`model.compile()` trains it with 2 * Captioning.\n" in alone and "zero-shot" not in alone


@pytest.mark.parametrize(
    "name, front_matter",
    [
        ("MIT", {"license": "mit"}),
        ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
        (
            "Apple Sample Code License",
            {
                "license": "other",
                "license_name": "apple-sample-code-license",
                "license_link": f"https://huggingface.co/{SOURCE}",
            },
        ),
    ],
)
def test_the_licence_of_released_weights_and_how_it_is_known(licensed, name, front_matter):
    text = card.render(licensed({"name": name, "status": "from memory"}), "kzoo")
    data = ModelCard(text).data.to_dict()
    assert {key: value for key, value in data.items() if key.startswith("license")} == front_matter
    assert data["base_model"] == SOURCE
    assert f"- Licence: {name}, the one that kzoo's table gives for {SOURCE} (from memory); look it up" in text
    page = f"[{SOURCE}](https://huggingface.co/{SOURCE}/tree/{COMMIT}), commit `0123456`"
    assert f"- Weights: started from {page}; training since then" in text


@pytest.mark.parametrize("name, status", [("unknown", "not on its card"), ("MIT", "of the code, from memory")])
def test_no_licence_is_claimed_that_is_not_of_the_weights(licensed, name, status):
    text = card.render(licensed({"name": name, "status": status}), "kzoo")
    assert ModelCard(text).data.license is None
    assert f"- Licence: none is stated; kzoo's table has {name} for {SOURCE} ({status}); look it up there" in text


def test_no_licence_is_claimed_for_other_weights(licensed):
    other = licensed(MIT, source="somebody/clip_nano")
    untrained = licensed(MIT)
    untrained.source = None
    for model in (other, untrained, licensed(None)):
        text = card.render(model, "kzoo")
        assert ModelCard(text).data.license is None and "MIT" not in text
        assert "Licence: none is stated; kzoo knows of none for these weights." in text


def test_the_source_goes_along(tmp_path):
    model = tiny_model()
    model.source = f"hf://{SOURCE}@{COMMIT}"
    model.save_to_preset(tmp_path / "once")
    again = kzoo.from_preset(tmp_path / "once")
    assert again.source == model.source
    again.save_to_preset(tmp_path / "twice")
    assert read(tmp_path / "twice").data.base_model == SOURCE


def test_the_code_of_a_card_runs(tmp_path, monkeypatch):
    tiny_model().save_to_preset(tmp_path / "model")
    Image.fromarray(toy_pairs(1)["images"][0]).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", read(tmp_path / "model").text, re.DOTALL)
    *lines, call = code.replace("path/to/this/folder", "model").strip().splitlines()
    names = {}
    exec("\n".join(lines), names)
    with pytest.warns(UserWarning, match="2 of 2 texts are longer than the context of 10 ids"):
        assert eval(call, names).shape == (1, 2)


def test_a_card_of_somebody_stays(tmp_path):
    model = tiny_model()
    (tmp_path / "README.md").write_text("# My own words")
    for format in ("kzoo", "open_clip"):
        model.save_to_preset(tmp_path, format=format, overwrite=True)
        assert (tmp_path / "README.md").read_text() == "# My own words"


def test_a_card_of_kzoo_is_written_anew(tmp_path):
    model = tiny_model()
    model.save_to_preset(tmp_path)
    model.similarity.log_scale.assign(0.0)
    model.save_to_preset(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "with scale 1.0000" in text
    (tmp_path / "README.md").write_text(text.replace(card.NOTE, ""))
    model.similarity.log_scale.assign(1.0)
    model.save_to_preset(tmp_path)
    assert "with scale 1.0000" in (tmp_path / "README.md").read_text()
