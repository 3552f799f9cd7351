"""Prompts before blocks: VPT and MaPLe train them alone, and an image tower that has them leaves as any other."""

import keras
import numpy as np
import pytest
from prompt_case import BATCH, IMAGES, NAMES, TOWERS, logits_of, made, state
from shared_case import numpy, spread, tiny_model

import kzoo
from kzoo.adaptation import MVLPT, VPT, CoOp, EmbeddingClassifier, HiCroPL, MaPLe
from kzoo.encoders import PromptedTower
from kzoo.export import runtime
from kzoo.models import DualEncoder


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    spread(model)
    return model


METHODS = {
    "deep VPT": lambda model: VPT(model, NAMES, n_ctx=3, template="a {}"),
    "shallow VPT": lambda model: VPT(model, NAMES, n_ctx=2, deep=False, template="a {}"),
    "MaPLe": lambda model: MaPLe(model, NAMES, init="a big", knowledge_weight=1.0, template="a {}"),
    "MVLPT": lambda model: MVLPT(model, NAMES, 2, 3, shared="mlp", project_dim=8),
    "HiCroPL": lambda model: HiCroPL(model, NAMES, 2, template="a {}"),
}
SQUARE = [(24, 24), (24,)]
PROXY = [(1, 24), *[(24,)] * 4, *SQUARE * 4]
MAPPER = [*SQUARE * 7, *[(24,)] * 4, (24, 96), (96,), (96, 24), (24,)]
SHAPES = {
    "deep VPT": [(2, 3, 24)],
    "shallow VPT": [(1, 2, 24)],
    "MaPLe": [(2, 24), (2, 24), (24, 24), (24,), (24, 24), (24,)],
    "MVLPT": [(2, 24), (6, 24), *[(24, 8), (8,), (8, 24), (24,)] * 2, (8, 8), (8,)],
    "HiCroPL": [(2, 24)] * 4 + PROXY * 2 + MAPPER * 2,
}


OFTEN = ("deep VPT", "MaPLe")
TURNS = [name if name in OFTEN else pytest.param(name, marks=pytest.mark.one_other) for name in METHODS]


@pytest.mark.parametrize("name", TURNS)
def test_the_prompts_alone_are_trained_and_kept(model, name, tmp_path):
    classifier = METHODS[name](model)
    assert sorted(tuple(each.shape) for each in classifier.trainable_variables) == sorted(SHAPES[name])
    before, begun = state(model), [numpy(each) for each in classifier.trainable_variables]
    frozen = {path: each for path, each in state(classifier.model).items() if "prompts" not in path}
    classifier.compile(keras.optimizers.Adam(0.02))
    losses = classifier.fit(BATCH, batch_size=6, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for old, new in zip(begun, classifier.trainable_variables, strict=True):
        if any(part in new.path for part in ("key/", "attention/query/")):  # there is one proxy to look at
            continue
        assert (np.abs(numpy(new) - old).reshape(-1, old.shape[-1]).max(axis=1) > 1e-4).all(), new.path
    for weights, old in ((state(model), before), (state(classifier.model), frozen)):
        assert all(np.array_equal(weights[path], old[path]) for path in old)
    classifier.save(tmp_path / "model.keras")
    again, found = kzoo.load_model(tmp_path / "model.keras"), logits_of(classifier)
    np.testing.assert_allclose(logits_of(again), found, atol=1e-5)
    pictures = classifier.encoder().encode_image(IMAGES)
    np.testing.assert_allclose(pictures, classifier.encode_image(IMAGES), atol=1e-5)
    np.testing.assert_allclose(classifier.bake().logits(pictures), found, atol=1e-4)
    assert np.abs(pictures - model.encode_image(IMAGES)).max() > 1e-2


@pytest.mark.one_other
@pytest.mark.parametrize("kind", ["clip", "siglip", "coca"])
def test_a_context_that_enters_the_first_block_has_the_places_of_its_text(kind):
    model = made(**TOWERS[kind])
    found = MaPLe(model, NAMES, 2, 1, "a big").bake().zero_shot
    texts = model.encode_text([f"a big {name.replace('_', ' ')}." for name in NAMES])
    np.testing.assert_allclose(found, texts, atol=1e-5)


def masked_logits(classifier, tasks):
    return np.asarray(classifier.predict({"images": IMAGES, "tasks": tasks}, verbose=0)["logits"])


@pytest.mark.one_other
def test_prompts_of_several_tasks_are_what_those_of_another_begin_as(model, tmp_path):
    tasks = {"round": ["red circle", "circle"], "others": ["green square"]}
    several = MVLPT(model, tasks, 2, 2, deep=False, project_dim=8)
    batch = BATCH | {"tasks": np.where(BATCH["labels"] == 2, 1, 0)}
    logits, free = masked_logits(several, batch["tasks"]), logits_of(several)
    own = np.equal.outer(batch["tasks"], [0, 0, 1])
    np.testing.assert_allclose(logits[own], free[own], atol=1e-5)
    assert (logits[~own] < -1e9).all()
    several.compile(keras.optimizers.Adam(0.02))
    losses = several.fit(batch, batch_size=6, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    several.save(tmp_path / "model.keras")
    again = kzoo.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(logits_of(again), logits_of(several), atol=1e-5)
    other = MVLPT(model, ["blue", "grey"], 2, 2, deep=False, project_dim=8).start_from(several)
    np.testing.assert_allclose(other.encode_image(IMAGES), several.encode_image(IMAGES), atol=1e-6)
    with pytest.raises(ValueError, match="row 0 is of task 1, but its label 0 is a class of task 0"):
        several.fit(batch | {"tasks": 1 - batch["tasks"]}, verbose=0)
    with pytest.raises(ValueError, match="make both with the same n_ctx"):
        MVLPT(model, ["blue", "grey"], 1, 2, deep=False, project_dim=8).start_from(several)


@pytest.mark.one_other
def test_a_prompted_tower_is_a_tower(model):
    tower = PromptedTower(model.image_encoder, num_prompts=2, prompted_blocks=2)
    prompts = numpy(tower.prompts)
    found = tower(IMAGES[:2])
    plain = model.image_encoder(IMAGES[:2], prompts={0: prompts[0], 1: prompts[1]})
    np.testing.assert_allclose(numpy(found["embedding"]), numpy(plain["embedding"]), atol=1e-6)
    assert found["tokens"].shape == plain["tokens"].shape and tower.image_size == model.image_encoder.image_size
    again = PromptedTower.from_config(tower.get_config())
    assert again.tower is not tower.tower and again.get_config() == tower.get_config()
    for sentence, make in (
        ("prompted_blocks is 3, but the tower has 2 blocks", lambda: PromptedTower(model.image_encoder, 1, 3)),
        ("LayerTower cannot be run with prompts", lambda: PromptedTower(plain_tower(), 1)),
    ):
        with pytest.raises(ValueError, match=sentence):
            make()


def plain_tower():
    layer = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(12)])
    return kzoo.encoders.as_tower(layer, "image")


