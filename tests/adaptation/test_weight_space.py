"""Sums of weights: published numbers, ends and middles of lines and circles, soups; what comes out is a model."""

import keras
import numpy as np
import pytest
from classifier_case import GOLDEN
from shared_case import fill, tiny_model, toy_pairs

from kzoo.adaptation import (
    AnisotropicScaling,
    TaskVector,
    greedy_soup,
    interpolate,
    interpolation_curve,
    slerp,
    uniform_soup,
)
from kzoo.losses import InfoNCE, LearnableTemperature

PAIRS = toy_pairs(12, 16)


def model_of(seed, **tower):
    model = tiny_model(depth=1, **tower)
    fill(model.image_encoder, seed)
    fill(model.text_encoder, seed + 100)
    return model


@pytest.fixture(scope="module")
def models():
    return [model_of(seed) for seed in range(3)]


def numbers(model):
    return [keras.ops.convert_to_numpy(each) for each in model.weights]


def same(model, other):
    return all(np.array_equal(a, b) for a, b in zip(numbers(model), numbers(other), strict=True))


def close(model, expected):
    for a, b in zip(numbers(model), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# -- task vectors --
@pytest.mark.once
def test_task_vectors_add_up_as_published():
    given, expected = GOLDEN["task_vectors"]["inputs"], GOLDEN["task_vectors"]["expected"]
    start = [np.array(each) for each in given["theta0"]]
    vectors = [TaskVector({str(j): np.array(theta[j]) - start[j] for j in range(2)}) for theta in given["thetas"]]
    one, other = (v.scaled({"0": row[0], "1": row[1]}) for v, row in zip(vectors, given["coefficients"]))
    found = one + other
    for place in range(2):
        np.testing.assert_allclose(start[place] + found.weights[str(place)], expected[place], rtol=1e-5, atol=1e-6)


@pytest.mark.once
def test_what_a_training_added_can_be_added_and_taken_away(models, tmp_path):
    base, birds, cars = models
    before = numbers(base)
    cars.compile("sgd", loss=InfoNCE(temperature=LearnableTemperature()))  # whose weights belong to no model
    of_birds, of_cars = TaskVector.between(base, birds), TaskVector.between(base, cars)
    close(of_birds.added_to(base), numbers(birds))
    assert same(base, models[0]) and all(np.array_equal(a, b) for a, b in zip(before, numbers(base)))
    both = (0.5 * (of_birds + of_cars)).added_to(base)
    close(both, [b + 0.5 * (x - b) + 0.5 * (y - b) for b, x, y in zip(*map(numbers, models))])
    forgot = (-of_birds).added_to(base)
    close(forgot, [2 * b - x for b, x in zip(numbers(base), numbers(birds))])
    analogy = (of_cars + (of_birds - of_cars)).added_to(base)
    close(analogy, numbers(birds))
    assert both.encode_text(["a red circle"]).shape == (1, 12)  # a model, with its vocabulary
    of_birds.save(tmp_path / "birds.safetensors")
    again = TaskVector.load(tmp_path / "birds.safetensors")
    assert repr(again) == repr(of_birds) and same(again.added_to(base), of_birds.added_to(base))
    pictures = TaskVector.between(base, birds, towers=["image_encoder"]).added_to(base)
    images, captions = PAIRS["images"], PAIRS["captions"]
    np.testing.assert_allclose(pictures.encode_image(images), birds.encode_image(images), atol=1e-5)
    assert np.array_equal(pictures.encode_text(captions), base.encode_text(captions))


# -- lines, circles, soups --
@pytest.mark.once
def test_ends_and_middles_of_lines(models):
    one, other, _ = models
    assert same(interpolate(one, other, 0.0), one) and same(interpolate(one, other, 1.0), other)
    close(interpolate(one, other, 0.25), [0.75 * a + 0.25 * b for a, b in zip(numbers(one), numbers(other))])
    seen = []

    def evaluate(model):
        seen.append(model)
        found = np.mean(model.encode_image(PAIRS["images"]) @ one.encode_image(PAIRS["images"]).T)
        return {"near": found, "far": -found}

    curve = interpolation_curve(one, other, evaluate, (0.0, 0.5, 1.0))
    middle = interpolate(one, other, 0.5)
    assert [row["alpha"] for row in curve] == [0.0, 0.5, 1.0] and len({id(each) for each in seen}) == 1
    assert abs(curve[1]["near"] - evaluate(middle)["near"]) < 1e-5
    assert curve.best("near") == curve[int(np.argmax([row["near"] for row in curve]))]["alpha"]
    assert curve._repr_html_().startswith("<table><thead><tr><th>alpha</th><th>near</th><th>far</th>")
    with pytest.raises(ValueError, match="measure is None; choose one of near, far"):
        curve.best()
    assert interpolation_curve(one, one, lambda model: 1).best() == 0.0


@pytest.mark.once
def test_a_curve_is_drawn(models, tmp_path):
    curve = interpolation_curve(models[0], models[1], lambda model: float(numbers(model)[0].flat[0]), (0.0, 1.0))
    curve.draw(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.once
def test_circles_keep_lengths(models):
    one, other, _ = models
    assert same(slerp(one, one, 0.3), one)
    for alpha in (0.0, 0.3, 1.0):
        for a, b, found in zip(numbers(one), numbers(other), numbers(slerp(one, other, alpha))):
            if a.size == 1:
                continue
            lengths = np.linalg.norm(a), np.linalg.norm(b)
            angle = np.arccos(np.sum(a * b) / lengths[0] / lengths[1])
            expected = (np.sin((1 - alpha) * angle) * a + np.sin(alpha * angle) * b) / np.sin(angle)
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.once
def test_soups(models):
    means = [np.mean(each, axis=0) for each in zip(*map(numbers, models))]
    close(uniform_soup(models), means)
    first = [float(numbers(model)[0].flat[0]) for model in models]
    target = np.mean(sorted(first)[:2])  # two together are nearest to it

    def evaluate(model):
        return -abs(float(numbers(model)[0].flat[0]) - target)

    soup = greedy_soup(models, evaluate)
    assert set(soup.members) == set(np.argsort(first)[:2]) and abs(soup.score) < 1e-6
    close(soup.model, [np.mean(each, axis=0) for each in zip(*(numbers(models[place]) for place in soup.members))])
    assert soup.scores == tuple(evaluate(model) for model in models)
    alone = greedy_soup(models, lambda model: -np.abs(numbers(model)[0] - numbers(models[1])[0]).sum().item())
    assert alone.members == (1,) and same(alone.model, models[1])


# -- coefficients that are trained --
def test_coefficients_make_the_models_between(models):
    base, birds, cars = models
    scaling = AnisotropicScaling(base, [birds, cars])
    assert same(scaling.model(), base)
    scaling.coefficients[1] = 1.0
    close(scaling.model().image_encoder, numbers(cars.image_encoder))
    scaling.coefficients[:] = 0.5
    middle = [0.5 * (a + b) for a, b in zip(numbers(birds.image_encoder), numbers(cars.image_encoder))]
    close(scaling.model().image_encoder, middle)
    parts = AnisotropicScaling(base, [birds], blockwise=False, partitions=3)
    parts.coefficients[:] = 1.0
    close(parts.model().image_encoder, numbers(birds.image_encoder))
    parts.coefficients[0, 0] = [1.0, 0.0, 0.0]
    mixed = [(a == b).mean() for a, b in zip(numbers(parts.model()), numbers(base)) if a.size > 100]
    assert 0.5 < mixed[0] < 0.8


def cross_entropy(scaling, working, texts):
    """Of the pictures; in a model that has the weights once more, for it is compiled once."""
    for variable, value in zip(working.image_encoder.weights, scaling.weights(), strict=True):
        variable.assign(value)
    logits = scaling.scale * working.encode_image(PAIRS["images"]).astype("float64") @ texts.T
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))


