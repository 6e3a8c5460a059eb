"""Nuclei of a synthetic specimen: where they lie, their outlines and how they are stained.

Spacings and densities are those of 201 annotated tiles of endometrium (Naumov et al., Data 2022,
7, 75): about 90 nuclei in 100 x 100 um, nearest neighbours 5.7 um apart (median), 3.5 um at the
5th percentile, DAB optical density about 0.95 in stained nuclei.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from wsi_suite.errors import ConfigError
from wsi_suite.measurements import OUTLINE_RAYS
from wsi_suite.synthetic.anatomy import MARGIN_UM, Field, FloatArray, Gland

CLASSES = ("Stroma", "Epithelium")
STROMA, EPITHELIUM = 0, 1

_PITCH_UM = 7.2  # spacing of the lattice that stroma nuclei come from
_RAY_ANGLES = np.arange(OUTLINE_RAYS) * (2 * math.pi / OUTLINE_RAYS)

# DAB optical density of each intensity grade (low, high); the gaps around the usual thresholds of
# 0.2, 0.4 and 0.6 keep a nucleus in its grade when it is measured with a small error.
_GRADE_OD = ((0.02, 0.13), (0.25, 0.35), (0.45, 0.55), (0.68, 1.25))


@dataclass(frozen=True)
class Mix:
    """Shares of Negative, 1+, 2+ and 3+ among the nuclei of each class; each sums to 1."""

    stroma: tuple[float, float, float, float] = (0.22, 0.12, 0.14, 0.52)
    epithelium: tuple[float, float, float, float] = (0.10, 0.10, 0.15, 0.65)

    def __post_init__(self) -> None:
        for shares in (self.stroma, self.epithelium):
            if min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
                raise ConfigError(f"mix {shares}: expected four shares that sum to 1")


ENDOMETRIUM = Mix()
"""Mostly strong, as nuclei of endometrium stained for a hormone receptor are."""


@dataclass(frozen=True)
class Cells:
    """Nuclei as columns of one length N.

    Attributes
    ----------
    x_um, y_um
        Centres.
    label
        Index into `CLASSES`.
    outline_um
        ``(N, 16)`` distance of the border from the centre along each ray (see
        :data:`wsi_suite.measurements.OUTLINE_RAYS`).
    dab_od, hematoxylin_od
        Mean optical densities inside the border.
    """

    x_um: FloatArray
    y_um: FloatArray
    label: npt.NDArray[np.uint8]
    outline_um: FloatArray
    dab_od: FloatArray = field(default_factory=lambda: np.zeros(0))
    hematoxylin_od: FloatArray = field(default_factory=lambda: np.zeros(0))


def line_gland(gland: Gland, *, rng: np.random.Generator) -> Cells:
    """Set nuclei side by side along a gland's border, turned to the lumen, at uneven depths."""
    fine = np.linspace(0, 2 * math.pi, 721)
    border = gland.border_um(fine)
    x, y = border * np.cos(fine), border * np.sin(fine)
    along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    count = int(along[-1] / rng.uniform(4.9, 6.2))
    place = (np.arange(count) + rng.uniform(-0.22, 0.22, count)) * along[-1] / count
    inward = np.interp(place % along[-1], along[:-1], np.unwrap(_normals(x, y)))
    deep = np.clip(rng.normal(6.3, 1.0, count) + rng.choice([0, 2.6], count, p=[0.8, 0.2]), 4, 11)
    return Cells(
        x_um=gland.x_um + np.interp(place, along, x, period=along[-1]) + deep * np.cos(inward),
        y_um=gland.y_um + np.interp(place, along, y, period=along[-1]) + deep * np.sin(inward),
        label=np.full(count, EPITHELIUM, np.uint8),
        outline_um=_ellipses(
            long_um=rng.normal(4.1, 0.45, count),
            ratio=rng.uniform(1.5, 2.05, count),
            angle=inward + rng.normal(0, 0.12, count),
            rng=rng,
        ),
    )


def _normals(x: FloatArray, y: FloatArray) -> FloatArray:
    # Angle that points inwards at each point of a closed line but its last. As y points down, the
    # line runs clockwise, and the inside is to its right.
    dx, dy = np.roll(x[:-1], -1) - np.roll(x[:-1], 1), np.roll(y[:-1], -1) - np.roll(y[:-1], 1)
    return np.arctan2(dx, -dy)


