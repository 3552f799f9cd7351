"""Matryoshka around losses of every kind: what it cuts, reads, trains, keeps and refuses."""

import keras
import numpy as np
import pytest
from shared_case import batch_of, numpy, value_and_gradients

from kzoo.losses import (
    Captioning,
    CoSENT,
    ESimCSE,
    InfoNCE,
    LearnableTemperature,
    Matryoshka,
    Matryoshka2D,
    MetaNodeContrastive,
    MultipleNegativesRanking,
    PairDistillation,
    SigmoidContrastive,
    SoftContrastive,
)

random = np.random.default_rng(0)
A, B, C = random.normal(size=(3, 5, 6)).astype("float32")
WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 1.0], "float32")


def value(result):
    return float(numpy(result))


def test_features_are_cut_before_the_inner_loss():
    expected = sum(value(InfoNCE(0.2)(A[:, :d], B[:, :d], sample_weight=WEIGHT)) for d in (2, 6))
    result = Matryoshka(InfoNCE(0.2), dims=[2, 6])(A, B, sample_weight=WEIGHT)
    assert value(result) == pytest.approx(expected, rel=1e-6)
    only_short = Matryoshka(InfoNCE(0.2), dims=[2])  # of more features than it names
    _, gradients = value_and_gradients(lambda a, b: only_short(a, b), [A, B])
    assert gradients[0][:, :2].any() and not gradients[0][:, 2:].any()


def test_embeddings_given_by_keyword_are_cut_and_what_is_none_is_left():
    loss = SoftContrastive(0.2)
    expected = value(loss(A[:, :2], B[:, :2], label_embeddings=C[:, :2]))
    assert value(Matryoshka(loss, [2])(A, B, label_embeddings=C)) == pytest.approx(expected, rel=1e-6)
    others = C[:, :4]  # of another width
    expected = value(loss(A[:, :2], B[:, :2], label_embeddings=others))
    assert value(Matryoshka(loss, [2])(A, B, label_embeddings=others)) == pytest.approx(expected, rel=1e-6)


def test_batches_as_large_as_the_width_keep_scores_weights_and_matrices():
    a, b = A[:, :5], B[:, :5]
    given = {"scores": WEIGHT}
    expected = value(CoSENT()(a[:, :2], b[:, :2], **given))
    assert value(Matryoshka(CoSENT(), [2])(a, b, **given)) == pytest.approx(expected, rel=1e-6)
    given = {"adjacency": np.abs(a @ a.T), "assignments": np.array([0, 1, 1, 0, 1], "int32")}
    graph = MetaNodeContrastive(num_clusters=2)
    expected = value(graph(a[:, :2], **given))
    assert value(Matryoshka(graph, [2])(a, **given)) == pytest.approx(expected, rel=1e-6)
    given = {"positives": np.eye(5, dtype="bool"), "sample_weight": WEIGHT}
    sigmoid = SigmoidContrastive()
    expected = value(sigmoid(a[:, :2], b[:, :2], **given))
    assert value(Matryoshka(sigmoid, [2])(a, b, **given)) == pytest.approx(expected, rel=1e-6)


def test_it_reads_what_the_inner_loss_reads():
    loss = Matryoshka(SoftContrastive(0.2, inputs=("x", "y"), label_embeddings="names", block_size=2), [2, 6])
    assert loss.reads == ("x", "y", "names") and loss.term_names == ("matryoshka",)
    tensors = {"x": A, "y": B, "names": C, "sample_weight": WEIGHT, "image_embeddings": C}
    total, (term,) = loss.from_tensors(tensors)
    assert value(total) == value(term)
    assert value(total) == pytest.approx(value(loss(A, B, label_embeddings=C, sample_weight=WEIGHT)), rel=1e-6)
    del tensors["names"]
    with pytest.raises(ValueError, match=r"Matryoshka reads 'names'.*with SoftContrastive\(label_embeddings=...\)"):
        loss.from_tensors(tensors)


def test_it_tells_what_the_inner_loss_compares(capsys):
    loss = Matryoshka(MultipleNegativesRanking(inputs=("a", "b", "c"), block_size=8), [2, 6])
    assert loss.pairs(16) == (16, 32) and loss.negatives(16) == 31
    loss.describe(16)
    said = capsys.readouterr().out
    assert "reads       a, b, c; if there: sample_weight" in said and "blocks of 8 x 32 scores" in said


