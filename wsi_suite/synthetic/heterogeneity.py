"""Tissue whose positive nuclei stand in clusters, as counts of nuclei, with the true scores.

For trials of intervals: thousands of pieces of tissue of one kind, without a picture. A nucleus has
a latent value, the sum of a random field, which neighbours share, and of its own noise; thresholds
make its intensity. Nuclei may crowd where the field is high.

The field is Gaussian with the correlation ``exp(-distance / correlation_um)``, by circulant
embedding (Dietrich and Newsam, SIAM J. Sci. Comput. 18 (1997), 1088 - 1107).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CELL_UM = 62.5
"""Side of a cell, the finest place of a nucleus."""


@dataclass(frozen=True)
class Heterogeneity:
    """A kind of tissue.

    Attributes
    ----------
    correlation_um
        Distance within which neighbours are alike; 0: cells are independent.
    shares
        Shares of nuclei that are 1+ or more, 2+ or more, and 3+, where crowding plays no part.
    common
        Share of the variance of the latent value that neighbours have in common.
    crowding
        Standard deviation of the logarithm of the density.
    tie
        Correlation of the density's logarithm with the field, -1 to 1.
    density_per_mm2
        Nuclei on average.
    """

    correlation_um: float
    shares: tuple[float, float, float] = (0.3, 0.15, 0.06)
    common: float = 0.5
    crowding: float = 0.6
    tie: float = 0.0
    density_per_mm2: float = 1600.0

    @property
    def positive_percent(self) -> float:
        """True share of positive nuclei in all tissue of the kind, in percent."""
        return 100 * float(self._true_shares()[0])

    @property
    def h_score(self) -> float:
        """True H-score of all tissue of the kind."""
        return 100 * float(self._true_shares().sum())

    def _true_shares(self) -> npt.NDArray[np.float64]:
        from scipy.special import ndtr

        # Weighing a Gaussian by the exponential of another shifts its mean by their covariance.
        shift = np.sqrt(self.common) * self.tie * self.crowding
        return np.asarray(ndtr(shift - self._limits()), np.float64)

    def _limits(self) -> npt.NDArray[np.float64]:
        from scipy.special import ndtri

        return np.asarray(-ndtri(np.array(self.shares)), np.float64)


def draw_counts(
    kind: Heterogeneity, *, area_mm2: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the counts of a round piece of tissue.

    Parameters
    ----------
    kind
        What tissue it is.
    area_mm2
        Its area.
    rng
        Generator of the draw.

    Returns
    -------
    ndarray
        ``(rows, columns, 4)`` int64, nuclei that are Negative, 1+, 2+, 3+ in each cell of
        :data:`CELL_UM`.
    """
    from scipy.special import ndtr

    radius = np.sqrt(area_mm2 * 1e6 / np.pi) / CELL_UM
    side = int(np.ceil(2 * radius)) + 8
    field, other = _fields(side, correlation=kind.correlation_um / CELL_UM, rng=rng)
    crowd = kind.crowding * (kind.tie * field + np.sqrt(1 - kind.tie**2) * other)
    centre = radius + rng.uniform(0, 8, 2)  # where the grid of blocks lies is chance
    rows, columns = np.ogrid[:side, :side]
    tissue = np.hypot(rows + 0.5 - centre[0], columns + 0.5 - centre[1]) <= radius
    mean = kind.density_per_mm2 * CELL_UM**2 / 1e6
    nuclei = rng.poisson(mean * np.exp(crowd - kind.crowding**2 / 2) * tissue)
    latent = np.sqrt(kind.common) * field[..., None] - kind._limits()
    above = ndtr(latent / np.sqrt(1 - kind.common))
    shares = -np.diff(above, axis=-1, prepend=1, append=0)
    return np.asarray(rng.multinomial(nuclei, shares), np.int64)


def _fields(side: int, *, correlation: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return two independent fields ``(2, side, side)`` of mean 0 and variance 1."""
    if correlation == 0:
        return rng.standard_normal((2, side, side))
    period = 1 << int(np.ceil(np.log2(side + 4 * correlation)))
    offset = np.minimum(np.arange(period), period - np.arange(period))
    covariance = np.exp(-np.hypot(offset[:, None], offset) / correlation)
    spectrum = np.maximum(np.fft.fft2(covariance).real, 0) / period**2
    noise = rng.standard_normal((2, period, period))
    drawn = np.fft.fft2(np.sqrt(spectrum) * (noise[0] + 1j * noise[1]))[:side, :side]
    return np.stack([drawn.real, drawn.imag])