def fill_stroma(
    width_um: float,
    height_um: float,
    *,
    glands: tuple[Gland, ...],
    loose: Field,
    rng: np.random.Generator,
) -> Cells:
    """Scatter nuclei between the glands, fewer where the stroma is loose."""
    # A shaken hexagonal lattice with gaps has the spacing of the real thing.
    pitch = _PITCH_UM
    rows = np.arange(-MARGIN_UM, height_um + MARGIN_UM, pitch * math.sqrt(3) / 2)
    columns = np.arange(-MARGIN_UM, width_um + MARGIN_UM, pitch)
    x = columns[None] + np.where(np.arange(len(rows)) % 2, pitch / 2, 0)[:, None]
    y = np.broadcast_to(rows[:, None], x.shape)
    shake = rng.uniform(-0.30 * pitch, 0.30 * pitch, (2, *x.shape))
    x, y = (x + shake[0]).ravel(), (y + shake[1]).ravel()
    keep = rng.random(x.size) < np.clip(0.52 - 0.16 * loose.at(x, y), 0.08, 0.92)
    for gland in glands:
        near = np.flatnonzero(np.hypot(x - gland.x_um, y - gland.y_um) < gland.reach_um + 4)
        dx, dy = x[near] - gland.x_um, y[near] - gland.y_um
        keep[near] &= np.hypot(dx, dy) > gland.border_um(np.arctan2(dy, dx)) + 3.0
    x, y = x[keep], y[keep]
    spindle = rng.random(x.size) < 0.16
    return Cells(
        x_um=x,
        y_um=y,
        label=np.full(x.size, STROMA, np.uint8),
        outline_um=_ellipses(
            long_um=np.where(spindle, rng.uniform(3.6, 5.0, x.size), rng.normal(3.15, 0.4, x.size)),
            ratio=np.where(spindle, rng.uniform(2, 2.8, x.size), rng.uniform(1.05, 1.5, x.size)),
            angle=2.0 * loose.at(x, y) + rng.normal(0, 0.6, x.size),
            rng=rng,
        ),
    )


def _ellipses(
    *, long_um: FloatArray, ratio: FloatArray, angle: FloatArray, rng: np.random.Generator
) -> FloatArray:
    # Radii of ellipses with slightly uneven borders along the rays.
    long_um = np.clip(long_um, 2.0, 5.2)
    turned = _RAY_ANGLES - angle[:, None]
    radii = long_um[:, None] / np.hypot(np.cos(turned), np.sin(turned) * ratio[:, None])
    phase = rng.uniform(0, 2 * math.pi, (len(long_um), 2))
    uneven = 0.05 * np.cos(2 * _RAY_ANGLES + phase[:, :1])
    return np.asarray(radii * (1 + uneven + 0.05 * np.cos(3 * _RAY_ANGLES + phase[:, 1:])))


def stain_cells(
    parts: Sequence[Cells], *, tissue: Field, mix: Mix, rng: np.random.Generator
) -> Cells:
    """Join nuclei, keep those in tissue, and stain them; they come out in reading order."""
    x = np.concatenate([part.x_um for part in parts])
    y = np.concatenate([part.y_um for part in parts])
    order = np.lexsort([x, y])
    order = order[tissue.at(x[order], y[order]) > 0.15]
    x, y = x[order], y[order]
    label = np.concatenate([part.label for part in parts])[order]
    outline = np.concatenate([part.outline_um for part in parts])[order]
    dab = np.empty(len(x))
    for which, shares in ((STROMA, mix.stroma), (EPITHELIUM, mix.epithelium)):
        rows = label == which
        dab[rows] = _draw_dab(rng.choice(4, rows.sum(), p=np.array(shares) / sum(shares)), rng=rng)
    # Measured on the annotated tiles: least in nuclei of middling DAB.
    usual = np.interp(dab, [0.1, 0.3, 0.6, 1.2], [0.36, 0.27, 0.25, 0.58])
    hematoxylin = np.clip(rng.normal(usual, 0.09), 0.12, 0.8)
    return Cells(x, y, label, outline * _crowding(x, y, outline), dab, hematoxylin)


def _crowding(x: FloatArray, y: FloatArray, outline: FloatArray) -> FloatArray:
    # (N, 1) factor in size that makes a nucleus touch its neighbour rather than cover it.
    if len(x) < 2:
        return np.ones((len(x), 1))
    points = np.column_stack([x, y])
    nearest = np.asarray(cKDTree(points).query(points, k=2)[0])[:, 1]
    return np.asarray(np.clip(0.58 * nearest / outline.mean(axis=1), 0.7, 1))[:, None]


def _draw_dab(grade: npt.NDArray[np.int64], *, rng: np.random.Generator) -> FloatArray:
    low, high = np.array(_GRADE_OD).T
    even = rng.uniform(low[grade], high[grade])
    strong = np.clip(rng.normal(0.96, 0.13, len(grade)), low[3], high[3])
    return np.where(grade == 3, strong, even)
