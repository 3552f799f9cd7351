"""What the command line makes of the library's sentences and numbers."""

import pytest

from kzoo.cli.progress import in_order, line_of, score_of
from kzoo.cli.sentences import in_flags, in_words

pytestmark = pytest.mark.once
FLAGS = {"skip_broken", "batch_size", "epochs", "image_key", "caption_key", "num_beams", "strategy"}


@pytest.mark.parametrize(
    "said, wanted",
    [
        ("go on without it: skip_broken=True.", "go on without it: --skip-broken."),
        ("a batch_size of 9 is more than the 5 pairs", "a --batch-size of 9 is more than the 5 pairs"),
        ("batch_size is 0; give at least 1.", "--batch-size is 0; give at least 1."),
        ("name it with image_key= or caption_key=.", "name it with --image-key or --caption-key."),
        ("epochs=-1 is none", "--epochs -1 is none"),
        ("take num_beams=4", "take --num-beams 4"),
        (
            "build it with from_preset('clip_nano', load_weights=False), or",
            "build it with kzoo train --from-scratch, or",
        ),
        ("see kzoo.list_presets().", "see kzoo presets."),
        ("trainable=False stays, and photos/batch_size.csv", "trainable=False stays, and photos/batch_size.csv"),
    ],
)
def test_keywords_become_flags(said, wanted):
    assert in_flags(said, FLAGS) == wanted


def test_a_flag_is_named_only_where_the_command_has_it():
    said = "clip_nano was built with random weights (load_weights=False)."
    assert in_flags(said, {"from_scratch"}) == "clip_nano was built with random weights (--from-scratch)."
    assert in_flags(said, {"minutes"}) == "clip_nano was built with random weights."


def test_a_name_that_is_a_book_is_cut():
    said = in_words(ValueError(f"there is no preset {'a' * 5000}; see /{'b' * 300}/x.csv."))
    assert said == f"there is no preset {'a' * 300}... see /{'b' * 300}/x.csv."


def test_a_line_fits_a_terminal():
    recalls = {f"val_{way}_recall@{k}": 1.0 for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)}
    numbers = {"epoch": 100, "loss": 10.12345, "in_batch_accuracy": 1.0, "val_loss": 10.12345} | recalls
    assert line_of(numbers, 100) == (
        "epoch 100/100  loss 10.123  accuracy 100%  held out 10.123  recall@1/5/10 100/100/100%"
    )
    assert len(line_of(numbers | {"epoch": 10, "loss": 4.5, "val_loss": 4.5} | dict.fromkeys(recalls, 0.5), 60)) <= 80


def test_numbers_have_an_order():
    names = ["val_x_recall@10", "info_nce", "val_x_recall@5", "val_loss", "loss", "val_x_recall@1"]
    assert sorted(names, key=in_order) == [
        *("loss", "info_nce", "val_loss", "val_x_recall@1", "val_x_recall@5", "val_x_recall@10")
    ]


def test_what_makes_an_epoch_better():
    recalls = {f"val_{way}_recall@{k}": k / 10 for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)}
    assert score_of({"val_loss": 1.0} | recalls) == pytest.approx(1.6 / 3)
    assert score_of({"val_loss": 1.0}) == -1.0 and score_of({"loss": 1.0}) is None
