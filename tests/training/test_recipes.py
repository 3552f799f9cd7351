"""Recipes by number of pairs and size of the model."""

from itertools import pairwise

import keras
import pytest

from kzoo.training.recipes import augmentation_of, choose_recipe, loss_of, optimizer_of

pytestmark = pytest.mark.once


def test_few_pairs_want_small_batches_and_many_epochs():
    recipes = [choose_recipe(pairs, 1_000_000, from_scratch=True) for pairs in (100, 1_400, 10_000, 100_000, 10**7)]
    assert all(few.batch_size <= many.batch_size for few, many in pairwise(recipes))
    assert all(few.epochs > many.epochs for few, many in pairwise(recipes))
    assert [recipe.word_dropout > 0 for recipe in recipes] == [True, True, True, False, False]
    assert choose_recipe(7, 1_000_000, from_scratch=True).batch_size == 3


def test_large_models_and_fine_tuning_want_small_learning_rates():
    small, large = (choose_recipe(1_400, size, from_scratch=True).learning_rate for size in (111_105, 151_277_313))
    assert choose_recipe(10_000, 111_105, from_scratch=True).learning_rate == 5e-3
    assert choose_recipe(1_400, 111_105, from_scratch=False).learning_rate == 1e-4
    tuned = choose_recipe(1_400, 151_277_313, from_scratch=False)
    assert small == 2e-3 and large == 5e-4 and tuned.learning_rate == pytest.approx(1e-5)
    assert tuned.epochs == 10 and augmentation_of(tuned).scale == (0.9, 1.0)


def test_what_was_decided_stays():
    recipe = choose_recipe(1_400, 10**6, from_scratch=True, epochs=3, word_dropout=0.0, augmentation="none", loss=None)
    assert (recipe.epochs, recipe.word_dropout, augmentation_of(recipe)) == (3, 0.0, None)


@pytest.mark.parametrize("schedule, first, last", [("cosine", 0.0, 0.0), ("linear", 1.0, 0.0), ("constant", 1.0, 1.0)])
def test_schedules_end_with_the_training(schedule, first, last):
    recipe = choose_recipe(1_400, 10**6, from_scratch=False, schedule=schedule, learning_rate=1.0)
    optimizer = optimizer_of(recipe, steps=100)
    rates = []
    for step in (0, 100):
        optimizer.iterations.assign(step)
        rates.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    assert rates == pytest.approx([first, last], abs=1e-6)


def test_labels_of_few_pairs_are_smoothed_in_info_nce_alone():
    few, many = (choose_recipe(pairs, 10**6, from_scratch=True) for pairs in (1_400, 10**6))
    own, sigmoid = ({"loss": "InfoNCE"},), ({"loss": "SigmoidContrastive"},)
    assert loss_of(few, own) == [{"loss": "InfoNCE", "label_smoothing": 0.1}]
    assert loss_of(many, own) == list(own) and loss_of(few, sigmoid) == list(sigmoid)