def test_coefficients_go_down_the_slope(models):
    base, birds, cars = models
    before, texts = numbers(base), cars.encode_image(PAIRS["images"])
    options = {"epochs": 1, "learning_rate": 0.01}
    scaling = AnisotropicScaling(base, [birds, cars], scale=5.0, blockwise=False, partitions=2)
    slopes, working = np.zeros((2, 1, 2)), scaling.model()
    for place in np.ndindex(slopes.shape):
        ends = []
        for step in (1e-2, -1e-2):
            scaling.coefficients[:] = 0.0
            scaling.coefficients[place] = step
            ends.append(cross_entropy(scaling, working, texts))
        slopes[place] = (ends[0] - ends[1]) / 2e-2
    scaling.coefficients[:] = 0.0
    found = scaling.fit(PAIRS["images"], np.arange(12), texts, **options)
    assert found is scaling and all(np.array_equal(a, b) for a, b in zip(before, numbers(base)))
    np.testing.assert_allclose(scaling.coefficients, -0.01 * np.sign(slopes), rtol=1e-2)  # as Adam's first step goes
    pressed = AnisotropicScaling(base, [birds, cars], scale=5.0, blockwise=False, partitions=2)
    pressed.coefficients[:] = np.array([1.0, -1.0])
    pressed.fit(PAIRS["images"], np.arange(12), texts, penalty="l1", penalty_weight=1e6, **options)
    np.testing.assert_allclose(pressed.coefficients, np.broadcast_to([0.99, -0.99], slopes.shape), rtol=1e-4)


