"""Tissue and glands of a synthetic specimen, in micrometres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

MARGIN_UM = 24.0
"""The specimen goes on beyond the picture by this."""

EPITHELIUM_UM = 17.0
"""Height of the columnar epithelium: from a gland's outer border to its lumen."""

_CELL_UM = 16.0  # spacing of the coarse fields
_PITCH_UM = 140.0  # spacing of the glands


@dataclass(frozen=True)
class Field:
    """Values on a coarse grid over the scene, read in between bilinearly.

    Attributes
    ----------
    values
        ``(rows, columns)`` float32; the first stands at minus the scene's margin.
    """

    values: npt.NDArray[np.float32]

    def at(self, x_um: FloatArray, y_um: FloatArray) -> npt.NDArray[np.float32]:
        """Return the ``(N,)`` values at points."""
        column, fx = self._cells(x_um, 1)
        row, fy = self._cells(y_um, 0)
        v = self.values
        top = v[row, column] * (1 - fx) + v[row, column + 1] * fx
        bottom = v[row + 1, column] * (1 - fx) + v[row + 1, column + 1] * fx
        return np.asarray(top * (1 - fy) + bottom * fy)

    def raster(self, x_um: FloatArray, y_um: FloatArray) -> npt.NDArray[np.float32]:
        """Return the ``(len(y_um), len(x_um))`` values on a raster."""
        column, fx = self._cells(x_um, 1)
        row, fy = self._cells(y_um, 0)
        strip = self.values[row] * (1 - fy[:, None]) + self.values[row + 1] * fy[:, None]
        return np.asarray(strip[:, column] * (1 - fx) + strip[:, column + 1] * fx)

    def _cells(
        self, um: FloatArray, axis: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        place = np.clip((um + MARGIN_UM) / _CELL_UM, 0, self.values.shape[axis] - 1.001)
        cell = place.astype(np.int64)
        return cell, (place - cell).astype(np.float32)


@dataclass(frozen=True)
class Gland:
    """A gland cut across: columnar epithelium around a lumen.

    Attributes
    ----------
    x_um, y_um
        Its centre.
    radius_um
        Mean radius of its outer border.
    waves
        ``(K, 3)``: order, relative amplitude and phase of the border's Fourier terms.
    cytoplasm_od
        DAB optical density of its cytoplasm.
    """

    x_um: float
    y_um: float
    radius_um: float
    waves: FloatArray
    cytoplasm_od: float

    @property
    def reach_um(self) -> float:
        """No point of the gland is farther from its centre."""
        return float(self.radius_um * (1 + np.abs(self.waves[:, 1]).sum()))

    def border_um(self, angle: npt.NDArray[np.floating]) -> FloatArray:
        """Return the distance of the outer border from the centre in given directions."""
        order, amplitude, phase = (self.waves[:, k, None] for k in range(3))
        terms = amplitude * np.cos(order * angle.ravel() + phase)
        return np.asarray(self.radius_um * (1 + terms.sum(axis=0)).reshape(angle.shape))


def field_shape(width_um: float, height_um: float) -> tuple[int, int]:
    """Return the rows and columns of a field over a specimen."""
    rows, columns = (
        math.ceil((length + 2 * MARGIN_UM) / _CELL_UM) + 2 for length in (height_um, width_um)
    )
    return rows, columns


def tissue_field(shape: tuple[int, int], *, fraction: float, rng: np.random.Generator) -> Field:
    """Return a field that is positive in an irregular blob, which covers `fraction` of it."""
    if fraction in (0, 1):
        return Field(np.full(shape, 8 if fraction else -8, np.float32))
    y, x = (np.linspace(-1, 1, size) for size in shape)
    rough = sum(
        (
            weight * smooth_noise(shape, sigma=max(shape) / part, rng=rng)
            for weight, part in ((0.11, 8), (0.05, 24), (0.02, 80))
        ),
        start=np.zeros(shape, np.float32),
    )
    height = -np.hypot(x[None], y[:, None]) - rough
    # About one a cell at its border, so that the noise of a picture roughens it but little.
    margin = math.ceil(MARGIN_UM / _CELL_UM)
    seen = height[margin : -margin - 1, margin : -margin - 1]
    height = (height - np.quantile(seen, 1 - fraction)) * max(shape) / 2
    return Field(height.astype(np.float32))


def place_glands(
    width_um: float, height_um: float, *, tissue: Field, rng: np.random.Generator
) -> tuple[Gland, ...]:
    """Cut glands across where there is tissue enough for them."""
    pitch = _PITCH_UM
    start = rng.uniform(-pitch, 0, 2)
    glands = []
    for row, y_um in enumerate(np.arange(start[1], height_um + pitch, pitch)):
        for x_um in np.arange(start[0] - row % 2 * pitch / 2, width_um + pitch, pitch):
            radius = rng.uniform(26, 52)
            waves = np.column_stack(
                [[2, 3, 4, 7], rng.normal(0, [0.16, 0.06, 0.04, 0.012]), rng.uniform(0, 7, 4)]
            )
            waves[:, 1] = np.clip(waves[:, 1], -0.2, 0.2)
            free = max(0.0, pitch / 2 - radius * (1 + np.abs(waves[:, 1]).sum()) - 4)
            x, y = np.array([x_um, y_um]) + rng.uniform(-free, free, 2)
            cytoplasm = float(np.clip(rng.lognormal(-1.4, 0.45), 0.09, 0.5))
            if rng.random() < 0.85 and tissue.at(np.array([x]), np.array([y]))[0] > 2:
                glands.append(Gland(float(x), float(y), radius, waves, cytoplasm))
    return tuple(glands)


def smooth_noise(
    shape: tuple[int, int], *, sigma: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return Gaussian noise smoothed over `sigma` cells, periodic, of mean 0 and deviation 1."""
    pad = math.ceil(4 * sigma) + 1
    noise = np.pad(rng.standard_normal(shape, np.float32), pad, mode="wrap")
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)[pad:-pad, pad:-pad]
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6), np.float32)
