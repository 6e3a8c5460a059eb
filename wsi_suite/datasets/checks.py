"""The check of pictures and labels as a format gives them: the same for all formats."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from wsi_suite.datasets.labelled_image import LabelledImage, Shape, check_labels
from wsi_suite.datasets.pictures import is_turned
from wsi_suite.errors import DataError


def check_images(
    images: Iterable[LabelledImage], *, source: Path, tell: Callable[[str], None]
) -> Iterator[LabelledImage]:
    """Yield pictures whose labels a dataset can hold.

    Outlines that cross themselves are repaired and counted, and pictures that other programs show
    turned. Names of classes and annotators are
    written in one way: without blanks around them, and with composed letters.

    Parameters
    ----------
    images
        As a format reads them, in the order of their names.
    source
        The file or folder that they come from.
    tell
        Receives how many outlines were repaired, and pictures are turned.

    Raises
    ------
    DataError
        There is no picture, or one comes twice; a place, radius, grade or outline cannot be one.
    """
    before: str | None = None
    repaired = 0
    turned: list[str] = []
    for image in images:
        if image.name == before:
            raise DataError(
                f"{source}: picture '{image.name}' is listed twice; keep one of its entries"
            )
        before = image.name
        checked, count = _repair_outlines(_plain_names(image), source=source)
        repaired += count
        check_labels(checked, where=source)
        turned += [image.name] if image.file and is_turned(image.file) else []
        yield checked
    if before is None:
        raise DataError(f"{source}: holds no labels of a picture; nothing to import")
    if turned:
        tell(
            f"{source}: {len(turned):,} pictures, such as {turned[0]}, are marked as turned (EXIF);"
            " labels are taken to lie in the stored pixels. If they were drawn on the turned"
            " pictures, save these upright and import again"
        )
    if repaired:
        tell(f"{source}: {repaired:,} outlines crossed themselves and were repaired")


def _plain_names(image: LabelledImage) -> LabelledImage:
    labels = image.labels
    classes, annotators = (
        tuple(
            unicodedata.normalize("NFC", name).strip() or None if name else None for name in names
        )
        for names in (labels.class_names, labels.annotators)
    )
    if (classes, annotators) == (labels.class_names, labels.annotators):
        return image
    return replace(image, labels=replace(labels, class_names=classes, annotators=annotators))


def _repair_outlines(image: LabelledImage, *, source: Path) -> tuple[LabelledImage, int]:
    """Return a picture with valid outlines, and how many were repaired."""
    labels = image.labels
    outlines = labels.outlines
    drawn = np.array([outline is not None for outline in outlines], bool)
    bad = np.flatnonzero(drawn & ~(shapely.is_valid(outlines) & (shapely.area(outlines) > 0)))
    if not len(bad):
        return image, 0
    outlines, points, radii = outlines.copy(), labels.points.copy(), labels.radii_px.copy()
    for row in bad.tolist():
        mended = _repaired(outlines[row])
        if mended is None:
            x, y = shapely.get_coordinates(outlines[row])[0].tolist()
            raise DataError(
                f"{source}: the outline at x {x:g}, y {y:g} in '{image.name}' has no area; draw it"
                " again, or delete it"
            )
        outlines[row] = mended
        points[row] = shapely.get_coordinates(mended.centroid)[0]
        radii[row] = np.sqrt(mended.area / np.pi)
    mended_labels = replace(labels, outlines=outlines, points=points, radii_px=radii)
    return replace(image, labels=mended_labels), len(bad)


def _repaired(outline: Shape) -> Shape | None:
    """Return the areas that an invalid outline encloses; ``None`` if there are none."""
    if not np.isfinite(shapely.get_coordinates(outline)).all():
        return None
    parts = shapely.get_parts(shapely.make_valid(outline))
    areas = [
        part
        for one in parts
        for part in shapely.get_parts(one)
        if isinstance(part, Polygon) and part.area > 0
    ]
    if not areas:
        return None
    return areas[0] if len(areas) == 1 else MultiPolygon(areas)
