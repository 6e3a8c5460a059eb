"""The shapes of objects in a GeoJSON file of QuPath."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPoint, MultiPolygon, Point, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union
from shapely.validation import make_valid

from wsi_suite.errors import InputError
from wsi_suite.geometry import Points
from wsi_suite.qupath.reading import MALFORMED, DrawnObject, malformed

_ELLIPSE_VERTICES = 100
"""QuPath counts what lies in the polygon of that many vertices, which has 0.07 % less area."""

_FARTHEST_PX0 = 2.0**31
"""Pixels of an image have nearer coordinates."""


def shapes_of(
    drawn: Sequence[DrawnObject], *, path: Path | str, refusal: type[InputError]
) -> npt.NDArray[np.object_]:
    """Return the shapes of objects: points, multipoints, polygons and multipolygons.

    Polygons that cross themselves are repaired; what QuPath marks as an ellipse becomes one. What
    is neither points nor an area is an empty polygon.

    Parameters
    ----------
    drawn
        N objects of one file.
    path, refusal
        The file, and the error to raise if a shape is not valid GeoJSON.

    Returns
    -------
    ndarray
        ``(N,)`` valid shapely geometries, level-0 pixels.
    """
    geometries = [one.geometry for one in drawn]
    shapes = np.full(len(drawn), None, np.object_)
    for belongs, make in ((_is_point, _points), (_is_one_ring, _one_ring_areas)):
        rows = [row for row, geometry in enumerate(geometries) if belongs(geometry)]
        with suppress(*MALFORMED):  # the culprit is found below
            shapes[rows] = make([geometries[row] for row in rows])
    for row in np.flatnonzero(~shapely.is_valid(shapes)).tolist():
        try:
            shapes[row] = _shape(geometries[row])
        except MALFORMED:
            raise malformed(path, drawn[row].number, refusal=refusal) from None
    return shapes


def _is_point(geometry: Mapping[str, Any]) -> bool:
    try:
        return geometry["type"] == "Point" and len(geometry["coordinates"]) == 2
    except MALFORMED:
        return False


def _points(geometries: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.object_]:
    return np.asarray(shapely.points(_positions([one["coordinates"] for one in geometries])))


def _is_one_ring(geometry: Mapping[str, Any]) -> bool:
    """Return whether a shape is a closed ring of plain positions."""
    try:
        if geometry["type"] != "Polygon" or len(geometry["coordinates"]) != 1:
            return False
        ring = geometry["coordinates"][0]
        return len(ring) >= 4 and ring[0] == ring[-1] and set(map(len, ring)) == {2}
    except MALFORMED:
        return False


def _one_ring_areas(geometries: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.object_]:
    """Return the polygons and ellipses of shapes of one ring each."""
    rings = [geometry["coordinates"][0] for geometry in geometries]
    flat = chain.from_iterable(chain.from_iterable(rings))
    points = _finite(np.fromiter(flat, np.float64).reshape(-1, 2))
    owners = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    polygons = np.asarray(shapely.polygons(shapely.linearrings(points, indices=owners)))
    is_ellipse = np.array([bool(geometry.get("isEllipse")) for geometry in geometries], np.bool_)
    polygons[is_ellipse] = _ellipses(shapely.bounds(polygons[is_ellipse]))
    return polygons


def _shape(geometry: Mapping[str, Any]) -> BaseGeometry:
    """Return one shape of any kind."""
    if geometry.get("type") == "Point":
        return Point(_positions([geometry["coordinates"]])[0])
    if geometry.get("type") == "MultiPoint":
        return MultiPoint(_positions(geometry["coordinates"]))
    drawn = list(_polygons(geometry))
    if geometry.get("isEllipse") and drawn:
        drawn = list(_ellipses(shapely.bounds(MultiPolygon(drawn))[None]))
    areas = _areas(unary_union([_repaired(polygon) for polygon in drawn]))
    return areas.geoms[0] if len(areas.geoms) == 1 else areas


def _repaired(polygon: Polygon) -> BaseGeometry:
    """Return the area inside the outer ring and outside all holes, whatever the rings cross."""
    if polygon.is_valid:
        return polygon
    rings = (polygon.exterior, *polygon.interiors)
    outer, *holes = [_areas(make_valid(Polygon(ring))) for ring in rings]
    return outer.difference(unary_union(holes)) if holes else outer


def _areas(repaired: BaseGeometry) -> MultiPolygon:
    """Return the polygons of a shape; a repair may leave lines, and points where rings touch."""
    parts = shapely.get_parts(shapely.get_parts(repaired))
    return MultiPolygon([part for part in parts if isinstance(part, Polygon)])


def _polygons(geometry: Mapping[str, Any]) -> Iterator[Polygon]:
    match geometry.get("type"):
        case "Polygon":
            rings = [_closed(_positions(ring)) for ring in geometry["coordinates"]]
            if rings and len(rings[0]) >= 4:
                yield Polygon(rings[0], [hole for hole in rings[1:] if len(hole) >= 4])
        case "MultiPolygon":
            for coordinates in geometry["coordinates"]:
                yield from _polygons({"type": "Polygon", "coordinates": coordinates})
        case "GeometryCollection":
            for part in geometry["geometries"]:
                yield from _polygons(part)


def _closed(ring: Points) -> Points:
    return ring if (ring[:1] == ring[-1:]).all() else np.concatenate([ring, ring[:1]])


def _positions(coordinates: list[list[float]]) -> Points:
    """Return positions as ``(N, 2)``; a third coordinate is left out."""
    points = np.array([position[:2] for position in coordinates], np.float64).reshape(-1, 2)
    if len(points) != len(coordinates):
        raise ValueError("positions must be pairs of numbers")
    return _finite(points)


def _finite(points: Points) -> Points:
    if not (np.abs(points) < _FARTHEST_PX0).all():  # NaN neither
        raise ValueError("coordinates must be those of pixels")
    return points


def _ellipses(bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.object_]:
    """Return QuPath's polygons of the ellipses that fill ``(E, 4)`` bounds."""
    low, high = bounds[:, None, :2], bounds[:, None, 2:]
    angle = 2 * np.pi * np.arange(_ELLIPSE_VERTICES) / _ELLIPSE_VERTICES
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.asarray(shapely.polygons((low + high) / 2 + (high - low) / 2 * circle))