@pytest.mark.parametrize(
    "loss",
    [
        Matryoshka(InfoNCE(LearnableTemperature(0.2), name="inner"), [2, 6], [0.5, 2.0], name="mine"),
        Matryoshka(lambda dim: ESimCSE(0.3, queue_size=4, dim=dim), [2, 6], name="mine"),
        Matryoshka2D(InfoNCE(0.2), [2, 6], layers=1, kl_weight=0.5, name="mine"),
    ],
    ids=["shared", "factory", "layers"],
)
def test_config_round_trips(loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.term == "mine" and again.reads == loss.reads and again.get_config() == loss.get_config()
    assert [each.shape for each in again.weights] == [each.shape for each in loss.weights]


def test_each_length_has_its_own_state():
    loss = Matryoshka(lambda dim: ESimCSE(0.5, queue_size=7, dim=dim), dims=[2, 6])
    assert [each.shape for each in loss.weights if len(each.shape)] == [(7, 2), (7, 6)]
    alone = [ESimCSE(0.5, queue_size=7, dim=dim) for dim in (2, 6)]
    for training in (True, False, True):
        parts = [
            each(A[:, :dim], B[:, :dim], momentum=C[:, :dim], training=training) for each, dim in zip(alone, (2, 6))
        ]
        tensors = {"view_1": A, "view_2": B, "teacher_view_1": C}
        total, _ = loss.from_tensors(tensors, training=training)
        assert value(total) == pytest.approx(sum(map(value, parts)), rel=1e-6)
    for each, other in zip(loss.inner, alone):
        np.testing.assert_allclose(numpy(each.queue), numpy(other.queue), rtol=1e-6)
        assert int(numpy(each.pointer)) == 3


def test_state_is_returned_where_calls_are_stateless():
    loss = Matryoshka(lambda dim: ESimCSE(0.5, queue_size=7, dim=dim), dims=[2, 6])
    before = [numpy(variable) for variable in loss.non_trainable_variables]
    _, after = loss.stateless_call([], before, A, B, momentum=C, training=True)
    assert len(after) == 4 and all((numpy(new) != old).any() for new, old in zip(after, before))


def test_it_trains_with_a_model_and_is_saved_with_it(model, tmp_path):
    loss = Matryoshka(InfoNCE(), dims=[4, 8, 12]) + 0.5 * Matryoshka(
        InfoNCE(LearnableTemperature(0.1)), [4, 12], name="own"
    )
    model.compile("clip_adamw", loss=loss)
    own = loss.terms[1].inner[0].temperature.log_scale
    before = value(own)
    history = model.fit(batch_of(model, 12), batch_size=12, epochs=2, verbose=0).history
    assert {"loss", "matryoshka", "own", "in_batch_accuracy"} == set(history)
    assert history["loss"][-1] < history["loss"][0] and value(own) != before
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert value(again.objective.terms[1].inner[0].temperature.log_scale) == pytest.approx(value(own))
    assert again.objective.terms[0].dims == (4, 8, 12)


EQUAL = np.ones(5, "float32")
LAYERS = random.normal(size=(2, 3, 5, 6)).astype("float32")  # of two sides


def naive_layers(which, weight=EQUAL, kl_weight=0.7, t=0.4):
    inner = Matryoshka(InfoNCE(0.2), [2, 6])

    def of(layer):
        return value(inner(LAYERS[0, layer], LAYERS[1, layer], sample_weight=weight))

    total = of(2) + np.mean([of(layer) for layer in which])
    for side in LAYERS.astype("float64"):
        for layer in which:
            p, q = (np.exp(x / t) / np.exp(x / t).sum(axis=1, keepdims=True) for x in (side[2], side[layer]))
            kl = np.average((p * np.log(p / q)).sum(axis=1), weights=weight)
            total += kl_weight * t * kl / (2 * len(which))
    return total


def test_layers_equal_a_loop():
    loss = Matryoshka2D(InfoNCE(0.2), [2, 6], kl_weight=0.7, kl_temperature=0.4)
    assert value(loss(*LAYERS)) == pytest.approx(naive_layers([0, 1]), rel=1e-5)
    weighted = value(loss(*LAYERS, sample_weight=WEIGHT))
    assert weighted == pytest.approx(naive_layers([0, 1], WEIGHT), rel=1e-5)
    assert value(loss(*LAYERS, drawn=np.array([1]))) == pytest.approx(naive_layers([1]), rel=1e-5)


def test_layers_are_drawn_in_training_alone():
    loss = Matryoshka2D(InfoNCE(0.2), [2, 6], layers=1, kl_weight=0.7, kl_temperature=0.4, seed=0)
    assert value(loss(*LAYERS)) == pytest.approx(naive_layers([0, 1]), rel=1e-5)
    drawn = [value(loss(*LAYERS, training=True)) for _ in range(12)]
    one, other = naive_layers([0]), naive_layers([1])
    assert all(min(abs(each - one), abs(each - other)) < 1e-3 for each in drawn)
    assert max(drawn) - min(drawn) == pytest.approx(abs(one - other), rel=1e-3)  # both came up


def test_the_last_layer_is_not_pulled_by_the_divergence():
    with_it, without = (
        value_and_gradients(lambda a, b, w=weight: Matryoshka2D(InfoNCE(0.2), [6], kl_weight=w)(a, b), list(LAYERS))[1][
            0
        ]
        for weight in (1.0, 0.0)
    )
    np.testing.assert_allclose(with_it[-1], without[-1], rtol=1e-5, atol=1e-7)
    assert np.abs(with_it[0] - without[0]).max() > 1e-3


@pytest.mark.parametrize(
    "make, error, sentence",
    [
        (lambda: Matryoshka("InfoNCE", [2]), TypeError, "loss is of type str; give a kzoo loss"),
        (lambda: Matryoshka(InfoNCE, [2]), TypeError, "loss is InfoNCE; give a kzoo loss"),
        (lambda: Matryoshka(lambda dim: dim, [2]), TypeError, "loss is of type int; give a kzoo loss"),
        (lambda: Matryoshka(InfoNCE() + Captioning(), [2]), ValueError, "loss is a sum; wrap its terms one by one"),
        (lambda: Matryoshka([InfoNCE()], [2, 6]), ValueError, "loss is a list of 1 for 2 dims"),
        (lambda: Matryoshka([InfoNCE(), CoSENT()], [2, 6]), ValueError, "of different classes or read different"),
        (lambda: Matryoshka(ESimCSE(dim=6), [2, 6]), ValueError, "ESimCSE has weights that several lengths cannot"),
        (lambda: Matryoshka(InfoNCE(), []), ValueError, "dims is .*; give at least one positive whole number"),
        (lambda: Matryoshka(InfoNCE(), [0]), ValueError, "dims is .*; give at least one positive whole number"),
        (lambda: Matryoshka(InfoNCE(), [2], [1.0, 2.0]), ValueError, "weights has 2 numbers for 1 dims"),
        (lambda: Matryoshka(InfoNCE(), [2, 8])(A, B), ValueError, r"dims \(2, 8\), but the first input.* has 6"),
        (lambda: Matryoshka(PairDistillation(), [2])(WEIGHT, teacher=WEIGHT), ValueError, "has 0 features per row"),
        (lambda: Matryoshka(InfoNCE(), [2], inputs=("x", "y")), TypeError, "does not know the argument 'inputs'"),
        (lambda: Matryoshka2D(InfoNCE(), [2], layers=0), ValueError, "layers is 0; give 'all' or how many"),
        (lambda: Matryoshka2D(ESimCSE(dim=6), [6]), ValueError, "ESimCSE has weights that layers cannot share"),
        (lambda: Matryoshka2D(InfoNCE(), [2])(A, B), ValueError, r"takes stacks as \(layers, batch, dim\), but got"),
        (
            lambda: Matryoshka2D(InfoNCE(), [2], layers=3)(*LAYERS, training=True),
            ValueError,
            "layers=3 are to be drawn, but there are 2 before the last one",
        ),
    ],
)
def test_bad_arguments(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()
