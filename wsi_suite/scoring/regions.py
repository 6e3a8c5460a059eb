"""Which nuclei lie in which region of interest.

A nucleus lies in a region if its place does: the centroid of its outline as QuPath has it, x and y
of the table. On a border QuPath counts a centroid for the regions of both sides, and this for
exactly one.

Regions of class ``Ignore*``, QuPath's class of what is to be left out, are cut out of the others
and, if there are no others, out of the tissue: nuclei in them do not count, and areas, by which
densities divide, are without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import RegionError
from wsi_suite.geometry import Points, Roi

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon, Polygon
    from shapely.geometry.base import BaseGeometry

IGNORED_CLASS = "Ignore*"
"""QuPath's class of annotations that are to be left out."""


def scored_rois(rois: Sequence[Roi]) -> tuple[Roi, ...]:
    """Return the regions that are scored; those of class ``Ignore*`` are cut out of them.

    Without any, as where all are of class ``Ignore*``, all tissue is scored but the ignored area.

    Raises
    ------
    RegionError
        Nothing is left of a region.
    """
    ignored = ignored_area(rois)
    scored = tuple(roi for roi in rois if not is_ignored(roi))
    if ignored.is_empty:
        return scored
    return tuple(_cut(roi, ignored) for roi in scored)


def ignored_area(rois: Sequence[Roi]) -> MultiPolygon:
    """Return the area of the regions of class ``Ignore*``; it is empty without any."""
    import shapely

    return _joined(shapely.union_all([roi.area for roi in rois if is_ignored(roi)]))


def rows_that_count(points_px0: Points, rois: Sequence[Roi]) -> npt.NDArray[np.int_]:
    """Return the rows of the points that count: in a scored region, or in no ignored area.

    Parameters
    ----------
    points_px0
        ``(N, 2)`` points in level-0 pixels.
    rois
        Regions as drawn, those of class ``Ignore*`` among them.
    """
    scored = scored_rois(rois)
    chosen = np.full(len(points_px0), not scored)
    for rows in nuclei_in_rois(points_px0, scored):
        chosen[rows] = True
    if not scored:
        chosen[points_in_areas(points_px0, [ignored_area(rois)])[0]] = False
    return np.flatnonzero(chosen)


def is_ignored(roi: Roi) -> bool:
    """Return whether a region is of class ``Ignore*``."""
    return (roi.class_name or "").startswith(IGNORED_CLASS)


def _cut(roi: Roi, ignored: MultiPolygon) -> Roi:
    area = _joined(roi.area.difference(ignored))
    if area.is_empty:
        raise RegionError(
            f"'{roi.name}' lies wholly in regions of class '{IGNORED_CLASS}': expected a part of "
            "it outside; remove one or the other"
        )
    return replace(roi, area=area)


def _joined(area: BaseGeometry) -> MultiPolygon:
    """Return the polygons of an area as one shape."""
    from shapely.geometry import MultiPolygon

    return MultiPolygon(polygons_of(area))


def nuclei_in_rois(points_px0: Points, rois: Sequence[Roi]) -> list[npt.NDArray[np.int_]]:
    """Return for each region the rows of the points inside it; see :func:`points_in_areas`."""
    return points_in_areas(points_px0, [roi.area for roi in rois])


def points_in_areas(
    points_px0: Points, areas: Sequence[MultiPolygon]
) -> list[npt.NDArray[np.int_]]:
    """Return for each area the rows of the points inside it, rising.

    A point in several areas belongs to each. On the border between two areas that touch it
    belongs to exactly one.

    Parameters
    ----------
    points_px0
        ``(N, 2)`` points in level-0 pixels.
    areas
        Areas in the same frame.
    """
    order = np.argsort(points_px0[:, 1], kind="stable")
    x, y = points_px0[order, 0], points_px0[order, 1]
    return [np.sort(order[_inside(area, x, y)]) for area in areas]


def _inside(
    area: MultiPolygon, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> npt.NDArray[np.int_]:
    """Return which of the points, sorted by y, have an odd number of edges to their right.

    An edge concerns only the points of its own rows, which lie together: the work grows with
    points x edges per row, not with points x edges.
    """
    edges = edges_of(area)
    if len(edges) == 0:
        return np.zeros(0, np.int_)
    left, right = edges[:, ::2].min(), edges[:, ::2].max()
    near = np.flatnonzero((x >= left) & (x <= right))
    x, y = x[near], y[near]
    inside = np.zeros(len(near), np.bool_)
    # Rows are half-open, so that a vertex is passed once.
    starts, stops = np.searchsorted(y, edges[:, 1]), np.searchsorted(y, edges[:, 3])
    for (x0, y0, x1, y1), start, stop in zip(edges, starts, stops, strict=True):
        if start < stop:
            rows = slice(start, stop)
            inside[rows] ^= x[rows] < x0 + (y[rows] - y0) * ((x1 - x0) / (y1 - y0))
    return near[inside]


def edges_of(area: BaseGeometry) -> npt.NDArray[np.float64]:
    """Return ``(E, 4)`` edges x0, y0, x1, y1 of all rings with y0 < y1; level ones are left out.

    Seen from both sides, an edge that two regions share is the same to the bit.
    """
    pieces = [np.zeros((0, 4))]
    for polygon in polygons_of(area):
        for ring in (polygon.exterior, *polygon.interiors):
            corners = np.asarray(ring.coords, np.float64)[:, :2]
            pieces.append(np.hstack([corners[:-1], corners[1:]]))
    edges = np.concatenate(pieces)
    edges = np.where(edges[:, 1:2] > edges[:, 3:4], edges[:, [2, 3, 0, 1]], edges)
    return edges[edges[:, 1] < edges[:, 3]]


def polygons_of(area: BaseGeometry) -> list[Polygon]:
    """Return the polygons of an area; an intersection may leave points and lines beside them."""
    import shapely

    parts = shapely.get_parts(shapely.get_parts(area))
    return [part for part in parts if part.geom_type == "Polygon"]


def without_holes(area: BaseGeometry) -> BaseGeometry:
    """Return an area with its holes filled, such as the lumina of glands in tissue."""
    import shapely

    return shapely.union_all([shapely.polygons(part.exterior) for part in polygons_of(area)])


def without_areas(
    area: BaseGeometry | None, left_out: Sequence[BaseGeometry]
) -> BaseGeometry | None:
    """Return an area without some others; ``None``, which is no bound, stays ``None``."""
    import shapely

    return area if area is None or not left_out else area.difference(shapely.union_all(left_out))