def test_coefficients_of_each_weight_are_found(models):
    base, birds, cars = models
    texts = cars.encode_image(PAIRS["images"])  # what only one of the models knows
    scaling = AnisotropicScaling(base, [birds, cars], scale=5.0)
    working = scaling.model()
    before = cross_entropy(scaling, working, texts)
    scaling.fit(PAIRS["images"], np.arange(12), texts, epochs=30, learning_rate=0.05, batch_size=6, penalty="l2")
    assert cross_entropy(scaling, working, texts) < before - 0.05 and np.unique(scaling.coefficients).size > 20


def test_one_task_is_forgotten_and_another_kept(models):
    base, birds, cars = models
    task, control = (each.encode_image(PAIRS["images"]) for each in (base, birds))
    scaling = AnisotropicScaling(base, [birds, cars], scale=5.0)
    working, answers = scaling.model(), np.arange(12)
    before = [cross_entropy(scaling, working, texts) for texts in (task, control)]
    options = {"epochs": 15, "learning_rate": 0.03, "batch_size": 24}
    kept = (PAIRS["images"][:6], answers[:6], control)  # another number of pictures
    scaling.forget(PAIRS["images"], answers, task, kept, least=0.0, **options)
    after = [cross_entropy(scaling, working, texts) for texts in (task, control)]
    assert after[0] > before[0] + 0.05 and after[1] - before[1] < after[0] - before[0]
    strict = AnisotropicScaling(base, [birds, cars], scale=5.0)
    sure = (PAIRS["images"], answers, task)  # of which the base finds all: any loss is one too many
    strict.forget(*sure, sure, least=1.0, **options)
    found = strict.model().encode_image(PAIRS["images"]) @ task.T
    assert np.array_equal(found.argmax(axis=1), answers) and np.array_equal((task @ task.T).argmax(axis=1), answers)


# -- what is refused --
@pytest.mark.once
def test_what_is_refused(models):
    base, birds, _ = models
    wide, other = model_of(1, width=48), model_of(1, activation="quick_gelu")
    vector = TaskVector.between(base, birds)
    few = AnisotropicScaling(base, [birds])
    for call, sentence in (
        (lambda: interpolate(base, wide), "model 1 is no fine-tuned model 0: its image_encoder has width=48, not 24;"),
        (lambda: interpolate(base, other), "its image_encoder has activation='quick_gelu', not 'gelu'"),
        (lambda: uniform_soup([base, birds, wide]), "model 2 is no fine-tuned model 0"),
        (lambda: uniform_soup([base]), "models is .* give a list of at least two models of kzoo"),
        (lambda: interpolate(base, birds, 1.5), "alpha is 1.5; give a number in"),
        (
            lambda: vector.added_to(wide),
            r"the task vector has image_encoder\.\S+ of shape .*, which in \S+ is of shape",
        ),
        (
            lambda: vector + TaskVector({"a": np.ones(2)}),
            r"the other has a \(\d+ names differ\); give both of the same",
        ),
        (lambda: vector.scaled({}), r"the other lacks "),
        (lambda: TaskVector({}), "weights is empty"),
        (lambda: TaskVector({"a": np.array([np.nan])}), "a holds nan"),
        (lambda: TaskVector.between(base, birds, ["audio_encoder"]), "towers holds 'audio_encoder'; this model has"),
        (lambda: greedy_soup([base, birds], lambda model: float("nan")), "evaluate gives nan"),
        (lambda: greedy_soup([base, birds], lambda model: None), "evaluate gives None; give a function of a model to"),
        (lambda: interpolation_curve(base, birds, lambda model: {"a": "b"}), "evaluate gives 'b'"),
        (lambda: vector * float("inf"), "the factor of a task vector is inf; give a finite number"),
        (lambda: few.fit(PAIRS["images"], [5] * 12, np.eye(3, 12)), "label 0 is 5; give whole numbers from 0 to 2"),
        (lambda: few.fit(PAIRS["images"], [0] * 12, np.eye(3, 5)), "zero_shot has 5 channels, but 12 are expected"),
    ):
        with pytest.raises(ValueError, match=sentence) as caught:
            call()
        assert str(caught.value).endswith(".") and len(str(caught.value).splitlines()) == 1
    with pytest.raises(TypeError, match="tuned is 3"):
        interpolate(base, 3)
    with pytest.raises(TypeError):
        vector + 1
