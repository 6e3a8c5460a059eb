"""Regions of interest: annotations and TMA cores that QuPath exported as GeoJSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shapely.geometry import MultiPolygon, box

from wsi_suite.errors import RegionError
from wsi_suite.geometry import Roi
from wsi_suite.qupath.objects import is_ours
from wsi_suite.qupath.reading import (
    REMEDY,
    DrawnObject,
    objects_in,
    read_members,
    read_objects,
)
from wsi_suite.qupath.shapes import shapes_of

MISSING_CORES = "missing_cores"
"""Member of a collection of cores: the names of those that are missing."""

ADDED_STATE = "added"
"""State, in the files of QuPath's script, of an annotation that is a nucleus drawn by hand."""


def read_rois(path: Path | str) -> tuple[Roi, ...]:
    """Read the annotations and TMA cores that have an area from a GeoJSON file of QuPath.

    Detections, cells, tiles, points and lines are left out, and annotations that we made ourselves
    to show scores, and nuclei that somebody outlined, which the script for training marks.
    Polygons that cross themselves are repaired; what QuPath marks as an ellipse becomes one, and
    so do TMA cores. Annotations of the classes ``Ignore*`` are returned with their class. TMA cores
    that are marked as missing are left out, with the annotations that lie in them;
    :func:`missing_cores` names them.

    Raises
    ------
    RegionError
        The file is missing, is not GeoJSON, or holds no annotation or core with an area, or one on
        another plane of a stack than the first.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> rois = ws.read_rois("annotations.geojson")
    >>> [(roi.name, roi.area.area) for roi in rois]
    [('Tumour', 512000.0)]
    """
    return _rois(read_objects(Path(path), refusal=RegionError), path)


def parse_rois(document: object, *, source: str) -> tuple[Roi, ...]:
    """Return the annotations in GeoJSON that was parsed, as :func:`read_rois` does of a file.

    Parameters
    ----------
    document
        Its content.
    source
        What it is called in messages.

    Raises
    ------
    RegionError
        As for :func:`read_rois`.
    """
    return _rois(objects_in([document], path=source, refusal=RegionError), source)


def missing_cores(path: Path | str) -> tuple[str, ...]:
    """Return the names of the TMA cores that a GeoJSON file tells to be missing.

    QuPath marks them; the files of ``wsi-suite cores`` list them beside the others, as
    :data:`MISSING_CORES`. Those that somebody drew a region for since are not missing.

    Raises
    ------
    RegionError
        The file is missing or is not GeoJSON.
    """
    objects = read_objects(Path(path), refusal=RegionError)
    marked = [one.name or "without a name" for one in objects if _is_missing(one)]
    there = {one.name for one in objects}
    listed = [
        name
        for names in read_members(Path(path), MISSING_CORES, refusal=RegionError)
        if isinstance(names, list)
        for name in names
        if isinstance(name, str) and name not in there
    ]
    return tuple(dict.fromkeys([*marked, *listed]))


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


def _rois(objects: Sequence[DrawnObject], path: Path | str) -> tuple[Roi, ...]:
    drawn = [
        _as_ellipse(one) if one.kind == "tmacore" else one
        for one in objects
        if one.kind in ("annotation", "tmacore")
        and not is_ours(one.metadata)
        and one.metadata.get("state") != ADDED_STATE
    ]
    shapes = shapes_of(drawn, path=path, refusal=RegionError)
    missing = [shape for one, shape in zip(drawn, shapes, strict=True) if _is_missing(one)]
    rois: list[Roi] = []
    for one, shape in zip(drawn, shapes, strict=True):
        if shape.area > 0 and not any(core.covers(shape) for core in missing):
            kind = "Core" if one.kind == "tmacore" else "Region"
            name = one.name or f"{kind} {len(rois) + 1}"
            _check_plane(one, name, path=path)
            area = shape if isinstance(shape, MultiPolygon) else MultiPolygon([shape])
            rois.append(Roi(name, one.class_name, area, locked=one.locked))
    if not rois and missing:
        raise RegionError(
            f"{path}: all {len(missing)} TMA cores are marked as missing; expected one to score"
        )
    if not rois:
        raise RegionError(f"{path}: no annotation with an area in it; draw one and {REMEDY}")
    return tuple(rois)


def _is_missing(drawn: DrawnObject) -> bool:
    return drawn.kind == "tmacore" and drawn.missing


def _as_ellipse(core: DrawnObject) -> DrawnObject:
    """Return a TMA core as QuPath has it, whatever its geometry: the ellipse in its bounds."""
    return replace(core, geometry={**core.geometry, "isEllipse": True})


def _check_plane(drawn: DrawnObject, name: str, *, path: Path | str) -> None:
    """Refuse an annotation of a stack that was not drawn on the plane that is read."""
    plane = drawn.geometry.get("plane")
    z, t = (plane.get(axis) or 0 for axis in "zt") if isinstance(plane, dict) else (0, 0)
    if z or t:
        raise RegionError(
            f"{path}: '{name}' lies on the plane z = {z}, t = {t}, but nuclei are looked for on "
            "z = 0, t = 0 only; draw it there"
        )
