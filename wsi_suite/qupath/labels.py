"""Labels: nuclei that QuPath exported as GeoJSON, with what people made of ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely

from wsi_suite.errors import DataError
from wsi_suite.geometry import Points
from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE
from wsi_suite.qupath.objects import PUSHED, is_ours
from wsi_suite.qupath.reading import (
    MALFORMED,
    DrawnObject,
    area_of,
    finite_points,
    malformed,
    read_objects,
)

Shapes = npt.NDArray[np.object_]

UNTOUCHED, CORRECTED, ADDED, FOREIGN = range(4)
"""States of a label: ours as we made it, ours with a change, drawn by hand, another program's."""

LARGEST_NUCLEUS_UM2 = 700.0
"""An annotation of at most this area is a nucleus that someone drew."""

_MOVED_PX0 = 0.1
_GROWN_PX0, _GROWN_SHARE = 1.0, 0.001  # of the area; QuPath keeps coordinates in single precision


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled nuclei as columns of one length N.

    Attributes
    ----------
    points
        ``(N, 2)`` float64, centroids in level-0 pixels.
    class_names
        Compartments, ``None`` without a class.
    grades
        ``(N,)`` uint8, 0 to 3 for Negative to 3+, 255 where the class names no intensity.
    states
        ``(N,)`` uint8: ``UNTOUCHED``, ``CORRECTED``, ``ADDED`` or ``FOREIGN``.
    shapes
        ``(N,)`` shapely geometries, level-0 pixels: points, polygons and multipolygons.
    """

    points: Points
    class_names: tuple[str | None, ...]
    grades: npt.NDArray[np.uint8]
    states: npt.NDArray[np.uint8]
    shapes: Shapes

    def __len__(self) -> int:
        return len(self.class_names)


def read_labels(path: Path | str, *, mpp: float | None = None) -> Labels:
    """Read the nuclei in a GeoJSON file of QuPath.

    Nuclei are detections, cells (by their nucleus), the points of annotations, each by itself, and
    annotations no larger than a nucleus. Tiles, lines, other annotations and those that we made to
    show scores are left out.

    Parameters
    ----------
    path
        The file, as :func:`~wsi_suite.qupath.reading.read_objects` takes it.
    mpp
        um per level-0 pixel. Without it no annotation with an area counts as a nucleus.

    Raises
    ------
    DataError
        The file is missing or is not GeoJSON. One without nuclei gives empty columns.
    """
    path = Path(path)
    drawn: list[DrawnObject] = []
    shapes: list[shapely.Geometry] = []
    largest_px0 = 0.0 if mpp is None else LARGEST_NUCLEUS_UM2 / mpp**2
    for one in read_objects(path, refusal=DataError):
        try:
            found = list(_nuclei_in(one, largest_px0=largest_px0))
        except MALFORMED:
            raise malformed(path, one.number, refusal=DataError) from None
        drawn += [one] * len(found)
        shapes += found
    return _labels(drawn, np.array(shapes, np.object_))


def split_class(name: str | None) -> tuple[str | None, int]:
    """Return compartment and grade of a class: ``Epithelium: 1+`` is ``("Epithelium", 1)``."""
    compartment, _, intensity = (name or "").rpartition(": ")
    if intensity in INTENSITIES:
        return compartment or None, INTENSITIES.index(intensity)
    return name, NOT_MEASURABLE


def _nuclei_in(drawn: DrawnObject, *, largest_px0: float) -> Iterator[shapely.Geometry]:
    """Yield the shapes of the nuclei that an object stands for."""
    kind, geometry = drawn.kind, drawn.geometry
    if kind not in ("annotation", "detection", "cell"):
        return
    if kind == "annotation" and is_ours(drawn.metadata):
        return
    match geometry.get("type"):
        case "Point":
            yield shapely.Point(finite_points([geometry["coordinates"]])[0])
        case "MultiPoint":
            yield from map(shapely.Point, finite_points(geometry["coordinates"]))
        case _:
            area = area_of(geometry)
            if not area.is_empty and (kind != "annotation" or area.area <= largest_px0):
                yield area.geoms[0] if len(area.geoms) == 1 else area


def _labels(drawn: Sequence[DrawnObject], shapes: Shapes) -> Labels:
    points = shapely.get_coordinates(shapely.centroid(shapes)).reshape(-1, 2)
    split = [split_class(one.class_name) for one in drawn]
    states = [
        _state(one, np.array([*point, area]), compartment=compartment)
        for one, point, area, (compartment, _) in zip(
            drawn, points, shapely.area(shapes), split, strict=True
        )
    ]
    return Labels(
        points=points,
        class_names=tuple(compartment for compartment, _ in split),
        grades=np.array([grade for _, grade in split], np.uint8),
        states=np.array(states, np.uint8),
        shapes=shapes,
    )


def _state(drawn: DrawnObject, place: npt.NDArray[np.float64], *, compartment: str | None) -> int:
    """Return the state of a nucleus whose shape has this x, y and area (level-0 px, px²)."""
    if not is_ours(drawn.metadata):
        return ADDED if drawn.kind == "annotation" else FOREIGN
    try:
        *numbers, pushed = str(drawn.metadata[PUSHED]).split(",", 3)
        x, y, area = map(float, numbers)
    except (KeyError, ValueError):
        return CORRECTED  # what cannot be compared is kept
    same_place = math.hypot(place[0] - x, place[1] - y) <= _MOVED_PX0
    same_area = abs(place[2] - area) <= _GROWN_PX0 + _GROWN_SHARE * area
    named = drawn.name is not None or drawn.locked
    unchanged = same_place and same_area and compartment == pushed and not named
    return UNTOUCHED if unchanged else CORRECTED
