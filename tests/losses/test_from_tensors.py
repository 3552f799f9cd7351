"""Losses attached to a model: what they read by name, constants in place of tensors, and state that nothing renames."""

import functools

import keras
import numpy as np
import pytest
from golden_case import built, called_with, parametrized
from shared_case import numpy

import kzoo.losses
from kzoo.losses import (
    GramContrastive,
    HaversineGeocell,
    InfoNCE,
    Loss,
    Matryoshka,
    MomentumDistillation,
    MultipleNegativesRanking,
    MultiViewInfoNCE,
    ProtoTriplet,
    SupCon,
    Symile,
    TokenClassification,
)

LOSSES = [each for each in vars(kzoo.losses).values() if isinstance(each, type) and issubclass(each, Loss)]
random = np.random.default_rng(0)
PLACES = random.uniform(-80.0, 80.0, (5, 2)).astype("float32")
LOGITS, COORDINATES = random.normal(size=(3, 5)).astype("float32"), PLACES[:3] + 1.0


def attached(name, case):
    """A loss of a case, and its inputs by the names that the loss reads."""
    args, kwargs = called_with(case)
    loss = built(name, case)
    if len(args) != len(loss.input_names):
        loss = built(name, case, inputs=[f"input_{place}" for place in range(len(args))])
    if name == "Matryoshka2D":  # a model gives a row for each sample
        args = [np.swapaxes(each, 0, 1) for each in args]
    return loss, dict(zip(loss.input_names, args)) | {loss.optional_names[key]: value for key, value in kwargs.items()}


def handed_over(loss, monkeypatch):
    """A list of what `call` of a loss is called with from here on, in place of what it computes."""
    calls, call = [], type(loss).call

    @functools.wraps(call)
    def recorded(self, *arguments, **keywords):
        keywords.pop("training", None)
        calls.append([*arguments, *(keywords[key] for key in sorted(keywords) if keywords[key] is not None)])
        return keras.ops.zeros(())

    monkeypatch.setattr(type(loss), "call", recorded)
    return calls


@pytest.mark.parametrize("name, case", parametrized())
def test_a_golden_case_by_names(name, case, monkeypatch):
    loss, tensors = attached(name, case)
    assert set(loss.reads) <= set(tensors) <= set(loss.may_read())
    calls = handed_over(loss, monkeypatch)
    args, kwargs = called_with(case)
    loss(*args, **kwargs)
    loss.from_tensors(tensors | {"another": np.zeros(7)}, training=False)
    direct, by_names = calls
    for one, other in zip(direct, by_names, strict=True):
        np.testing.assert_array_equal(numpy(other), numpy(one))


def test_only_a_sum_has_terms():
    assert [each.__name__ for each in LOSSES if "terms" in dir(each)] == []


@pytest.mark.parametrize("loss", [Symile, GramContrastive, MultiViewInfoNCE, MultipleNegativesRanking])
def test_a_loss_of_any_number_reads_what_a_model_gives_unless_told(loss):
    given = ("audio_embeddings", "image_embeddings", "text_embeddings")
    free, told = loss(), loss(inputs=given[:2])
    names = free.input_names
    assert free.reading(given) == given and told.reading(given) == given[:2] and free.reads == names
    assert set(given) <= set(free.may_read(given)) and "sample_weight" in free.may_read(given)
    tensors = {name: random.normal(size=(4, 3)).astype("float32") for name in given}
    values = [numpy(each.from_tensors(tensors, given=given)[0]) for each in (free, loss(inputs=given))]
    assert float(values[0]) == pytest.approx(float(values[1]), rel=1e-6)
    both = InfoNCE() + 2.0 * free
    assert both.reading(given) == ("image_embeddings", "text_embeddings", "audio_embeddings")
    total, (pair, _) = both.from_tensors(tensors, given=given)
    assert float(numpy(total)) == pytest.approx(float(numpy(pair)) + 2.0 * float(values[0]), rel=1e-6)
    assert free.input_names == names and free.get_config()["inputs"] is None  # nothing was renamed


def test_what_a_wrapped_loss_reads_is_what_it_reads_alone():
    given = ("view_1", "view_2", "view_3")
    assert Matryoshka(MultiViewInfoNCE(), [2]).reading(given) == given
    assert Matryoshka(InfoNCE(), [2]).reading(given) == InfoNCE().reads


