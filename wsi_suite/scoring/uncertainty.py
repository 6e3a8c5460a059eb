"""Intervals of H-score and positive %: a bootstrap over blocks of tissue.

Neighbouring nuclei are alike, so blocks are drawn again and never single nuclei. Blocks are squares
of a fixed grid from the corner of the slide. They begin at :data:`BLOCK_UM`, and their sides double

- while :data:`MANY` or more would remain: this costs nothing, and larger blocks depend less on each
  other, and
- while neighbours are alike and :data:`FEW` or more would remain.

The interval of the draws is then widened by three things: neighbours that are still alike, so that
the blocks tell as much as fewer independent ones; few blocks (Student's t instead of the normal
distribution); and the score itself, which comes from the same blocks. Blocks with many nuclei weigh
more; their number counts as ``(sum n)^2 / sum n^2``. The scale is the arcsine of the root, so that
no limit is below 0 or above the highest score.

If all nuclei are negative, or all of the highest intensity, blocks do not differ, and draws tell
nothing. Then the limit is that of an exact binomial (Clopper and Pearson, Biometrika 26 (1934), 404
- 413; for none of n it is ``1 - 0.025^(1/n)``, near the rule of three). Its trials are not nuclei
but patches of :data:`PATCH_UM`, because neighbouring nuclei are alike. No other interval ends
nearer to 0 or to the highest score than this one: one positive nucleus is no better news than none.

Sources: Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, 8.5 and 13 (blocks,
percentiles); Hesterberg, The American Statistician 69 (2015), 371 - 386 (expanded percentiles);
Cochran, *Sampling Techniques*, 1977, 6.4 (ratio of two sums); Kish, *Survey Sampling*, 1965
(effective number); Moran, Biometrika 37 (1950), 17 - 23.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from wsi_suite.documents import Part
from wsi_suite.geometry import Points
from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE
from wsi_suite.scoring.intensity import Grades

LEVEL = 0.95
"""Share of such intervals that hold the true value."""

RESAMPLES = 2000
"""Number of times that blocks are drawn again."""

SEED = 0
"""Of the draws of each figure, so that it does not depend on what else is computed."""

BLOCK_UM = 250.0
"""Smallest side of a block."""

MANY, FEW = 32, 8
"""Effective numbers of blocks from which larger blocks are taken anyway, and if neighbours are
alike."""

LEAST, LEAST_INDEPENDENT = 4, 2
"""Below so many blocks, or if they tell as much as fewer independent ones, there is no interval."""

ALIKE = 1.2
"""Neighbours are alike if this many blocks, or more, tell as much as one that is independent."""

SAYS_LITTLE = 0.5
"""Share of the scale: a wider interval tells next to nothing of the score, and is shown as none."""

PATCH_UM = 50.0
"""Side of the patches that are trials where all nuclei have one extreme intensity."""

CAUTION = 0.2
"""Standard errors that are added to the likeness of neighbours: one that was overlooked does more
harm than one that is not there. Chosen by coverage, see docs/scoring.md."""

POSITIVE = (0, 1, 1, 1)
"""What a nucleus of each intensity counts for the share of positive nuclei."""

GRADES = (0, 1, 2, 3)
"""What a nucleus of each intensity counts for the H-score."""


class Interval(Part):
    """A 95 % interval of a figure.

    Attributes
    ----------
    low, high
        Its limits, in the unit of the figure, to two digits; ``None`` if there is no interval.
    blocks
        Number of blocks of tissue with measured nuclei.
    block_um
        Their side.
    reason
        Why there is no interval, or ``None``.
    method
        "blocks": blocks drawn again; "binomial": the exact limit where all nuclei are negative, or
        all of the highest intensity.
    """

    low: float | None
    high: float | None
    blocks: int
    block_um: float
    reason: str | None
    method: Literal["blocks", "binomial"] = "blocks"

    def limits(self) -> tuple[float, float] | None:
        """Return both limits, or ``None`` if there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def says_little(self, *, highest: float) -> bool:
        """Return whether there is an interval, and it covers most of the scale from 0."""
        limits = self.limits()
        return limits is not None and limits[1] - limits[0] > SAYS_LITTLE * highest