@pytest.mark.once
def test_an_export_has_the_prompts_within(model, tmp_path):
    classifier = METHODS["HiCroPL"](model)
    classifier.export(tmp_path / "onnx")
    baked = EmbeddingClassifier.load(tmp_path / "onnx" / "classifier.safetensors")
    pictures = runtime.load(tmp_path / "onnx").encode_image(IMAGES)
    np.testing.assert_allclose(baked.logits(pictures), logits_of(classifier), atol=1e-3)
    classifier.encoder().save_to_preset(tmp_path / "preset")
    again = kzoo.from_preset(str(tmp_path / "preset"))
    np.testing.assert_allclose(again.encode_image(IMAGES), pictures, atol=1e-4)


@pytest.mark.once
def test_what_takes_no_prompts(model):
    other = DualEncoder(plain_tower(), model.text_encoder, preprocessor=model.preprocessor)
    CoOp(other, NAMES, n_ctx=1)  # which leaves the image tower as it is
    for call, sentence in (
        (lambda: VPT(other, NAMES, template="{}"), "LayerTower cannot be run with prompts"),
        (lambda: MaPLe(other, NAMES, init="a"), "LayerTower cannot be run with prompts"),
        (lambda: MaPLe(model, NAMES, 1, 3, "a"), "prompted_blocks is 3, but a tower has 2 blocks"),
        (lambda: MaPLe(model, NAMES, 2, init="a"), "n_ctx is 2, but init 'a' has 1 token"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()
    for names in ("abc", {"letters": "abc"}):
        with pytest.raises(TypeError, match="give a list of names"):
            MVLPT(model, names)


@pytest.mark.once
def test_hicropl_adds_what_stood_without_prompts_and_says_how_far_it_went(model):
    told = {"red circle": ["a red circle", "a big red circle"], "green_square": "a green square", "blue": ["blue"]}
    classifier = HiCroPL(model, NAMES, 2, init="a big", template="a {}", descriptions=told)
    assert (len(classifier.text_proxies), len(classifier.visual_proxies)) == (1, 1)
    mean = model.encode_text(told["red circle"]).mean(axis=0)
    np.testing.assert_allclose(numpy(classifier.zero_shot)[0], mean / np.linalg.norm(mean), atol=1e-6)
    prompts = [numpy(each) for each in classifier.text_prompts()]
    assert np.array_equal(prompts[0], numpy(classifier.context.vectors)) and len(prompts) == 2
    texts = numpy(classifier.texts.embed(classifier.text_prompts())) + numpy(classifier.zero_shot)
    texts /= np.linalg.norm(texts, axis=-1, keepdims=True)
    visual = dict(enumerate(classifier.visual_prompts()))
    pictures = numpy(model.image_encoder(IMAGES, prompts=visual)["embedding"])
    plain = model.encode_image(IMAGES)
    pictures = pictures / np.linalg.norm(pictures, axis=-1, keepdims=True) + plain
    pictures /= np.linalg.norm(pictures, axis=-1, keepdims=True)
    logits = logits_of(classifier)
    np.testing.assert_allclose(logits, model.similarity.numbers()[0] * pictures @ texts.T, atol=1e-4)
    left = 2.0 - (pictures * plain).sum(axis=-1).mean() - (texts * numpy(classifier.zero_shot)).sum(axis=-1).mean()
    shares = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    wanted = -shares[np.arange(12), BATCH["labels"]].mean() + 12.0 * left
    classifier.compile(keras.optimizers.SGD(0.0))
    for _ in range(2):  # a call changes nothing
        assert abs(classifier.evaluate(BATCH, batch_size=12, verbose=0, return_dict=True)["loss"] - wanted) < 1e-4
    for call, sentence in (
        (lambda: HiCroPL(model, NAMES, 2, 2, 3, template="a {}"), "cross_layer is 3, but 2 blocks have prompts"),
        (lambda: HiCroPL(model, NAMES, 2, 3, template="a {}"), "prompted_blocks is 3, but a tower has 2 blocks"),
        (lambda: HiCroPL(model, NAMES, 2, descriptions={"blue": "b"}, template="a {}"), "descriptions and class names"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()
