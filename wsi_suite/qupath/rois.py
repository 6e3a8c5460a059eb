"""Regions of interest: annotations that QuPath exported as GeoJSON."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.ops import unary_union
from shapely.validation import make_valid

from wsi_suite.errors import RegionError
from wsi_suite.geometry import Roi

_REMEDY = "export annotations from QuPath with File > Export objects as GeoJSON"

# What is no annotation: by QuPath's `objectType`, and by the ids that QuPath 0.2 wrote.
_NOT_ANNOTATIONS = {"detection", "cell", "tile", "tmacore", "core", "root"}
_OLD_ID = {
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
    "PathTileObject": "tile",
    "TMACoreObject": "tmacore",
}

_ELLIPSE_VERTICES = 128
"""A polygon of that many vertices has 0.04 % less area than its ellipse."""


def read_rois(path: Path | str) -> tuple[Roi, ...]:
    """Read the annotations that have an area from a GeoJSON file of QuPath.

    A FeatureCollection, one Feature or a list of Features, packed with gzip or not. Detections,
    cells, tiles, points and lines are left out; polygons that cross themselves are repaired; what
    QuPath marks as an ellipse becomes one. Annotations of the classes ``Ignore*`` are returned with
    their class.

    Raises
    ------
    RegionError
        The file is missing, is not GeoJSON, or holds no annotation with an area.
    """
    path = Path(path)
    rois: list[Roi] = []
    for number, feature in enumerate(_features(_load(path), path=path), start=1):
        properties = feature.get("properties") or {}
        if _object_type(feature, properties) in _NOT_ANNOTATIONS:
            continue
        try:
            area = _area(feature.get("geometry") or {})
            class_name = _class_name(properties.get("classification"))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            raise RegionError(
                f"{path}: object {number} is not as GeoJSON has it; {_REMEDY}"
            ) from None
        if not area.is_empty:
            name = properties.get("name") or f"Region {len(rois) + 1}"
            rois.append(Roi(name=str(name), class_name=class_name, area=area))
    if not rois:
        raise RegionError(f"{path}: no annotation with an area in it; draw one and {_REMEDY}")
    return tuple(rois)


def check_rois_inside(rois: Sequence[Roi], *, width: int, height: int, path: Path | str) -> None:
    """Refuse regions that share no area with a slide.

    Parameters
    ----------
    rois
        The regions.
    width, height
        Size of the slide in level-0 pixels.
    path
        The file they come from, for the message.

    Raises
    ------
    RegionError
        A region lies wholly outside.
    """
    slide = box(0, 0, width, height)
    for roi in rois:
        if not roi.area.intersection(slide).area > 0:
            left, top, right, bottom = (round(value) for value in roi.area.bounds)
            raise RegionError(
                f"{path}: '{roi.name}' (x {left} to {right}, y {top} to {bottom}) lies outside the "
                f"slide of {width} x {height} px; was it drawn on another slide?"
            )


def _load(path: Path) -> object:
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise RegionError(f"{path}: cannot be read ({reason}); {_REMEDY}") from None
    if not content.strip():
        raise RegionError(f"{path}: the file is empty; {_REMEDY}")
    try:
        document: object = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise RegionError(f"{path}: not JSON ({error}); {_REMEDY}") from None
    return document


def _features(document: object, *, path: Path) -> list[dict[str, Any]]:
    features = document
    if isinstance(document, dict):
        kind = document.get("type")
        features = document.get("features") if kind == "FeatureCollection" else [document]
    if not isinstance(features, list) or not all(
        isinstance(feature, dict) and feature.get("type") == "Feature" for feature in features
    ):
        raise RegionError(f"{path}: JSON, but not GeoJSON objects; {_REMEDY}")
    return features


def _object_type(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    given = properties.get("objectType") or _OLD_ID.get(str(feature.get("id")), "annotation")
    return str(given).replace("_", "").lower()


def _class_name(classification: object) -> str | None:
    """Return QuPath's name of a class: a text, ``{"name": ...}`` or ``{"names": [...]}``."""
    if isinstance(classification, dict):
        names = classification.get("names") or [classification["name"]]
        return ": ".join(str(name) for name in names)
    return str(classification) if classification else None


def _area(geometry: dict[str, Any]) -> MultiPolygon:
    whole = unary_union([make_valid(polygon) for polygon in _polygons(geometry)])
    if geometry.get("isEllipse") and not whole.is_empty:
        whole = _ellipse(whole.bounds)
    # A repair may leave lines, and a point where a hole touches the border.
    parts = getattr(whole, "geoms", [whole])
    return MultiPolygon([part for part in parts if isinstance(part, Polygon) and part.area > 0])


def _polygons(geometry: dict[str, Any]) -> Iterator[Polygon]:
    match geometry.get("type"):
        case "Polygon":
            shell, *holes = [_ring(ring) for ring in geometry["coordinates"]] or [[]]
            if len(shell) >= 4:
                yield Polygon(shell, [hole for hole in holes if len(hole) >= 4])
        case "MultiPolygon":
            for coordinates in geometry["coordinates"]:
                yield from _polygons({"type": "Polygon", "coordinates": coordinates})
        case "GeometryCollection":
            for part in geometry["geometries"]:
                yield from _polygons(part)


def _ring(coordinates: list[list[float]]) -> list[tuple[float, float]]:
    """Return a ring's vertices, closed; what is neither finite nor a number raises ValueError."""
    points = [(float(position[0]), float(position[1])) for position in coordinates]
    if not np.isfinite(points).all():
        raise ValueError("coordinates must be finite")
    return points if points[:1] == points[-1:] else [*points, points[0]]


def _ellipse(bounds: tuple[float, float, float, float]) -> Polygon:
    left, top, right, bottom = bounds
    angle = 2 * np.pi * np.arange(_ELLIPSE_VERTICES) / _ELLIPSE_VERTICES
    x = (left + right) / 2 + (right - left) / 2 * np.cos(angle)
    y = (top + bottom) / 2 + (bottom - top) / 2 * np.sin(angle)
    return Polygon(list(zip(x.tolist(), y.tolist(), strict=True)))
