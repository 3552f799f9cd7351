"""The style of pictures, which is in the amplitudes of their Fourier transform, exchanged within a batch. In numpy."""

import numpy as np

from kzoo.arguments import FLAG, SHARE, Checked, number
from kzoo.types import Array


class FourierStyle(Checked):
    """Gives the pictures of a batch the style of one of them, or each that of another.

    What a picture shows is mostly in the phases of its Fourier transform, how it looks in the amplitudes. With `l`
    drawn from `[least, strength]` for each picture, the lowest amplitudes become `(1 - l)` times its own and `l` times
    those of the other.

    Args:
        shared: one picture's style for the whole batch, so that rows cannot be told apart by it (batch styles
            standardisation); otherwise the picture that a random permutation puts beside each.
        strength: `l` at most. With `shared` and `least=1.0` the style is the same to the last bit.
        least: `l` at least.
        band: share of the frequencies of each axis, from the lowest, that are exchanged.

    Raises:
        ValueError: strengths or a band that are none.

    Example:
        >>> data = kzoo.data.views(images, ImageSteps(32), styles=FourierStyle())

    Reference:
        Scalbert et al., Towards domain-invariant Self-Supervised Learning with Batch Styles Standardization, 2023,
        arXiv 2303.06088; the mixture: Xu et al., A Fourier-based Framework for Domain Generalization (FACT), 2021,
        arXiv 2105.11120; the band: Yang and Soatto, FDA, 2020, arXiv 2004.05498.
    """

    arguments = {"shared": FLAG, "strength": SHARE, "least": SHARE, "band": number(above=0, most=1)}

    def __init__(self, shared=True, strength=1.0, least=0.0, band=1.0):
        if least > strength:
            raise ValueError(f"least is {least} and strength {strength}; give the smaller one as least.")
        self.shared, self.strength, self.least, self.band = shared, strength, least, band

    def __call__(self, images, random) -> Array:
        """uint8 array `(batch, height, width, 3)` of such an array; `random` is a `numpy.random.Generator`."""
        count, height, width, _ = images.shape
        other = np.full(count, random.integers(count)) if self.shared else random.permutation(count)
        share = random.uniform(self.least, self.strength, (count, 1, 1, 1))
        spectrum = np.fft.rfft2(images, axes=(1, 2))
        own = np.abs(spectrum)  # (batch, height, width // 2 + 1, 3)
        rows, columns = np.abs(np.fft.fftfreq(height)), np.fft.rfftfreq(width)
        low = (rows[:, None, None] <= self.band / 2) & (columns[None, :, None] <= self.band / 2)
        wanted = np.where(low, (1.0 - share) * own + share * own[other], own)
        # the phase of 0 is 0: the amplitude is put on the real axis there
        spectrum = np.where(own > 0.0, spectrum / np.where(own > 0.0, own, 1.0), 1.0) * wanted
        return np.rint(np.fft.irfft2(spectrum, s=(height, width), axes=(1, 2))).clip(0, 255).astype("uint8")