@dataclass(frozen=True, eq=False)
class Blocks:
    """Measured nuclei by intensity in square blocks of one grid; blocks without any are left out.

    Attributes
    ----------
    place
        ``(B, 2)`` int64, column and row, sorted by row and column.
    counts
        ``(B, 4)`` int64, nuclei that are Negative, 1+, 2+, 3+.
    side_um
        Side of a block.
    """

    place: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    side_um: float

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def effective(self) -> float:
        """How many blocks of equal size tell as much: ``(sum n)^2 / sum n^2``."""
        nuclei = self.counts.sum(axis=1).astype(np.float64)
        return float(nuclei.sum() ** 2 / (nuclei**2).sum()) if len(nuclei) else 0.0

    def doubled(self) -> Blocks:
        """Return blocks of twice the side."""
        place, owner = _unique(self.place // 2)
        counts = np.zeros((len(place), self.counts.shape[1]), np.int64)
        np.add.at(counts, owner, self.counts)
        return Blocks(place, counts, 2 * self.side_um)


@dataclass(frozen=True, eq=False)
class Grid:
    """The smallest blocks of a table of nuclei.

    Attributes
    ----------
    place
        ``(B, 2)`` int64, column and row of each block.
    owner
        ``(N,)`` int64, the block of each nucleus, an index into `place`.
    """

    place: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]

    @classmethod
    def of(cls, points_px0: Points, *, mpp: tuple[float, float]) -> Grid:
        """Return the blocks of nuclei.

        Parameters
        ----------
        points_px0
            ``(N, 2)`` level-0 pixels.
        mpp
            um per level-0 pixel, x and y.
        """
        return cls(*_unique(np.floor(points_px0 * mpp / BLOCK_UM).astype(np.int64)))

    def count(self, grades: Grades, *, rows: npt.NDArray[np.int_] | None = None) -> Blocks:
        """Count nuclei in blocks.

        Parameters
        ----------
        grades
            ``(N,)``; those that are not measurable do not count.
        rows
            The nuclei that count; ``None``: all.
        """
        owner, grade = (self.owner, grades) if rows is None else (self.owner[rows], grades[rows])
        measured = grade != NOT_MEASURABLE
        kinds = len(INTENSITIES)
        codes = owner[measured] * kinds + grade[measured]
        counts = np.bincount(codes, minlength=len(self.place) * kinds).reshape(-1, kinds)
        filled = counts.any(axis=1)
        return Blocks(self.place[filled], counts[filled], BLOCK_UM)


def find_interval(
    blocks: Blocks, worth: tuple[int, int, int, int], *, rng: np.random.Generator
) -> Interval:
    """Return the interval of ``100 sum(worth n) / sum(n)``, as of H-score or positive %.

    Parameters
    ----------
    blocks
        Of side :data:`BLOCK_UM`.
    worth
        :data:`GRADES` or :data:`POSITIVE`.
    rng
        Generator of the draws.
    """
    if not len(blocks):
        return _none(blocks, "no measurable nuclei")
    highest, margin = max(worth), _least_margin(blocks)
    while (larger := _larger(blocks, worth)) is not None:
        blocks = larger
    nuclei, value = _sums(blocks, worth)
    share = value.sum() / nuclei.sum()  # of the highest score
    residuals = value - share * nuclei
    if len(blocks) < LEAST:
        return _none(
            blocks,
            f"an interval needs nuclei in {LEAST} blocks of {blocks.side_um:g} um, here they lie "
            f"in {len(blocks)}",
        )
    if share in (0, 1):
        limits = (0.0, margin) if share == 0 else (1 - margin, 1.0)
        return _found(blocks, limits, highest=highest, method="binomial")
    if not residuals.any():
        return _none(blocks, "all blocks have the same score, so its spread cannot be estimated")
    effective, ratio = blocks.effective, _blocks_per_independent(blocks, residuals, CAUTION)
    if effective < LEAST_INDEPENDENT * ratio:
        return _none(
            blocks,
            f"an interval needs {LEAST_INDEPENDENT} independent blocks, and the {len(blocks)} "
            f"blocks of {blocks.side_um:g} um count as fewer: neighbouring blocks are too much "
            "alike, or most nuclei lie in few of them; more tissue would help",
        )
    drawn = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=RESAMPLES)
    centre, angles = _angle(share), _angle((drawn @ value) / (drawn @ nuclei))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    widened = _student(effective / ratio - 1) * np.sqrt(ratio * effective / (effective - ratio))
    limits = centre + widened * (np.quantile(angles, tails) - centre)
    low, high = np.sin(np.clip(limits, 0, np.pi / 2)) ** 2
    return _found(blocks, (min(low, 1 - margin), max(high, margin)), highest=highest)


