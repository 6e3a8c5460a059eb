"""Labels: nuclei exported from QuPath as GeoJSON, with the corrections of ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPoint

from wsi_suite.errors import DataError
from wsi_suite.geometry import Points
from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE
from wsi_suite.qupath.objects import PUSHED, is_ours
from wsi_suite.qupath.reading import DrawnObject, read_objects
from wsi_suite.qupath.shapes import shapes_of

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
        ``(N,)`` uint8, 0 to 3 for Negative to 3+, 255 if the class names no intensity.
    states
        ``(N,)`` uint8: ``UNTOUCHED``, ``CORRECTED``, ``ADDED`` or ``FOREIGN``.
    shapes
        ``(N,)`` shapely geometries, level-0 pixels: points, polygons and multipolygons.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> labels = ws.read_labels("corrected.geojson", mpp=0.25)
    >>> len(labels), labels.class_names[0], labels.grades[:3].tolist()
    (67, 'Stroma', [3, 1, 0])
    """

    points: Points
    class_names: tuple[str | None, ...]
    grades: npt.NDArray[np.uint8]
    states: npt.NDArray[np.uint8]
    shapes: Shapes

    def __len__(self) -> int:
        return len(self.class_names)

    def take(self, rows: npt.NDArray[np.int_]) -> Labels:
        """Return the labels at `rows`, in their order."""
        return Labels(
            points=self.points[rows],
            class_names=tuple(self.class_names[row] for row in rows),
            grades=self.grades[rows],
            states=self.states[rows],
            shapes=self.shapes[rows],
        )


def join_labels(parts: Sequence[Labels]) -> Labels:
    """Return the labels of several files of one image, one after the other."""
    return Labels(
        points=np.concatenate([part.points for part in parts]),
        class_names=tuple(name for part in parts for name in part.class_names),
        grades=np.concatenate([part.grades for part in parts]),
        states=np.concatenate([part.states for part in parts]),
        shapes=np.concatenate([part.shapes for part in parts]),
    )


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

    Examples
    --------
    >>> import wsi_suite as ws
    >>> labels = ws.read_labels("corrected.geojson", mpp=0.25)
    >>> labels.points.shape, labels.class_names[0]
    ((67, 2), 'Stroma')
    """
    path = Path(path)
    drawn = [one for one in read_objects(path, refusal=DataError) if _may_be_nuclei(one)]
    shapes = shapes_of(drawn, path=path, refusal=DataError)
    each = [
        (one, nucleus)
        for one, shape in zip(drawn, shapes, strict=True)
        for nucleus in (shape.geoms if isinstance(shape, MultiPoint) else [shape])
    ]
    nuclei = np.array([nucleus for _, nucleus in each], np.object_)
    area = shapely.area(nuclei)
    largest = 0.0 if mpp is None else LARGEST_NUCLEUS_UM2 / mpp**2
    limit = np.array([largest if one.kind == "annotation" else np.inf for one, _ in each])
    is_point = shapely.get_type_id(nuclei) == shapely.GeometryType.POINT
    rows = np.flatnonzero(is_point | ((area > 0) & (area <= limit)))
    return _labels([each[row][0] for row in rows], nuclei[rows])


def split_class(name: str | None) -> tuple[str | None, int]:
    """Return compartment and grade of a class: ``Epithelium: 1+`` is ``("Epithelium", 1)``."""
    compartment, _, intensity = (name or "").rpartition(": ")
    if intensity in INTENSITIES:
        return compartment or None, INTENSITIES.index(intensity)
    return name, NOT_MEASURABLE


def _may_be_nuclei(drawn: DrawnObject) -> bool:
    if drawn.kind == "annotation":  # of ours those that can be edited, and no scored regions
        return not is_ours(drawn.metadata) or PUSHED in drawn.metadata
    return drawn.kind in ("detection", "cell")


def _labels(drawn: Sequence[DrawnObject], shapes: Shapes) -> Labels:
    points = shapely.get_coordinates(shapely.centroid(shapes)).reshape(-1, 2)
    split = [split_class(one.class_name) for one in drawn]
    places = zip(*points.T.tolist(), shapely.area(shapes).tolist(), strict=True)
    states = [
        _state(one, place, compartment=compartment)
        for one, place, (compartment, _) in zip(drawn, places, split, strict=True)
    ]
    return Labels(
        points=points,
        class_names=tuple(compartment for compartment, _ in split),
        grades=np.array([grade for _, grade in split], np.uint8),
        states=np.array(states, np.uint8),
        shapes=shapes,
    )


def _state(
    drawn: DrawnObject, place: tuple[float, float, float], *, compartment: str | None
) -> int:
    """Return the state of a nucleus that has this x, y and area, level-0 px and px²."""
    if not is_ours(drawn.metadata):
        return ADDED if drawn.kind == "annotation" else FOREIGN
    try:
        *numbers, pushed = str(drawn.metadata[PUSHED]).split(",", 3)
        x, y, area = map(float, numbers)
    except (KeyError, ValueError):
        return CORRECTED  # what cannot be compared is kept
    same_place = math.hypot(place[0] - x, place[1] - y) <= _MOVED_PX0
    same_area = abs(place[2] - area) <= _GROWN_PX0 + _GROWN_SHARE * area
    marked = drawn.name is not None or drawn.locked
    unchanged = same_place and same_area and compartment == pushed and not marked
    return UNTOUCHED if unchanged else CORRECTED
