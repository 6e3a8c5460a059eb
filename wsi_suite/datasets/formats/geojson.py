"""GeoJSON as QuPath exports and imports it, one file for each picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from wsi_suite.datasets.formats import ReadOptions, WriteOptions
from wsi_suite.datasets.labelled_image import UNGRADED, LabelledImage, nucleus_labels
from wsi_suite.datasets.losses import describe_losses, tally
from wsi_suite.datasets.per_picture import labelled_pictures
from wsi_suite.datasets.pictures import picture_size
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file
from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE
from wsi_suite.qupath.labels import read_labels, split_class

_ENDINGS = (".geojson", ".geojson.gz", ".json")


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of a folder of ``<picture>.geojson``, or of one such file.

    Nuclei are the objects that :func:`~wsi_suite.qupath.labels.read_labels` takes for one. The
    pictures lie in ``options.images``, else in ``images/`` beside or in the folder, else beside
    the files.
    """
    scale = options.mpp
    for name, path, file in labelled_pictures(
        source, _ENDINGS, images=options.images, tell=options.tell
    ):
        labels = read_labels(file, mpp=scale)
        shapes = labels.shapes
        is_area = shapely.area(shapes) > 0
        outlines = [shape if area else None for shape, area in zip(shapes, is_area, strict=True)]
        grades = np.where(labels.grades == NOT_MEASURABLE, UNGRADED, labels.grades)
        yield LabelledImage(
            name=name,
            size_px=picture_size(path),
            mpp=None if scale is None else (scale, scale),
            labels=nucleus_labels(
                labels.points,
                labels.class_names,
                radii_px=np.where(is_area, np.sqrt(shapely.area(shapes) / np.pi), np.nan),
                outlines=outlines,
                grades=grades,
            ),
            file=path,
        )


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write a folder of GeoJSON: outlined nuclei as detections, the others as points."""
    del options
    lost: Counter[str] = Counter()
    with whole_file(out) as made:
        made.mkdir()
        for image in tally(images, lost, holds=("outline", "grade")):
            path = (made / image.name).with_suffix(".geojson")
            if path.exists():
                raise DataError(f"'{image.name}': another picture has its name; rename one")
            path.parent.mkdir(parents=True, exist_ok=True)
            features = [_feature(image, row) for row in range(len(image.labels))]
            document = {"type": "FeatureCollection", "features": features}
            path.write_text(json.dumps(document, ensure_ascii=False, allow_nan=False), "utf-8")
    return describe_losses(lost, title="GeoJSON")


def _feature(image: LabelledImage, row: int) -> dict[str, Any]:
    labels = image.labels
    name, grade, outline = labels.class_names[row], int(labels.grades[row]), labels.outlines[row]
    parts = [name, None if grade == UNGRADED else INTENSITIES[grade]]
    path_class = ": ".join(part for part in parts if part)
    if split_class(path_class or None) != (name, NOT_MEASURABLE if grade == UNGRADED else grade):
        raise DataError(
            f"'{image.name}': QuPath takes the class '{name}' for an intensity; rename it with"
            " --class"
        )
    shape = shapely.Point(labels.points[row]) if outline is None else outline
    properties: dict[str, Any] = {"objectType": "detection"}
    if path_class:
        properties["classification"] = {"name": path_class}
    return {
        "type": "Feature",
        "geometry": shapely.geometry.mapping(shape),
        "properties": properties,
    }
