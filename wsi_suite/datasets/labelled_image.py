"""A picture and its labelled nuclei: the common form of all formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon

from wsi_suite.errors import DataError
from wsi_suite.geometry import Points

UNGRADED = 255
"""The grade of a nucleus whose label names no intensity."""

Shape = Polygon | MultiPolygon

_FARTHEST_PX = 2.0**31  # of a picture: no format has larger ones


@dataclass(frozen=True, eq=False)
class NucleusLabels:
    """Labelled nuclei as columns of one length N, in the frame of their picture.

    Attributes
    ----------
    points
        ``(N, 2)`` float64 ``(x, y)``, pixels of the picture from its top left corner; the centre
        of the first pixel is (0.5, 0.5).
    class_names
        N names, ``None`` without a class.
    radii_px
        ``(N,)`` float64 pixels, NaN if it is not known.
    outlines
        ``(N,)`` shapely polygons in the same frame, ``None`` where a nucleus is a point.
    annotators
        N names of those who labelled, ``None`` if it is not known.
    grades
        ``(N,)`` uint8, 0 to 3 for Negative to 3+, ``UNGRADED`` without.
    """

    points: Points
    class_names: tuple[str | None, ...]
    radii_px: npt.NDArray[np.float64]
    outlines: npt.NDArray[np.object_]
    annotators: tuple[str | None, ...]
    grades: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.class_names)

    def take(self, rows: npt.NDArray[np.int_] | npt.NDArray[np.bool_]) -> NucleusLabels:
        """Return the nuclei at `rows`: indices in their order, or a mask."""
        numbers = np.arange(len(self))[rows]
        return NucleusLabels(
            points=self.points[rows],
            class_names=tuple(self.class_names[row] for row in numbers),
            radii_px=self.radii_px[rows],
            outlines=self.outlines[rows],
            annotators=tuple(self.annotators[row] for row in numbers),
            grades=self.grades[rows],
        )


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """A picture of known pixel size, where it comes from, and its nuclei.

    Attributes
    ----------
    name
        Path below the folder of pictures, with ``/`` between its parts and its ending; it stays
        the same in every version and format.
    size_px
        Width and height.
    mpp
        um per pixel in x and y; ``None`` if the source does not say.
    labels
        The nuclei. None is a statement: somebody looked and there are none.
    file
        Where the pixels are now; ``None`` if the source has labels only.
    patient, slide, laboratory, stain
        What the picture must not be parted from in a split, and is balanced by; ``None`` if it is
        not known.
    corner_px0
        Place of its top left corner in its slide, level-0 pixels of the slide.
    annotated
        Part of the picture in which every nucleus is labelled, in pixels of the picture; ``None``
        for all of it.
    split
        Part of the split that the picture belongs to.
    labels_sha256
        SHA-256 of the file of its labels, if they have one of their own.
    """

    name: str
    size_px: tuple[int, int]
    mpp: tuple[float, float] | None
    labels: NucleusLabels
    file: Path | None = None
    patient: str | None = None
    slide: str | None = None
    laboratory: str | None = None
    stain: str | None = None
    corner_px0: tuple[float, float] | None = None
    annotated: Shape | None = None
    split: str | None = None
    labels_sha256: str | None = None

    @property
    def group(self) -> str:
        """Unit that no split divides: the patient, else the slide, else the picture."""
        return self.patient or self.slide or self.name


def nucleus_labels(
    points: npt.ArrayLike,
    class_names: Sequence[str | None],
    *,
    radii_px: npt.ArrayLike | None = None,
    outlines: Sequence[Shape | None] | None = None,
    annotators: Sequence[str | None] | str | None = None,
    grades: npt.ArrayLike | None = None,
) -> NucleusLabels:
    """Return labels of which some columns are not known; see :class:`NucleusLabels`.

    Parameters
    ----------
    points, class_names
        As in :class:`NucleusLabels`.
    radii_px, outlines, grades
        Without: not known.
    annotators
        One for each nucleus, or one for all.
    """
    count = len(class_names)
    one = annotators if annotators is None or isinstance(annotators, str) else None
    shapes = np.full(count, None, np.object_)
    if outlines is not None:
        shapes[:] = outlines
    return NucleusLabels(
        points=np.asarray(points, np.float64).reshape(count, 2),
        class_names=tuple(class_names),
        radii_px=np.full(count, np.nan) if radii_px is None else np.asarray(radii_px, np.float64),
        outlines=shapes,
        annotators=(one,) * count if one is annotators else tuple(annotators or ()),
        grades=np.full(count, UNGRADED, np.uint8)
        if grades is None
        else np.asarray(grades, np.uint8),
    )


def join_labels(parts: Sequence[NucleusLabels]) -> NucleusLabels:
    """Return the nuclei of several labels of one picture, one after the other."""
    if not parts:
        return nucleus_labels([], [])
    return NucleusLabels(
        points=np.concatenate([part.points for part in parts]),
        class_names=tuple(name for part in parts for name in part.class_names),
        radii_px=np.concatenate([part.radii_px for part in parts]),
        outlines=np.concatenate([part.outlines for part in parts]),
        annotators=tuple(name for part in parts for name in part.annotators),
        grades=np.concatenate([part.grades for part in parts]),
    )


def labels_of_outlines(
    outlines: Sequence[Shape], class_names: Sequence[str | None], **columns: object
) -> NucleusLabels:
    """Return the labels of nuclei that are outlined: centroid, and radius of a disk as large."""
    shapes = np.array(outlines, np.object_)
    return nucleus_labels(
        shapely.get_coordinates(shapely.centroid(shapes)),
        class_names,
        radii_px=np.sqrt(shapely.area(shapes) / np.pi),
        outlines=outlines,
        **columns,  # type: ignore[arg-type]
    )


def polygon_of(vertices: npt.ArrayLike) -> Polygon:
    """Return the polygon of a drawn ring; it may cross itself.

    Raises
    ------
    ValueError
        There are fewer than three vertices, or one is no place in a picture.
    """
    xy = np.asarray(vertices, np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or len(xy) < 3:
        raise ValueError("an outline of fewer than three vertices")
    is_place = (np.abs(xy) < _FARTHEST_PX).all(axis=1)
    if not is_place.all():
        x, y = xy[np.argmin(is_place)].tolist()
        raise ValueError(f"an outline with x {x:g}, y {y:g}, which is no place in a picture")
    return Polygon(xy)


def check_labels(image: LabelledImage, *, where: object) -> None:
    """Raise DataError for labels that a dataset cannot hold.

    Parameters
    ----------
    image
        The picture and its labels.
    where
        The file to name.

    Raises
    ------
    DataError
        A point lies beyond the picture or is no number, a radius is not above 0, or a grade is
        none.
    """
    points, (width, height) = image.labels.points, image.size_px
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        x, y = points[row].tolist()
        raise DataError(
            f"{where}: x {x:g}, y {y:g} of nucleus {row + 1} in '{image.name}' is no place;"
            " expected numbers, pixels of this picture from its top left corner"
        )
    inside = (points >= 0).all(axis=1) & (points <= (width, height)).all(axis=1)
    if not inside.all():
        x, y = points[np.argmin(inside)].tolist()
        raise DataError(
            f"{where}: x {x:g}, y {y:g} lies beyond '{image.name}' of {width} x {height} px;"
            " expected pixels of this picture from its top left corner"
        )
    radii = image.labels.radii_px
    if (radii <= 0).any() or np.isinf(radii).any():
        radius = radii[(radii <= 0) | np.isinf(radii)][0]
        raise DataError(
            f"{where}: radius {radius:g} in '{image.name}' is not above 0; leave it out if unknown"
        )
    wrong = (image.labels.grades > 3) & (image.labels.grades != UNGRADED)
    if wrong.any():
        grade = int(image.labels.grades[wrong][0])
        raise DataError(f"{where}: grade {grade} in '{image.name}'; expected 0 to 3")