def test_constants_stand_in_place_of_tensors():
    loss = HaversineGeocell(constants={"centroids": PLACES})
    wanted = float(numpy(HaversineGeocell()(LOGITS, COORDINATES, PLACES)))
    assert loss.reads == ("logits", "coordinates") and "centroids" not in loss.may_read()
    tensors = {"logits": LOGITS, "coordinates": COORDINATES, "centroids": np.zeros((9, 9))}
    assert float(numpy(loss.from_tensors(tensors)[0])) == pytest.approx(wanted, rel=1e-6)
    assert float(numpy(loss(LOGITS, COORDINATES))) == pytest.approx(wanted, rel=1e-6)
    assert float(numpy(loss(LOGITS, COORDINATES, PLACES))) == pytest.approx(wanted, rel=1e-6)
    assert not loss.trainable_variables


def test_constants_by_keyword_keep_their_kind():
    weights = np.array([0.0, 1.0, 2.0, 3.0, 0.5])
    ids = np.array([[1, 2], [3, 4], [2, 2]], "int32")
    loss = TokenClassification(constants={"token_weights": weights})
    wanted = TokenClassification()(LOGITS, ids, token_weights=weights)
    assert float(numpy(loss(LOGITS, ids))) == pytest.approx(float(numpy(wanted)), rel=1e-6)
    queues = {"a_queue": PLACES, "b_queue": PLACES, "queue_ids": np.arange(5)}
    dtypes = {name: each.dtype for name, each in MomentumDistillation(constants=queues).constants.items()}
    assert dtypes == {"a_queue": "float32", "b_queue": "float32", "queue_ids": "int32"}


def test_a_config_has_the_shapes_of_constants_and_weights_have_their_values(tmp_path):
    loss = HaversineGeocell(constants={"centroids": PLACES}, name="places")
    config = loss.get_config()
    assert config["constants"] == {"centroids": {"shape": [5, 2], "dtype": "float32"}}
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == config and not numpy(again.constants["centroids"]).any()
    again.set_weights(loss.get_weights())
    np.testing.assert_array_equal(numpy(again.constants["centroids"]), PLACES)
    assert "constants" not in HaversineGeocell().get_config()
    (spec,) = [{"loss": "ProtoTriplet", "constants": {"prototypes": {"shape": [4, 2], "dtype": "float32"}}}]
    assert kzoo.losses.from_spec([spec]).constants["prototypes"].shape == (4, 2)


def test_wrapped_losses_have_their_constants_one_for_each_length():
    x, prototypes, labels = random.normal(size=(3, 4)), random.normal(size=(5, 4)), np.array([0, 1, 4])
    loss = Matryoshka(lambda dim: ProtoTriplet(constants={"prototypes": prototypes[:, :dim]}), [2, 4])
    wanted = sum(float(numpy(ProtoTriplet()(x[:, :d], prototypes[:, :d], labels=labels))) for d in (2, 4))
    assert loss.reads == (*ProtoTriplet().input_names[:1], "labels")
    assert float(numpy(loss(x, labels=labels))) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: HaversineGeocell(constants={"centres": PLACES}),
            "HaversineGeocell cannot take 'centres' as a constant; it takes centroids",
        ),
        (
            lambda: InfoNCE(constants={"sample_weight": np.ones(3)}),
            "InfoNCE cannot take 'sample_weight' as a constant; it takes logit_scale",
        ),
        (lambda: SupCon(constants={"labels": np.ones(3)}), "all that it reads has a row for each sample"),
        (lambda: InfoNCE() + Matryoshka(InfoNCE(), [2], constants={"a": 1.0}), "cannot take 'a' as a constant"),
        (
            lambda: HaversineGeocell(constants={"centroids": PLACES[0]}),
            r"the constant 'centroids' has the shape \(2,\); give it as \(cells, 2\)",
        ),
        (
            lambda: HaversineGeocell(constants={"centroids": PLACES[:4]})(LOGITS, COORDINATES),
            r"logits \(3, 5\) and centroids \(4, 2\); they must agree in cells",
        ),
    ],
)
def test_constants_that_cannot_be(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
