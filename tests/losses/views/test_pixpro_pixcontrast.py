"""PixPro and PixContrast against loops over pixels, mirrored crops and crops that do not meet."""

import math

import numpy as np
import pytest
from naive_softmax import unit
from shared_case import numpy, value_and_gradients

from kzoo.losses import LearnableTemperature, PixContrast, PixPro
from kzoo.losses.parts.pixels import same_spots

GRID = (2, 3)
MAPS = list(np.random.default_rng(0).normal(size=(4, 2, *GRID, 3)).astype("float32"))
BOXES = (
    np.array([[0.0, 0.0, 6.0, 4.0], [5.0, 1.0, 2.0, 3.0]], "float32"),  # the second is mirrored
    np.array([[1.0, 1.0, 7.0, 5.0], [3.0, 1.5, 6.0, 4.0]], "float32"),
)
FAR = (BOXES[0], BOXES[1] + 100.0)
WEIGHT = np.array([1.0, 3.0], "float32")


def value_of(loss, boxes=BOXES, **kwargs):
    return float(numpy(loss(*MAPS, boxes_a=boxes[0], boxes_b=boxes[1], **kwargs)))


def naive_spots(box_a, box_b, ratio):
    height, width = GRID
    pixels = []
    for x0, y0, x1, y1 in (box_a, box_b):
        w, h = (x1 - x0) / width, (y1 - y0) / height
        centres = [(x0 + (c + 0.5) * w, y0 + (r + 0.5) * h) for r in range(height) for c in range(width)]
        pixels.append((centres, math.hypot(w, h)))
    (of_a, length_a), (of_b, length_b) = pixels
    return np.array([[math.dist(u, v) / max(length_a, length_b) < ratio for v in of_b] for u in of_a])


def pixels(x):
    return x.reshape(len(x), -1, x.shape[-1])


def directions(ratio):
    """Image by image: query, key and the spots they share, of both directions."""
    x1, x2, k1, k2 = map(pixels, MAPS)
    for x, key, a, b in ((x1, k2, *BOXES), (x2, k1, *BOXES[::-1])):
        yield [(x[i], unit(key[i]), naive_spots(a[i], b[i], ratio)) for i in range(2)]


def test_spots_are_near_in_the_image():
    spots = numpy(same_spots(*BOXES, GRID, 0.7))
    for i in range(2):
        want = naive_spots(BOXES[0][i], BOXES[1][i], 0.7)
        np.testing.assert_array_equal(spots[i], want)
        assert 0 < want.sum() < want.size
    mirrored = np.array([[6.0, 0.0, 0.0, 4.0]], "float32")
    np.testing.assert_array_equal(numpy(same_spots(BOXES[0][:1], mirrored, GRID, 0.1))[0, :3, 2::-1], np.eye(3))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("layers", [0, 2])
def test_agreement_equals_loops_over_pixels(layers, gamma):
    loss = PixPro(gamma, 0.9, transform_layers=layers, dim=3)
    rows = np.zeros(2)
    for way in directions(0.9):
        for i, (x, key, spots) in enumerate(way):
            value = x
            for layer in loss.transform:
                value = value @ numpy(layer.kernel) + numpy(layer.bias)
            for u in range(len(x)):
                like = [max(unit(x)[u] @ unit(x)[v], 0.0) for v in range(len(x))]
                like = [(each + 1e-6 if gamma < 1 else each) ** gamma for each in like]
                y = unit(sum(share * unit(value)[v] for v, share in enumerate(like)))
                rows[i] -= sum(y @ key[v] for v in range(len(x)) if spots[u, v]) / spots.sum()
    assert value_of(loss) == pytest.approx(rows.mean(), rel=1e-4)
    assert value_of(loss, sample_weight=WEIGHT) == pytest.approx(np.average(rows, weights=WEIGHT), rel=1e-4)
    assert len(loss.trainable_variables) == 2 * layers


def test_contrast_equals_loops_over_pixels():
    for weight, keywords in ((np.ones(2), {}), (WEIGHT, {"sample_weight": WEIGHT})):
        want = 0.0
        for way in directions(0.7):
            total = count = 0.0
            for i, (x, key, spots) in enumerate(way):
                e = np.exp(unit(x) @ key.T / 0.4)
                for u in np.flatnonzero(spots.any(axis=1)):
                    total += weight[i] * math.log(e[u].sum() / e[u][spots[u]].sum())
                    count += weight[i]
            want += 0.5 * total / count
        assert value_of(PixContrast(LearnableTemperature(0.4)), **keywords) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("loss", [PixPro(transform_layers=0), PixContrast()], ids=lambda loss: loss.term)
def test_crops_that_do_not_meet_say_nothing_and_keys_get_no_gradient(loss):
    def of(boxes):
        return value_and_gradients(lambda *maps: loss(*maps, boxes_a=boxes[0], boxes_b=boxes[1]), MAPS)

    value, gradients = of(FAR)
    assert value == 0.0 and not any(gradient.any() for gradient in gradients)
    _, gradients = of(BOXES)
    assert [gradient.any() for gradient in gradients] == [True, True, False, False]
    swapped = loss(MAPS[1], MAPS[0], MAPS[3], MAPS[2], boxes_a=BOXES[1], boxes_b=BOXES[0])
    assert float(numpy(swapped)) == pytest.approx(value_of(loss), rel=1e-5)


def test_a_transform_needs_to_know_its_channels():
    with pytest.raises(ValueError, match="PixPro with transform_layers=1 needs dim, the channels of a map"):
        PixPro()
