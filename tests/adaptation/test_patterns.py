"""Paths of parameters and the patterns that choose among them."""

import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from shared_case import tiny_model

from kzoo.paths import at, parameters
from kzoo.patterns import matching

BLOCK = [
    *("norm_1.gamma", "norm_1.beta"),
    *(f"attention.{name}.{kind}" for name in ("query", "key", "value", "out") for kind in ("kernel", "bias")),
    *("norm_2.gamma", "norm_2.beta"),
    *(f"mlp_{name}.{kind}" for name in ("up", "down") for kind in ("kernel", "bias")),
]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def names(model, *patterns):
    return [each.path for each in matching(patterns, parameters(model))]


def test_paths_are_those_of_the_attributes_on_every_backend_each_weight_once(model):
    found = {each.path: each.variable for each in parameters(model)}
    assert len(found) == len(model.weights)
    assert {id(each) for each in found.values()} == {id(each) for each in model.weights}
    wanted = {f"image_encoder.blocks.{number}.{each}" for number in (0, 1) for each in BLOCK}
    wanted |= {f"image_encoder.{each}" for each in ("embedding.kernel", "embedding.class_embedding")}
    wanted |= {"image_encoder.embedding.position_embedding", "image_encoder.projection.kernel"}
    wanted |= {f"image_encoder.{norm}.{kind}" for norm in ("pre_norm", "post_norm") for kind in ("gamma", "beta")}
    assert {path for path in found if path.startswith("image_encoder")} == wanted
    assert all(at(model, path) is variable for path, variable in found.items())
    model.compile("sgd")
    assert [each.path for each in parameters(model)] == list(found)


@pytest.mark.once
def test_layers_without_attributes_go_by_their_own_names():
    inner = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, name="first"), keras.layers.Dense(2)])
    found = [each.path for each in parameters(inner)]
    assert found[:2] == ["first.kernel", "first.bias"] and len(set(found)) == 4


PATTERNS = {
    "image_encoder": 40,
    "**": 74,
    "*": 74,
    "**.bias": 24,
    "*.blocks.*.attention.{query,value}": 16,
    "{image,text}_encoder.blocks.{0..1}.norm_*.gamma": 8,
    "image_encoder.blocks.-1": 16,
    "image_encoder.blocks.{-2..-1}.{mlp_up,attention.{query,key}}.kernel": 6,
    "image_encoder.blocks.{n}.norm_1": 4,
    "**.attention.**.bias": 16,
    "**.attention.**": 32,
    "**.kernel.**.kernel": None,
    "blocks": None,
    "": None,
}


@pytest.mark.once
@pytest.mark.parametrize(("pattern", "count"), PATTERNS.items())
def test_what_patterns_name(model, pattern, count):
    if count is not None:
        assert len(names(model, pattern)) == (count if count != 74 else len(model.weights))
    else:
        with pytest.raises(ValueError, match="names no parameter"):
            names(model, pattern)


def by_hand(parts, steps):
    """Whether steps of `*`, `**` and letters lead to a path or to a layer around it, by trying all ways."""
    if not steps:
        return True
    if steps[0] == "**":
        rest = range(len(parts) + 1) if steps[1:] else range(1, len(parts) + 1)
        return any(by_hand(parts[skipped:], steps[1:]) for skipped in rest)
    return bool(parts) and steps[0] in ("*", parts[0]) and by_hand(parts[1:], steps[1:])


@pytest.mark.once
def test_stars_match_as_by_trying_all_ways():
    paths = [way for length in (1, 2, 3) for way in itertools.product("ab", repeat=length)]
    found = [SimpleNamespace(parts=tuple((part,) for part in path), path=path) for path in paths]
    for length in (1, 2, 3):
        for steps in itertools.product(["a", "b", "*", "**"], repeat=length):
            wanted = [path for path in paths if by_hand(path, steps)]
            try:
                got = [each.path for each in matching([".".join(steps)], found)]
            except ValueError:
                got = []
            assert got == wanted, steps


WRONG = {
    "image_encodr": "'image_encodr' names no parameter; the nearest names are image_encoder",
    "image_encoder.blocks.*.atention.query": r"behind 'image_encoder.blocks.\*' there is attention.",
    "image_encoder.blocks.7": "behind 'image_encoder.blocks' there is 0, 1.",
    "**.kernle": "there is kernel.",
    "image_encoder.blocks.0.attention.{query,valu}": r"names no parameter \(valu in its braces\); .* there is value.",
    "image_encoder.blocks.{0..3}": r"\(2, 3 in its braces\)",
    "image_encoder.{blocks": "a brace too many",
    "image_encoder}.blocks": "a brace too many",
    "image_encoder.blocks.{3..1}": "give the smaller number first",
    "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}": "8,192 alternatives",
    "x.{0..99999}": "give the smaller number first",
}


@pytest.mark.once
@pytest.mark.parametrize(("pattern", "sentence"), WRONG.items())
def test_a_pattern_that_names_nothing_says_the_nearest_names(model, pattern, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        names(model, pattern)
    assert len(str(caught.value)) < 400 and str(caught.value).endswith(".")


@pytest.mark.once
def test_alternatives_need_not_be_there_in_every_combination(model):
    assert len(names(model, "{image,text}_encoder.{embedding,token_embedding}")) == 4
    assert np.isin(names(model, "image_encoder.blocks.{0,-1}"), names(model, "image_encoder.blocks.*")).all()