def _found(
    blocks: Blocks,
    limits: tuple[float, float],
    *,
    highest: int,
    method: Literal["blocks", "binomial"] = "blocks",
) -> Interval:
    """Return an interval from limits that are shares of the highest score."""
    low, high = (float(100 * highest * limit) for limit in limits)
    if method == "binomial":  # outwards: an interval of none is never 0 to 0
        low, high = math.floor(100 * low) / 100, math.ceil(100 * high) / 100
    low, high = round(low, 2), round(high, 2)
    return Interval(
        low=low,
        high=high,
        blocks=len(blocks),
        block_um=blocks.side_um,
        reason=None,
        method=method,
    )


def _least_margin(blocks: Blocks) -> float:
    """Return the share that may be positive though no nucleus is (exact binomial, two-sided).

    Trials are the patches of the smallest blocks, or the nuclei where these are fewer.
    """
    patches = blocks.effective * (blocks.side_um / PATCH_UM) ** 2
    trials = min(patches, float(blocks.counts.sum()))
    return float(1 - ((1 - LEVEL) / 2) ** (1 / trials))


def _none(blocks: Blocks, reason: str) -> Interval:
    return Interval(low=None, high=None, blocks=len(blocks), block_um=blocks.side_um, reason=reason)


def _larger(blocks: Blocks, worth: tuple[int, int, int, int]) -> Blocks | None:
    """Return blocks of twice the side if they are better, else ``None``."""
    doubled = blocks.doubled()
    if doubled.effective >= MANY:
        return doubled
    if doubled.effective < FEW:
        return None
    nuclei, value = _sums(blocks, worth)
    residuals = value - value.sum() / nuclei.sum() * nuclei
    return doubled if _blocks_per_independent(blocks, residuals) > ALIKE else None


def _sums(
    blocks: Blocks, worth: tuple[int, int, int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the nuclei of each block, and their sum of worth as a share of the highest."""
    return blocks.counts.sum(axis=1).astype(np.float64), blocks.counts @ worth / max(worth)


def _blocks_per_independent(
    blocks: Blocks, residuals: npt.NDArray[np.float64], caution: float = 0.0
) -> float:
    """Return how many blocks tell as much as one that is independent, 1 or more.

    This is 1 and the sum of a block's correlations with its neighbours, t. Residuals from the mean
    of the blocks themselves are less alike than the blocks: of B blocks with m neighbours each, the
    neighbours' products are on average ``(B (t - 1) - m t / B) / (B - t)`` of the squares.

    Parameters
    ----------
    blocks, residuals
        B blocks, and the residual of each.
    caution
        Standard errors to add, of what the sum is if blocks are independent.
    """
    squares = float((residuals**2).sum())
    if squares == 0:
        return 1.0
    first, second = _neighbours(blocks.place)
    measured = 2 * float((residuals[first] * residuals[second]).sum()) / squares
    effective, neighbours = blocks.effective, 2 * len(first) / len(blocks)
    free = effective + measured - neighbours
    ratio = effective * (1 + measured) / free if free > 0 else np.inf
    return float(max(1.0, ratio) + caution * np.sqrt(2 * neighbours / effective))


def _neighbours(
    place: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the pairs of blocks that share a side or a corner, each once."""
    low = place.min(axis=0)
    width = int(place[:, 0].max() - low[0]) + 3  # a free column, so that rows do not touch
    codes = (place[:, 1] - low[1]) * width + place[:, 0] - low[0]
    pairs = []
    for step in (1, width - 1, width, width + 1):
        there = np.searchsorted(codes, codes + step)
        found = np.flatnonzero(there < len(codes))
        found = found[codes[there[found]] == codes[found] + step]
        pairs.append(np.stack([found, there[found]]))
    first, second = np.concatenate(pairs, axis=1)
    return first, second


def _unique(
    place: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the different places, sorted by row and column, and the one of each row."""
    if not len(place):
        return place.reshape(0, 2), np.zeros(0, np.int64)
    low, high = place.min(axis=0), place.max(axis=0)
    width = int(high[0] - low[0]) + 1
    codes, owner = np.unique(
        (place[:, 1] - low[1]) * width + place[:, 0] - low[0], return_inverse=True
    )
    return np.column_stack([codes % width + low[0], codes // width + low[1]]), owner


def _angle(share: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(np.arcsin(np.sqrt(np.clip(share, 0, 1))), np.float64)


def _student(degrees: float) -> float:
    """Return by how much Student's t is wider than the normal distribution."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + LEVEL) / 2
    return float(stdtrit(degrees, tail) / ndtri(tail))
