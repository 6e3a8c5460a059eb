"""NuCLS' tables: one CSV a picture, with boxes, outlines and classes.

Columns: ``xmin``, ``ymin``, ``xmax``, ``ymax``, ``main_classification`` (or another column of
classes), ``type`` (``rectangle`` or ``polyline``), ``coords_x`` and ``coords_y`` (numbers parted by
commas). Pictures have 0.2 um per pixel. Source: Amgad et al., *GigaScience* 2022, 11, giac037.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from shapely.geometry import Polygon

from wsi_suite.datasets.formats import ReadOptions
from wsi_suite.datasets.labelled_image import LabelledImage, Shape, nucleus_labels, polygon_of
from wsi_suite.datasets.per_picture import labelled_pictures
from wsi_suite.datasets.pictures import picture_size
from wsi_suite.errors import DataError
from wsi_suite.tables import find_column, read_table

MPP = 0.2
_CLASS = ("main_classification", "super_classification", "raw_classification", "group")
_BOX = ("xmin", "ymin", "xmax", "ymax")
_FIELD = "fov"


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of a folder of ``<picture>.csv``; they lie in ``options.images``.

    The outline of the field of view, which stands among the nuclei, is left out.
    """
    mpp = options.mpp or MPP
    for name, path, file in labelled_pictures(
        source, (".csv",), images=options.images, tell=options.tell
    ):
        table = read_table(file)
        for column in _BOX:
            if column not in table.columns:
                raise DataError(f"{file}: no column '{column}', as NuCLS has it")
        classes = table.column(
            find_column(table, None, known=_CLASS, meant="the class", option="main_classification")
        )
        boxes = np.column_stack([table.numbers(column) for column in _BOX])
        has_outlines = "coords_x" in table.columns and "coords_y" in table.columns
        coordinates = (
            zip(table.column("coords_x"), table.column("coords_y"), strict=True)
            if has_outlines
            else [("", "")] * len(classes)
        )
        kinds = table.column("type") if "type" in table.columns else [""] * len(classes)
        outlines: list[Shape | None] = [
            _outline(x, y, where=f"{file}: line {line}") if kind == "polyline" else None
            for (x, y), kind, line in zip(coordinates, kinds, table.lines, strict=True)
        ]
        points = (boxes[:, :2] + boxes[:, 2:]) / 2
        radii = (boxes[:, 2:] - boxes[:, :2]).mean(axis=1) / 2
        for row, outline in enumerate(outlines):
            if outline is not None:
                if outline.area > 0:
                    points[row] = outline.centroid.coords[0]
                radii[row] = np.sqrt(outline.area / np.pi)
        kept = np.array([one.casefold() != _FIELD for one in classes], bool)
        yield LabelledImage(
            name=name,
            size_px=picture_size(path),
            mpp=(mpp, mpp),
            labels=nucleus_labels(
                points, [one or None for one in classes], radii_px=radii, outlines=outlines
            ).take(kept),
            file=path,
        )


def _outline(x: str, y: str, *, where: str) -> Polygon:
    """Return an outline; it may cross itself."""
    try:
        both = zip(map(float, x.split(",")), map(float, y.split(",")), strict=True)
        return polygon_of(list(both))
    except ValueError:
        raise DataError(
            f"{where}: coords_x and coords_y are not the vertices of an outline; expected as many"
            " numbers in both, three or more, parted by commas"
        ) from None
