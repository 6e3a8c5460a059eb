"""Nuclei counted by their DAB, finely enough to score them again at any thresholds of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.hscore import Score, pooled_name
from wsi_suite.scoring.intensity import intensity_measurement

STEP_OD = 0.01
"""Distance of the thresholds that a page offers."""

_LOWEST_TOP_OD, _HIGHEST_TOP_OD = 1.0, 3.0
_ABOVE_OD = 0.2  # of the highest threshold of the run
_SHOWN_PERCENT = 99.5

Rows = npt.NDArray[np.int_]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BinnedPart:
    """The nuclei of a slide, or of one of its regions.

    Attributes
    ----------
    name
        Of the region.
    counts
        ``(classes, edges + 1)``; ``counts[c, b]`` nuclei of class c reach the first b edges only.
    not_measurable
        ``(classes,)`` nuclei without a measurement.
    """

    name: str
    counts: Counts
    not_measurable: Counts


@dataclass(frozen=True, eq=False)
class BinnedCounts:
    """Counts from which scores follow, exactly, at any three of the edges as thresholds.

    Attributes
    ----------
    edges_od
        The thresholds that can be taken, rising: multiples of ``STEP_OD``, and those of the run.
    classes
        Names of the compartments.
    parts
        What is scored on the whole, and then each region.
    top_od
        Where the multiples end.
    """

    edges_od: tuple[float, ...]
    classes: tuple[str, ...]
    parts: tuple[BinnedPart, ...]
    top_od: float

    def score(self, part: int, thresholds_od: Sequence[float]) -> dict[str, Score]:
        """Return the scores of a part by class, and last of all classes together.

        Raises
        ------
        ValueError
            A threshold is none of the edges.
        """
        ends = [self.edges_od.index(value) + 1 for value in thresholds_od]
        counted = self.parts[part]
        grades = np.stack([piece.sum(1) for piece in np.split(counted.counts, ends, axis=1)], 1)
        table = np.column_stack([grades, counted.not_measurable])
        scores = {
            name: Score(*map(int, row)) for name, row in zip(self.classes, table, strict=True)
        }
        scores[pooled_name(self.classes)] = Score(*map(int, table.sum(0)))
        return scores

    def as_json(self) -> dict[str, Any]:
        """Return the counts for the page's script; zeros at the end of a row are left out."""
        return {
            "edges": list(self.edges_od),
            "stepOd": STEP_OD,
            "topOd": self.top_od,
            "parts": [
                {
                    "name": part.name,
                    "counts": [np.trim_zeros(row, "b").tolist() for row in part.counts],
                    "notMeasurable": part.not_measurable.tolist(),
                }
                for part in self.parts
            ],
        }


def bin_nuclei(
    nuclei: Nuclei,
    *,
    thresholds_od: tuple[float, float, float],
    parts: Sequence[tuple[str, Rows]],
) -> BinnedCounts:
    """Count nuclei by the thresholds that they reach.

    Parameters
    ----------
    nuclei
        All nuclei of a slide, with a measurement of DAB.
    thresholds_od
        Those of the run.
    parts
        Names and rows of what is counted apart.

    Raises
    ------
    InputError
        The table lacks a measurement of DAB.
    """
    values = np.zeros(0, np.float32)
    if len(nuclei):
        values = np.asarray(nuclei.measurements[intensity_measurement(nuclei.measurements)])
    top_od = _top(values, thresholds_od)
    grid = {round(step * STEP_OD, 2) for step in range(round(top_od / STEP_OD) + 1)}
    edges = tuple(sorted(grid | set(thresholds_od)))
    # As for grades, thresholds take the precision of the values.
    limits = np.asarray(edges, values.dtype if values.dtype.kind == "f" else np.float64)
    known = ~np.isnan(values)
    reached = np.searchsorted(limits, values, side="right")
    bins, classes = len(edges) + 1, len(nuclei.classes)

    def count(name: str, rows: Rows) -> BinnedPart:
        label, there = nuclei.label[rows].astype(np.intp), known[rows]
        codes = label[there] * bins + reached[rows][there]
        table = np.bincount(codes, minlength=classes * bins).reshape(classes, bins)
        return BinnedPart(name, table, np.bincount(label[~there], minlength=classes))

    counted = tuple(count(name, rows) for name, rows in parts)
    return BinnedCounts(edges, nuclei.classes, counted, top_od)


def _top(values: npt.NDArray[np.floating[Any]], thresholds_od: tuple[float, float, float]) -> float:
    """Return where the axis of a histogram ends: a multiple of 0.1 above nearly all values."""
    known = values[np.isfinite(values)]
    highest = float(np.percentile(known, _SHOWN_PERCENT)) if len(known) else 0.0
    top = max(_LOWEST_TOP_OD, highest, thresholds_od[2] + _ABOVE_OD)
    return round(float(np.ceil(round(min(top, _HIGHEST_TOP_OD) * 10, 6))) / 10, 1)
