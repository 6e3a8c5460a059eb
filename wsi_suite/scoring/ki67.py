"""Ki-67 in breast cancer as the International Ki67 in Breast Cancer Working Group scores it.

The group counts 100 nuclei in each of four fields, which stand for the levels of staining that the
eye finds in the tumour. Here all nuclei are cut into fields of about 100, so that the levels and
their shares are counted as well, and four fields are taken as the group's rule has it. The index
over all nuclei stands beside.

References
----------
T. O. Nielsen et al., Journal of the National Cancer Institute 113 (2021), 808 - 819,
doi 10.1093/jnci/djaa201; S. C. Y. Leung et al., npj Breast Cancer 2 (2016), 16014,
doi 10.1038/npjbcancer.2016.14. How fields are allocated: the group's own counter,
https://github.com/GPEC/Ki67Counter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field

from wsi_suite.documents import Part
from wsi_suite.geometry import Points

GUIDELINE = "IKWG 2021"
FIELD_NUCLEI = 100
"""Nuclei of a field, at least."""

Level = Literal["negligible", "low", "medium", "high"]
LEVELS: tuple[Level, ...] = get_args(Level)
_FIELDS = 4


class Ki67Field(Part):
    """A field that is counted: a rectangle in level-0 pixels.

    Attributes
    ----------
    level
        The level of staining that it stands for.
    x_px0, y_px0, width_px0, height_px0
        Upper left corner and size.
    nuclei, positive
        Measured nuclei of the class in it, and the positive ones among them.
    positive_percent
        Their share.
    """

    level: Level
    x_px0: float
    y_px0: float
    width_px0: float
    height_px0: float
    nuclei: int
    positive: int
    positive_percent: float


class Ki67Figures(Part):
    """Labelling index of Ki-67: of all nuclei, of counted fields, and of the hottest spot.

    Attributes
    ----------
    guideline
        "IKWG 2021".
    class_name
        The class that was counted.
    nuclei, positive
        Its measured nuclei, and the positive ones among them.
    index_percent
        Their share: the labelling index over all nuclei.
    range
        Where that lies. At 5 % or less and at 30 % or more observers agree well enough. ``None``
        without nuclei, and on slides that get no verdict.
    reliable
        Whether it lies there.
    levels
        Percent of the nuclei that stand in fields of each level.
    fields
        The fields that were counted.
    unweighted_percent, weighted_percent
        Labelling index of these, each counted alike, and weighted by `levels`.
    hot_spot_percent
        Labelling index of the hottest spot; ``None`` if there is none.
    no_hot_spot
        Why there is none, or ``None``.
    reason
        Why there is no index, no field, or no verdict; else ``None``.
    """

    guideline: str = GUIDELINE
    class_name: str = Field(alias="class")
    nuclei: int
    positive: int
    index_percent: float | None
    range: Literal["5 % or less", "between 5 % and 30 %", "30 % or more"] | None
    reliable: bool | None
    levels: dict[Level, float]
    fields: tuple[Ki67Field, ...]
    unweighted_percent: float | None
    weighted_percent: float | None
    hot_spot_percent: float | None
    no_hot_spot: str | None = None
    reason: str | None


def ki67_figures(
    points: Points,
    positive: npt.NDArray[np.bool_],
    *,
    class_name: str,
    hot_spot_percent: float | None = None,
    no_hot_spot: str | None = None,
) -> Ki67Figures:
    """Return the labelling indices of a class.

    Parameters
    ----------
    points
        ``(N, 2)`` places of its measured nuclei, level-0 pixels, in any order.
    positive
        ``(N,)``, whether they are 1+, 2+ or 3+.
    class_name
        Its name.
    hot_spot_percent, no_hot_spot
        Labelling index of the hottest spot, or why there is none.
    """
    count, stained = len(points), int(np.count_nonzero(positive))
    blocks = list(_blocks(points, positive))
    nuclei = {level: sum(b.nuclei for b in blocks if b.level == level) for level in LEVELS}
    fields = _counted(blocks, fields_by_level(nuclei))
    return Ki67Figures(
        class_name=class_name,
        nuclei=count,
        positive=stained,
        index_percent=stained / count * 100 if count else None,
        range=_range(stained, count),
        reliable=20 * stained <= count or 10 * stained >= 3 * count if count else None,
        levels={level: nuclei[level] / count * 100 if count else 0.0 for level in LEVELS},
        fields=tuple(fields),
        unweighted_percent=_index(fields),
        weighted_percent=_weighted_index(fields, nuclei),
        hot_spot_percent=hot_spot_percent,
        no_hot_spot=no_hot_spot,
        reason=_reason(count, class_name),
    )


def fields_by_level(nuclei: Mapping[Level, int]) -> dict[Level, int]:
    """Return how many fields of each level are counted.

    Every level that is there, with half a percent of the nuclei or more, gets one. Of three levels
    the largest gets a second, if one is the largest; of two both get a second, but if their shares
    differ by 25 % or more the larger gets two more; a level alone gets all four.

    Parameters
    ----------
    nuclei
        Nuclei in fields of each level: the group estimates areas by eye, in whole percents.
    """
    total = sum(nuclei.values())
    there = [level for level in LEVELS if nuclei[level] and 200 * nuclei[level] >= total]
    there.sort(key=lambda level: -nuclei[level])
    numbers: dict[Level, int] = {level: int(level in there) for level in LEVELS}
    if len(there) == 1:
        numbers[there[0]] = _FIELDS
    elif len(there) == 2:
        apart = 4 * (nuclei[there[0]] - nuclei[there[1]]) >= total
        numbers[there[0]], numbers[there[1]] = (3, 1) if apart else (2, 2)
    elif len(there) == 3 and nuclei[there[0]] > nuclei[there[1]]:
        numbers[there[0]] = 2
    return numbers


@dataclass(frozen=True)
class _Block:
    """Neighbouring nuclei, as a field: their bounds in level-0 pixels and their counts."""

    left: float
    top: float
    right: float
    bottom: float
    nuclei: int
    positive: int

    @property
    def level(self) -> Level:
        """Level of staining: from 1 %, 10 % and 30 % on low, medium and high."""
        begun = (
            100 * self.positive >= self.nuclei,
            10 * self.positive >= self.nuclei,
            10 * self.positive >= 3 * self.nuclei,
        )
        return LEVELS[sum(begun)]


def _blocks(points: Points, positive: npt.NDArray[np.bool_]) -> Iterator[_Block]:
    """Cut nuclei into fields of at least 100, by halves across the longer side."""
    number = len(points) // FIELD_NUCLEI
    if number == 0:
        return
    order = np.lexsort([positive, points[:, 0], points[:, 1]])  # whatever order they came in
    columns = [points[order, 0], points[order, 1], positive[order]]  # neighbours come together
    parts = [(0, len(points), number)]
    while parts:
        start, stop, number = parts.pop()
        x, y, stained = (column[start:stop] for column in columns)
        left, top, right, bottom = x.min(), y.min(), x.max(), y.max()
        if number == 1:
            count = stop - start
            yield _Block(
                float(left), float(top), float(right), float(bottom), count, int(stained.sum())
            )
            continue
        cut = len(x) * (number // 2) // number
        sides = np.argpartition(x if right - left >= bottom - top else y, cut)
        for column in columns:
            column[start:stop] = column[start:stop][sides]
        parts.append((start, start + cut, number // 2))
        parts.append((start + cut, stop, number - number // 2))


def _counted(blocks: Sequence[_Block], numbers: Mapping[Level, int]) -> list[Ki67Field]:
    """Choose the fields of each level at equal steps through its fields, ordered by their index."""
    chosen = []
    for level in LEVELS:
        ranked = sorted(
            (block for block in blocks if block.level == level),
            key=lambda block: (block.positive / block.nuclei, block.top, block.left),
        )
        number = min(numbers[level], len(ranked))
        chosen += [ranked[(2 * n + 1) * len(ranked) // (2 * number)] for n in range(number)]
    return [_field(block) for block in chosen]


def _field(block: _Block) -> Ki67Field:
    left, top = np.floor(np.array([block.left, block.top]) * 100).tolist()
    right, bottom = np.ceil(np.array([block.right, block.bottom]) * 100).tolist()
    return Ki67Field(
        level=block.level,
        x_px0=left / 100,
        y_px0=top / 100,
        width_px0=(right - left) / 100,
        height_px0=(bottom - top) / 100,
        nuclei=block.nuclei,
        positive=block.positive,
        positive_percent=block.positive / block.nuclei * 100,
    )


def _index(fields: Sequence[Ki67Field]) -> float | None:
    nuclei = sum(field.nuclei for field in fields)
    return sum(field.positive for field in fields) / nuclei * 100 if nuclei else None


def _weighted_index(fields: Sequence[Ki67Field], nuclei: Mapping[Level, int]) -> float | None:
    """Return the mean of the levels' indices, weighted by the nuclei that they stand for."""
    by_level = {level: _index([one for one in fields if one.level == level]) for level in LEVELS}
    counted = {level: index for level, index in by_level.items() if index is not None}
    total = sum(nuclei[level] for level in counted)
    return sum(nuclei[level] * index for level, index in counted.items()) / total if total else None


def _range(
    positive: int, nuclei: int
) -> Literal["5 % or less", "between 5 % and 30 %", "30 % or more"] | None:
    if not nuclei:
        return None
    if 20 * positive <= nuclei:
        return "5 % or less"
    return "30 % or more" if 10 * positive >= 3 * nuclei else "between 5 % and 30 %"


def _reason(nuclei: int, class_name: str) -> str | None:
    if not nuclei:
        return f"no measured nuclei of {class_name}"
    if nuclei < FIELD_NUCLEI:
        return f"{nuclei} measured nuclei of {class_name}, fewer than the {FIELD_NUCLEI} of a field"
    return None
