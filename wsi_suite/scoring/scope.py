"""Scored area of a slide: its tissue or regions of interest, without ignored regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Points, Roi
from wsi_suite.scoring.regions import (
    ignored_area,
    nuclei_in_rois,
    rows_that_count,
    scored_rois,
    without_holes,
)

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon
    from shapely.geometry.base import BaseGeometry

Rows = npt.NDArray[np.int_]


@dataclass(frozen=True)
class ScoredRegion:
    """A region of interest, without ignored regions.

    Attributes
    ----------
    roi
        The region.
    rows
        Its nuclei, as rows of the table.
    areas_mm2
        Its area on the slide, and that of the tissue in it; ``None`` if the tissue is not known.
    """

    roi: Roi
    rows: Rows
    areas_mm2: tuple[float, float | None]


@dataclass(frozen=True)
class Scope:
    """Scored area of a slide.

    Attributes
    ----------
    rows
        Nuclei that count, as rows of the table; ``None``: all.
    area_mm2, tissue_mm2
        Area that is scored, and that of the tissue in it; ``None`` if it is not known.
    inside
        Outline of what is scored, level-0 pixels; of tissue without its holes. ``None`` if it is
        not known.
    ignored, ignored_mm2
        What regions of class ``Ignore*`` cover, level-0 pixels and mm2; ``None``: nothing.
    parts
        Regions of interest, if there are some.
    """

    rows: Rows | None
    area_mm2: float | None
    tissue_mm2: float | None
    inside: BaseGeometry | None
    ignored: BaseGeometry
    ignored_mm2: float | None
    parts: tuple[ScoredRegion, ...] = ()

    @property
    def areas_mm2(self) -> tuple[float | None, float | None]:
        """Area that is scored, and that of the tissue in it."""
        return self.area_mm2, self.tissue_mm2


def find_scope(
    points_px0: Points,
    drawn: Sequence[Roi],
    *,
    tissue: MultiPolygon | None,
    tissue_area_mm2: float | None,
    size_px0: tuple[int, int] | None,
    mpp: tuple[float, float],
) -> Scope:
    """Return the scored area of a slide.

    Parameters
    ----------
    points_px0
        ``(N, 2)`` places of all nuclei, level-0 pixels.
    drawn
        Regions as drawn; none: the whole slide.
    tissue, tissue_area_mm2, size_px0, mpp
        As for :func:`~wsi_suite.scoring.summary.summarise`.

    Raises
    ------
    RegionError
        A region lies wholly in others of class ``Ignore*``.
    """
    from shapely.ops import unary_union

    rois = scored_rois(drawn)
    ignored = _on_slide(ignored_area(drawn), size_px0)
    ignored_mm2 = _areas_mm2(ignored, None, mpp=mpp)[0] or None
    inside = None if tissue is None else without_holes(tissue)
    if rois:
        areas = [_on_slide(roi.area, size_px0) for roi in rois]
        parts = tuple(
            ScoredRegion(roi, rows, _areas_mm2(area, tissue, mpp=mpp))
            for roi, area, rows in zip(rois, areas, nuclei_in_rois(points_px0, rois), strict=True)
        )
        union = unary_union(areas)
        whole_mm2, tissue_mm2 = _areas_mm2(union, tissue, mpp=mpp)
        rows = np.unique(np.concatenate([part.rows for part in parts]))
        return Scope(rows, whole_mm2, tissue_mm2, union, ignored, ignored_mm2, parts)
    if ignored_mm2 is None:
        return Scope(None, tissue_area_mm2, tissue_area_mm2, inside, ignored, None)
    left_mm2 = None
    if tissue is not None and inside is not None:
        inside = inside.difference(ignored)
        left_mm2, _ = _areas_mm2(tissue.difference(ignored), None, mpp=mpp)
    rows = rows_that_count(points_px0, drawn)
    return Scope(rows, left_mm2, left_mm2, inside, ignored, ignored_mm2)


def _on_slide(area: BaseGeometry, size_px0: tuple[int, int] | None) -> BaseGeometry:
    from shapely.geometry import box

    return area if size_px0 is None else area.intersection(box(0, 0, *size_px0))


def _areas_mm2(
    area: BaseGeometry, tissue: MultiPolygon | None, *, mpp: tuple[float, float]
) -> tuple[float, float | None]:
    """Return the size of an area in level-0 pixels and of the tissue in it."""
    pixel_mm2 = mpp[0] * mpp[1] / 1e6
    in_tissue = None if tissue is None else float(area.intersection(tissue).area) * pixel_mm2
    return float(area.area) * pixel_mm2, in_tissue
