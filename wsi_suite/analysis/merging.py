"""Merging the nuclei of all blocks into one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.request import Analysis
from wsi_suite.geometry import Points
from wsi_suite.nuclei.table import Nuclei, take_joined
from wsi_suite.qupath.objects import Shape, at_centroids
from wsi_suite.scoring.regions import points_in_areas, rows_that_count
from wsi_suite.slides.grid import SEAM_PX

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon


def merge_nuclei(
    tables: Sequence[Nuclei],
    analysis: Analysis,
    *,
    facts: SlideFacts,
    shape: Shape = "polygon",
) -> Nuclei:
    """Join the nuclei of blocks: each once, in the tissue, sorted by (y, x).

    A nucleus lies where QuPath has the centroid of its shape. It counts only if that place is in
    the tissue, whose area densities divide by, and in a region of interest if there are some, but
    in none of class ``Ignore*``.

    Parameters
    ----------
    tables
        Of blocks, in a fixed order; x and y are the detected points. They are gone through twice,
        and none is kept: a sequence that reads each from a file takes the memory of the result.
    analysis
        Its model says how near two nuclei may lie.
    facts
        The slide.
    shape
        What QuPath is shown: coordinates are rounded, so that each kind has centroids of its own.
    """
    from wsi_suite.detector.detector import suppress_close

    spec, measure = analysis.model.spec, analysis.settings.measure
    tables = tables or [Nuclei.empty(spec.classes)]
    radius_px0 = measure.disc_radius_um / facts.mpp[0]
    found = _Places.of(tables, shape=shape, radius_px0=radius_px0)
    mpp = math.sqrt(facts.mpp[0] * facts.mpp[1])
    twins_px0 = SEAM_PX * math.sqrt(facts.scale.x * facts.scale.y)
    distance_px0 = max(spec.min_distance_um / mpp, twins_px0)
    rows = np.flatnonzero(suppress_close(found.points, found.confidence, distance_px0))
    rows = rows[_counts(found.centroids[rows], analysis, tissue=facts.tissue)]
    x, y = found.centroids[rows].T
    rows = rows[np.lexsort([x, y])]
    detected, centroids = found.detected[rows], found.centroids[rows]
    del found, x, y  # before the largest columns come
    nuclei = take_joined(tables, rows)
    return replace(
        nuclei,
        x=np.ascontiguousarray(centroids[:, 0]),
        y=np.ascontiguousarray(centroids[:, 1]),
        confidence=np.round(nuclei.confidence, 4),
        detected=detected,
        mpp=facts.mpp,
    )


@dataclass(frozen=True, eq=False)
class _Places:
    """Places of the nuclei of all blocks, in their order.

    Attributes
    ----------
    points, confidence
        ``(N, 2)`` and ``(N,)``, as the detector found them.
    detected
        ``(N, 2)``, the points to two decimals.
    centroids
        ``(N, 2)``, where QuPath has the centroids of their shapes.
    """

    points: Points
    confidence: npt.NDArray[np.float32]
    detected: Points
    centroids: Points

    @classmethod
    def of(cls, tables: Iterable[Nuclei], *, shape: Shape, radius_px0: float) -> _Places:
        parts = [cls._of_table(table, shape=shape, radius_px0=radius_px0) for table in tables]
        return cls(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.detected for part in parts]),
            np.concatenate([part.centroids for part in parts]),
        )

    @classmethod
    def _of_table(cls, table: Nuclei, *, shape: Shape, radius_px0: float) -> _Places:
        rounded = replace(table, x=np.round(table.x, 2), y=np.round(table.y, 2))
        placed = at_centroids(rounded, shape=shape, radius_px0=radius_px0)
        # Copies: a column of a file would keep all that was read with it.
        return cls(table.points, table.confidence.copy(), placed.detected_points, placed.points)


def _counts(points: Points, analysis: Analysis, *, tissue: MultiPolygon) -> npt.NDArray[np.int_]:
    """Return the rows of points that lie in the tissue, and in the regions if there are some."""
    (rows,) = points_in_areas(points, [tissue])
    if analysis.rois is None:
        return rows
    return np.intersect1d(rows, rows_that_count(points, analysis.rois), assume_unique=True)
