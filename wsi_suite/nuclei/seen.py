"""Appearance of training nuclei, and how much of a result lies outside it.

Tissue is cut into fields. A field is described by medians over its nuclei: the confidence of the
detector, the stain and the size. A model remembers between which values the fields lay that it
was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from wsi_suite.config import Section
from wsi_suite.geometry import Points
from wsi_suite.measurements import NUCLEUS_AREA, NUCLEUS_DAB, NUCLEUS_HEMATOXYLIN
from wsi_suite.nuclei.table import Nuclei

_FIELD_UM = 100.0
_FEWEST_NUCLEI = 10  # of a field: fewer have no meaningful median
_TAIL_PERCENT = 1.0
CONFIDENCE = "Confidence"

_KINDS = {
    CONFIDENCE: ("a lower confidence", "a higher confidence"),
    NUCLEUS_DAB: ("less DAB", "more DAB"),
    NUCLEUS_HEMATOXYLIN: ("less hematoxylin", "more hematoxylin"),
    NUCLEUS_AREA: ("smaller nuclei", "larger nuclei"),
}


class SeenFields(Section):
    """Between which values the fields lay that a model was trained on."""

    earlier_names = {"min_score": "min_confidence"}  # noqa: RUF012

    min_confidence: float = Field(ge=0, le=1, description="of nuclei from this confidence")
    medians: dict[str, tuple[float, float]] = Field(
        description="lowest and highest usual median of a field, by measurement"
    )


class Unseen(NamedTuple):
    """Fields of a result that look unlike the training fields of its model.

    Attributes
    ----------
    fields, outside
        Numbers of fields: all, and those outside.
    reasons
        In what these differ, such as "less DAB", the commonest first.
    """

    fields: int
    outside: int
    reasons: tuple[str, ...]

    @property
    def mostly(self) -> bool:
        """Whether more than half of the fields lie outside."""
        return 2 * self.outside > self.fields


def learn_fields(
    tables: Iterable[Nuclei], *, mpp: tuple[float, float], min_confidence: float
) -> SeenFields | None:
    """Return between which values the fields of training tiles lie; ``None`` without nuclei.

    Parameters
    ----------
    tables
        What the model finds in each tile, measured.
    mpp
        Um per pixel of the tables' positions, x and y.
    min_confidence
        The model's threshold.
    """
    found = [_medians(nuclei, mpp=mpp, min_confidence=min_confidence) for nuclei in tables]
    found = [medians for medians in found if medians]
    if not found:
        return None
    ends = {}
    for name in _KINDS:
        values = np.concatenate([medians[name] for medians in found])
        low, high = np.nanpercentile(values, [_TAIL_PERCENT, 100 - _TAIL_PERCENT])
        ends[name] = (round(float(low), 3), round(float(high), 3))
    ends[CONFIDENCE] = (ends[CONFIDENCE][0], 1.0)  # a model that is sure is no reason to warn
    return SeenFields(min_confidence=min_confidence, medians=ends)


def compare_fields(nuclei: Nuclei, seen: SeenFields, *, mpp: tuple[float, float]) -> Unseen:
    """Compare the fields of a result with the training fields of its model.

    Parameters
    ----------
    nuclei
        Of a slide or a region.
    seen
        What the model remembers.
    mpp
        Um per level-0 pixel, x and y.
    """
    medians = _medians(nuclei, mpp=mpp, min_confidence=seen.min_confidence)
    counts: dict[str, int] = {}
    outside = np.zeros(len(medians.get(CONFIDENCE, ())), np.bool_)
    for name, (low, high) in seen.medians.items():
        if name not in medians or name not in _KINDS:
            continue  # measured in another way
        sides = (medians[name] < low, medians[name] > high)
        for kind, beyond in zip(_KINDS[name], sides, strict=True):
            outside |= beyond
            counts[kind] = int(np.count_nonzero(beyond))
    reasons = sorted((kind for kind in counts if counts[kind]), key=lambda kind: -counts[kind])
    common = [kind for kind in reasons if 4 * counts[kind] >= np.count_nonzero(outside)]
    return Unseen(len(outside), int(np.count_nonzero(outside)), tuple(common))


def _medians(
    nuclei: Nuclei, *, mpp: tuple[float, float], min_confidence: float
) -> Mapping[str, npt.NDArray[np.float64]]:
    """Return ``(fields,)`` medians by measurement; all nuclei are one field if they are few."""
    nuclei = nuclei.take(nuclei.confidence >= min_confidence)
    if len(nuclei) < _FEWEST_NUCLEI:
        return {}
    own, counts = _fields(nuclei.points * mpp)
    if counts.max() < _FEWEST_NUCLEI:
        own, counts = np.zeros(len(nuclei), np.int64), np.array([len(nuclei)])
    columns = {CONFIDENCE: nuclei.confidence, **nuclei.measurements}
    large = counts >= _FEWEST_NUCLEI
    return {
        name: _field_medians(columns[name], own, fields=len(counts))[large]
        for name in _KINDS
        if name in columns
    }


def _fields(points_um: Points) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the number of the field of each point, column by column, and the points of each."""
    cells = np.floor(points_um / _FIELD_UM).astype(np.int64)
    cells -= cells.min(axis=0)
    key = cells @ np.array([cells[:, 1].max() + 1, 1])  # numbers sort faster than pairs
    _, own, counts = np.unique(key, return_inverse=True, return_counts=True)
    return own, counts


def _field_medians(
    values: npt.NDArray[np.float32], own: npt.NDArray[np.int64], *, fields: int
) -> npt.NDArray[np.float64]:
    """Return ``(fields,)`` medians of the finite values in each field; NaN in fields without.

    Parameters
    ----------
    values, own
        ``(N,)`` values, and the number of the field that each lies in.
    """
    known = np.isfinite(values)
    values, own = values[known], own[known]
    values = values[np.lexsort((values, own))]
    counts = np.bincount(own, minlength=fields)
    starts, filled = np.cumsum(counts) - counts, counts > 0
    low, high = (starts + (counts - 1) // 2)[filled], (starts + counts // 2)[filled]
    medians = np.full(fields, np.nan)
    medians[filled] = (values[low] + values[high]) / 2
    return medians
