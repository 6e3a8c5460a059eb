"""Regions of interest: annotations that QuPath exported as GeoJSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shapely.geometry import box

from wsi_suite.errors import RegionError
from wsi_suite.geometry import Roi
from wsi_suite.qupath.objects import is_ours
from wsi_suite.qupath.reading import MALFORMED, REMEDY, area_of, malformed, read_objects


def read_rois(path: Path | str) -> tuple[Roi, ...]:
    """Read the annotations that have an area from a GeoJSON file of QuPath.

    Detections, cells, tiles, points and lines are left out, and annotations that we made ourselves
    to show scores. Polygons that cross themselves are repaired; what QuPath marks as an ellipse
    becomes one. Annotations of the classes ``Ignore*`` are returned with their class.

    Raises
    ------
    RegionError
        The file is missing, is not GeoJSON, or holds no annotation with an area.
    """
    path = Path(path)
    rois: list[Roi] = []
    for drawn in read_objects(path, refusal=RegionError):
        if drawn.kind != "annotation" or is_ours(drawn.metadata):
            continue
        try:
            area = area_of(drawn.geometry)
        except MALFORMED:
            raise malformed(path, drawn.number, refusal=RegionError) from None
        if not area.is_empty:
            name = drawn.name or f"Region {len(rois) + 1}"
            rois.append(Roi(name, drawn.class_name, area, locked=drawn.locked))
    if not rois:
        raise RegionError(f"{path}: no annotation with an area in it; draw one and {REMEDY}")
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
