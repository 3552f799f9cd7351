"""Pictures of a batch mixed with each other: shares, places, styles."""

import numpy as np
import pytest

from kzoo.preprocessing import CutMix, FourierStyle, Mixup, PatchMix

RANDOM = np.random.default_rng(0)
FIRST, SECOND = (RANDOM.integers(0, 256, (5, 16, 12, 3), dtype="uint8") for _ in range(2))


@pytest.mark.parametrize("mix", [Mixup(), CutMix(), PatchMix((4, 3))])
def test_mixed_views_say_what_they_are_made_of(mix):
    for seed in range(8):
        found = mix(FIRST, SECOND, np.random.default_rng(seed))
        mixed, lam, permutation = found["mixed_view"], found["lam"], found["permutation"]
        assert mixed.dtype == np.uint8 and lam.dtype == "float32" and permutation.dtype == "int32"
        assert sorted(permutation) == list(range(5)) and len(set(lam)) == 1 and 0.0 <= lam[0] <= 1.0
        partner = SECOND[permutation]
        if type(mix) is Mixup:
            expected = lam[:, None, None, None] * FIRST + (1 - lam[:, None, None, None]) * partner
            np.testing.assert_allclose(mixed, expected, atol=0.51)
        else:  # each pixel is of one of the two, in the share that lam says
            own, other = (mixed == FIRST).all(axis=-1), (mixed == partner).all(axis=-1)
            assert (own | other).all()
            differ = (FIRST != partner).any(axis=-1)
            np.testing.assert_allclose((own | ~differ).mean(axis=(1, 2)), lam[0], atol=1e-6)


def test_a_cut_is_one_rectangle_at_the_same_place_of_all():
    found = CutMix()(np.zeros_like(FIRST), np.ones_like(SECOND), np.random.default_rng(2))
    pasted = found["mixed_view"][..., 0].astype(bool)
    rows, columns = np.flatnonzero(pasted[0].any(axis=1)), np.flatnonzero(pasted[0].any(axis=0))
    assert (pasted == pasted[0]).all() and pasted[0, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert pasted.mean() == pytest.approx(1.0 - found["lam"][0])


def test_patches_are_pasted_whole():
    found = PatchMix((4, 3))(np.zeros_like(FIRST), np.ones_like(SECOND), np.random.default_rng(1))
    patches = found["mixed_view"][0, ..., 0].reshape(4, 4, 3, 4).transpose(0, 2, 1, 3).reshape(12, 16)
    assert (patches == patches[:, :1]).all() and patches[:, 0].mean() == pytest.approx(1.0 - found["lam"][0])
    with pytest.raises(ValueError, match="views of 16 x 12 pixels cannot be cut into 5 x 3 patches"):
        PatchMix((5, 3))(FIRST, SECOND, np.random.default_rng(1))


def test_bad_shares():
    for make in (lambda: Mixup(0.0), lambda: CutMix(-1.0)):
        with pytest.raises(ValueError, match="beta is"):
            make()


def smooth(seed, level):
    """Pictures whose pixels stay in range whatever their amplitudes are exchanged with."""
    random = np.random.default_rng(seed)
    return np.clip(random.normal(level, 6.0, (4, 16, 16, 3)), 0, 255).astype("uint8")


def test_a_shared_style_is_that_of_one_picture():
    images = np.concatenate([smooth(0, 80), smooth(1, 160)])
    styled = FourierStyle(least=1.0)(images, np.random.default_rng(0)).astype(float)
    amplitudes = np.abs(np.fft.rfft2(styled, axes=(1, 2)))
    means = styled.mean(axis=(1, 2))
    np.testing.assert_allclose(means, np.broadcast_to(means[:1], means.shape), atol=0.5)  # the mean colour is a style
    np.testing.assert_allclose(amplitudes[0], amplitudes[1], atol=25.0)  # pixels are rounded
    phases, kept = (np.fft.rfft2(each.astype(float), axes=(1, 2)) for each in (images, styled))
    alike = np.cos(np.angle(phases) - np.angle(kept))[np.abs(kept) > 50]
    assert alike.mean() > 0.97  # what is shown stays


def test_no_strength_leaves_pictures_as_they_are():
    for band in (0.1, 1.0):
        assert np.array_equal(FourierStyle(strength=0.0, band=band)(FIRST, np.random.default_rng(0)), FIRST)


def test_a_band_leaves_fine_structure():
    images = np.concatenate([smooth(0, 80), smooth(1, 160)])
    styled = FourierStyle(shared=False, least=1.0, band=0.05)(images, np.random.default_rng(3))
    # only the mean colour is below a twentieth of the frequencies of 16 pixels
    detail = [each - each.mean(axis=(1, 2), keepdims=True) for each in (images, styled)]
    np.testing.assert_allclose(detail[0], detail[1], atol=1.1)
    assert not np.allclose(images.mean(axis=(1, 2)), styled.mean(axis=(1, 2)), atol=5)


def test_black_pictures_get_a_style_too():
    images = np.stack([np.zeros((8, 8, 3), "uint8"), np.full((8, 8, 3), 200, "uint8")])
    for seed in range(4):
        styled = FourierStyle(least=1.0)(images, np.random.default_rng(seed))
        assert (styled == styled[0]).all() and styled[0, 0, 0, 0] in (0, 200)


def test_bad_styles():
    with pytest.raises(ValueError, match="least is 0.5 and strength 0.2"):
        FourierStyle(strength=0.2, least=0.5)
    with pytest.raises(ValueError, match="band is 0.0"):
        FourierStyle(band=0.0)
