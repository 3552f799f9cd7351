"""Options of the transformer towers: masks, dropped positions, embeddings, prompts, features of blocks."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops
from shared_case import numpy, spread, value_and_gradients

from kzoo.encoders import (
    BertEncoder,
    M2M100Encoder,
    ModernTextTransformer,
    NaFlexVisionTransformer,
    T5Encoder,
    TextTransformer,
    VisionTransformer,
)
from kzoo.encoders.pixels import normalize_pixels

SMALL = {"width": 8, "depth": 2, "num_heads": 2, "mlp_dim": 8, "mask_token": True}
random = np.random.default_rng(0)


def text(**options):
    return TextTransformer(30, 6, eot_id=3, mask_padding=True, **SMALL, **options)


TOWERS = {
    "vit": lambda: VisionTransformer((8, 12), 4, embed_dim=5, **SMALL),
    "vit_rotary": lambda: VisionTransformer((8, 12), 4, rotary="rows", rotary_offset=1.0, mlp="swiglu", **SMALL),
    "text": lambda: text(embed_dim=5),
    "text_class": lambda: text(pool="class_embedding", class_mask="exact"),
    "bert": lambda: BertEncoder(30, 6, pool="mean", **SMALL),
    "t5": lambda: T5Encoder(30, 6, head_width=3, **SMALL),
    "m2m100": lambda: M2M100Encoder(30, 6, pool="mean", **SMALL),
    "naflex": lambda: NaFlexVisionTransformer(2, max_patches=6, table_size=3, **SMALL),
    "naflex_registers": lambda: NaFlexVisionTransformer(
        2, 6, 3, pool="average", class_token=True, register_tokens=1, pre_norm=True, **SMALL
    ),
    "modern": lambda: ModernTextTransformer(30, 6, eot_id=3, gate="bias", causal=True, **SMALL),
    "modern_mean": lambda: ModernTextTransformer(30, 6, pool="mean", rotary_base=None, **SMALL),
}
LENGTH = 6  # positions of each of them


class Case:
    """A tower with inputs, and what it gives for them."""

    def __init__(self, name):
        keras.utils.set_random_seed(0)
        self.tower = TOWERS[name]()
        spread(self.tower)
        self.arrays = tuple(self.tower.samples(2).values())
        self.plain = self()

    def __call__(self, arrays=None, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Keras' masks are not meant
            outputs = self.tower(*(arrays or self.arrays), training=False, **options)
        return {name: numpy(value) for name, value in outputs.items()}


@pytest.fixture(scope="module", params=TOWERS)
def case(request):
    return Case(request.param)


@pytest.fixture(scope="module")
def vit():
    return Case("vit")


@pytest.fixture(scope="module")
def causal():
    return Case("text")


def close(got, expected, atol=1e-5):
    np.testing.assert_allclose(got, expected, atol=atol, rtol=1e-5)


def differ(got, expected):
    assert np.abs(got - expected).max() > 1e-2


def prompts_of(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, 8)).astype("float32")


# -- mask --
def test_a_mask_hides(case):
    mask = np.zeros((2, LENGTH), bool)
    close(case(mask=mask)["embedding"], case.plain["embedding"], 1e-6)
    mask[:, :2] = True
    hidden = case(mask=mask)["embedding"]
    differ(hidden, case.plain["embedding"])
    given = numpy(case.tower.embed(*case.arrays))
    given[:, :2] = numpy(case.tower.mask_token)
    close(case(embeddings=given)["embedding"], hidden)


def test_embeddings_stand_for_the_arrays(case):
    given = numpy(case.tower.embed(*case.arrays))
    assert given.shape == (2, LENGTH, 8)
    whole = case(embeddings=given)
    for name, value in case.plain.items():
        close(whole[name], value, 1e-6)
    differ(case(embeddings=given[:, ::-1])["embedding"], case.plain["embedding"])


# -- keep --
def test_all_positions_in_any_order_are_the_whole(case):
    """In causal towers too: what a token sees follows its place in the text, not its place among those kept."""
    for order in (np.arange(LENGTH), np.array([4, 0, 3, 5, 1, 2])):
        got = case(keep=np.stack([order, order]).astype("int32"))
        close(got["embedding"], case.plain["embedding"], 1e-6 if order[0] == 0 else 1e-5)
        start = case.tower.prefix_tokens
        close(got["tokens"][:, start:], case.plain["tokens"][:, start:][:, order], 1e-5)
        if "token_mask" in got:
            assert np.array_equal(got["token_mask"], case.plain["token_mask"][:, order])


@pytest.mark.parametrize("name", ["text", "bert", "t5", "m2m100"])
def test_a_dropped_id_is_one_that_nobody_sees(name):
    case = Case(name)
    ids, mask = case.arrays
    unseen = mask.copy()
    unseen[:, 1] = False
    keep = np.array([[0, 2, 3, 4, 5]] * 2, "int32")
    expected = case(arrays=(ids, unseen))
    got = case(keep=keep)
    close(got["embedding"], expected["embedding"])
    close(got["tokens"], expected["tokens"][:, keep[0]])
    differ(got["embedding"], case.plain["embedding"])


def test_dropped_patches_do_not_enter_the_blocks(vit):
    x = numpy(vit.tower.embedding(vit_pixels(vit)))[:, [0, 5, 2, 3]]  # the class token, three patches
    expected = by_hand(vit.tower.pre_norm(x), vit.tower.blocks)
    got = vit(keep=np.array([[4, 1, 2]] * 2, "int32"))
    close(got["tokens"], expected)
    close(got["embedding"], numpy(vit.tower.projection(vit.tower.post_norm(expected[:, 0]))))


# -- prompts --
def vit_pixels(vit):
    return normalize_pixels(vit.arrays[0], vit.tower.mean, vit.tower.std)


def by_hand(x, blocks, prompts=None):
    """The blocks one after the other, with prompts behind the first token."""
    x, put = numpy(x), 0
    for number, block in enumerate(blocks):
        if prompts and number in prompts:
            rows = np.broadcast_to(prompts[number], (len(x), *prompts[number].shape))
            x, put = np.concatenate([x[:, :1], rows, x[:, 1 + put :]], axis=1), rows.shape[1]
        x = numpy(block(x))
    return np.concatenate([x[:, :1], x[:, 1 + put :]], axis=1)


DEPTHS = [{0: prompts_of(2)}, {1: prompts_of(2)}, {0: prompts_of(2), 1: prompts_of(1, 2)}]


@pytest.mark.parametrize("prompts", DEPTHS, ids=["first", "second", "both"])
def test_prompts_stand_behind_the_class_token_and_give_way_to_those_of_a_later_block(vit, prompts):
    x = vit.tower.pre_norm(vit.tower.embedding(vit_pixels(vit)))
    expected = by_hand(x, vit.tower.blocks, prompts)
    got = vit(prompts=prompts)
    close(got["tokens"], expected)
    close(got["embedding"], numpy(vit.tower.projection(vit.tower.post_norm(expected[:, 0]))))


def test_prompts_stand_behind_the_start_of_a_causal_text(causal):
    ids = causal.arrays[0]
    x = numpy(causal.tower.embed(ids)) + numpy(causal.tower.position_embedding)
    expected = numpy(causal.tower.final_norm(by_hand(x, causal.tower.blocks, DEPTHS[2])))
    got = causal(arrays=(ids,), prompts=DEPTHS[2])
    close(got["tokens"], expected)
    ends = np.argmax(ids == 3, axis=1)
    close(got["embedding"], numpy(causal.tower.projection(expected[np.arange(2), ends])))
    close(got["tokens"][:, 0], causal.plain["tokens"][:, 0])  # the start does not see them
    differ(got["tokens"][:, 1], causal.plain["tokens"][:, 1])


def test_prompts_change_the_embedding_and_are_not_among_the_tokens(case):
    prompts = {0: prompts_of(2), 1: prompts_of(2, 3)}
    got = case(prompts=prompts)
    differ(got["embedding"], case.plain["embedding"])
    assert {name: value.shape for name, value in got.items()} == {
        name: value.shape for name, value in case.plain.items()
    }
    rows = {number: np.stack([each, each]) for number, each in prompts.items()}
    close(case(prompts=rows)["embedding"], got["embedding"], 1e-6)
    order = np.array([[0, 4, 3, 5, 1, 2]] * 2, "int32")
    close(case(prompts=prompts, keep=order)["embedding"], got["embedding"])


def test_padding_stays_unseen_beside_prompts():
    case = Case("bert")
    ids, mask = case.arrays
    other = np.where(mask, ids, 7)
    got = [case(arrays=(each, mask), prompts={0: prompts_of(2)})["embedding"] for each in (ids, other)]
    assert not mask.all()
    close(*got)


# -- blocks --
def test_features_of_blocks(case):
    whole = case(until=2)
    for name, value in case.plain.items():
        close(whole[name], value, 1e-6)
    got, one = case(layers=(2, 1)), case(until=1)
    assert got["layers"].shape == (2, 2, case.tower.embed_dim)
    close(got["layers"][:, 0], case.plain["embedding"], 1e-6)
    close(got["layers"][:, 1], one["embedding"], 1e-6)
    close(got["layer_tokens"][:, 0], case.plain["tokens"], 1e-6)
    close(got["layer_tokens"][:, 1], one["tokens"], 1e-6)
    close(got["embedding"], case.plain["embedding"], 1e-6)
    differ(one["embedding"], case.plain["embedding"])


# -- training --
def test_gradients_reach_prompts_and_embeddings(causal):
    given = numpy(causal.tower.embed(*causal.arrays))

    def total(embeddings, prompts):
        outputs = causal.tower(*causal.arrays, embeddings=embeddings, prompts={0: prompts}, layers=(1,))
        return ops.sum(ops.square(outputs["embedding"])) + ops.sum(ops.square(outputs["layers"]))

    value, (of_embeddings, of_prompts) = value_and_gradients(total, [given, prompts_of(2)])
    assert np.isfinite(value) and np.abs(of_prompts).sum(axis=1).min() > 1e-3
    seen = np.arange(LENGTH) <= np.argmax(causal.arrays[0] == 3, axis=1)[:, None]
    assert np.array_equal(np.abs(of_embeddings).sum(axis=2) > 1e-6, seen)  # up to the end of text


def test_the_mask_token_trains():
    tower = VisionTransformer((8, 12), 4, class_token=False, pool="average", **SMALL)

    class Hidden(keras.Model):
        def __init__(self):
            super().__init__()
            self.tower = tower

        def call(self, images):
            mask = ops.ones((1, LENGTH), "bool")
            return self.tower(images, mask=mask, keep=ops.tile(np.array([[1, 3]], "int32"), (4, 1)))["embedding"]

    model, before = Hidden(), numpy(tower.mask_token)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(tower.samples(4)["images"], prompts_of(4), batch_size=4, verbose=0)
    assert np.abs(numpy(tower.mask_token) - before).max() > 1e-4


# -- what stays --
def test_without_a_mask_token_there_is_no_weight_and_no_mask():
    options = SMALL | {"mask_token": False}
    tower, with_one = VisionTransformer((8, 12), 4, **options), VisionTransformer((8, 12), 4, **SMALL)
    assert "mask" not in tower.options and "mask" in with_one.options
    assert [each.name for each in with_one.weights if each.name != "mask_token"] == [
        each.name for each in tower.weights
    ]
    with pytest.raises(
        ValueError, match="VisionTransformer has no vector to put where it hides; build it with mask_token"
    ):
        tower(*tower.samples(1).values(), mask=np.zeros((1, 6), bool))


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"until": 3}, "until is 3, but 2 of the 2 blocks of VisionTransformer are run"),
        ({"layers": (1, 2), "until": 1}, "layers have 2, but 1 of the 2 blocks"),
        ({"prompts": {2: prompts_of(1)}}, "prompts have 2, but 2 of the 2 blocks"),
        ({"prompts": {0: np.zeros((1, 5))}}, r"prompts have shape \(1, 5\), but \(count, 8\) or \(rows, count, 8\)"),
        ({"embeddings": np.zeros((2, 5, 8))}, r"embeddings have shape \(2, 5, 8\), but \(rows, 6, 8\) is expected"),
        ({"mask": np.zeros((2, 7), bool)}, r"mask has shape \(2, 7\), but \(rows, 6\) is expected"),
    ],
)
def test_options_that_do_not_fit(vit, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        vit(**options)


def test_crops_of_another_size_have_as_many_positions_as_they_hold(vit):
    crops = vit.arrays[0][:, :, :8]
    mask = np.zeros((2, 4), bool)
    plain = vit(arrays=(crops,), any_size=True)
    close(vit(arrays=(crops,), any_size=True, mask=mask)["embedding"], plain["embedding"], 1e-6)
