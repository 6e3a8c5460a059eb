"""Corrected fields of QuPath projects, as ``wsi-suite pull`` or QuPath's script writes them.

A field is an annotation with an area in which every nucleus is right: found and not deleted,
corrected, or added. Its pixels are cut out of the slide. What lies in the cut-out but not in the
field is painted white, so that no nucleus without label stands there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import shapely
from PIL import Image
from scipy.spatial import cKDTree
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from wsi_suite.datasets.formats import ReadOptions
from wsi_suite.datasets.labelled_image import UNGRADED, LabelledImage, nucleus_labels
from wsi_suite.datasets.matching import MATCH_UM
from wsi_suite.errors import DataError, RegionError
from wsi_suite.files import file_names
from wsi_suite.geometry import Box, Roi
from wsi_suite.nuclei.table import NOT_MEASURABLE
from wsi_suite.qupath.labels import LARGEST_NUCLEUS_UM2, Labels, join_labels, read_labels
from wsi_suite.qupath.objects import FIELD_TO_DO
from wsi_suite.qupath.rois import read_rois
from wsi_suite.scoring.regions import IGNORED_CLASS
from wsi_suite.slides.listing import slides_in
from wsi_suite.slides.slide import Slide, open_slide

LARGEST_PX = 1024
"""Longest side of a cut-out; larger fields become several."""

_WHITE = 255
_SAME_PLACE_PX0 = 0.1  # pull writes an added outline into both files


@dataclass(frozen=True)
class PulledImage:
    """Files of one image of a project.

    Attributes
    ----------
    name
        Of its folder or file.
    annotations, nuclei
        GeoJSON of the annotations and of the nuclei; it may be one file.
    """

    name: str
    annotations: Path
    nuclei: Path


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the fields of all images in a folder of ``pull``, or of the script's files.

    Parameters
    ----------
    source
        Holds ``<image>/annotations.geojson`` and ``<image>/nuclei.geojson``, or
        ``<image>.geojson``.
    options
        ``images`` is the folder of the slides, by default that of `source`; ``fields`` is the
        class of the annotations that are fields, by default any but ``Ignore*`` and the fields
        of ``dataset sample`` that are not done.

    Raises
    ------
    DataError
        There is no field, or an image's slide is not found.
    """
    if options.scratch is None:
        raise ValueError("fields are cut out of slides: options.scratch must name a folder")
    pulled = list_pulled(source)
    slides = slides_by_name(options.images or source)
    found = 0
    for image in pulled:
        path = find_slide(image, slides, source=source)
        with open_slide(path, mpp=options.mpp) as slide:
            fields, ignored = _fields(image, slide, class_name=options.fields, tell=options.tell)
            labels = _labels(image, mpp=math.sqrt(math.prod(slide.mpp)))
            for number, field in enumerate(fields, start=1):
                for part in _parts(field):
                    found += 1
                    yield _cut(
                        slide,
                        part,
                        labels,
                        name=f"{image.name}/{number:03}_{part.box.y:07}_{part.box.x:07}.png",
                        slide_name=image.name,
                        ignored=ignored,
                        file=options.scratch / f"{found}.png",
                    )
    if not found:
        of_class = f" of class '{options.fields}'" if options.fields else " with an area"
        raise DataError(
            f"{source}: no annotation{of_class}; draw one in QuPath around what was corrected"
        )


def list_pulled(source: Path) -> list[PulledImage]:
    """Return the images in a folder of ``pull``, or of QuPath's script, by name.

    Raises
    ------
    DataError
        There is none.
    """
    folders = sorted(source.glob("*/annotations.geojson"))
    pulled = [
        PulledImage(path.parent.name, path, path.with_name("nuclei.geojson")) for path in folders
    ]
    if not pulled:
        files = sorted(source.glob("*.geojson"))
        pulled = [PulledImage(path.stem, path, path) for path in files]
    if not pulled:
        raise DataError(
            f"{source}: holds no <image>/annotations.geojson as 'wsi-suite pull' writes it, nor"
            " <image>.geojson as QuPath's script does"
        )
    return sorted(pulled, key=lambda image: f"{image.name}/")  # as their pictures are sorted


def slides_by_name(folder: Path) -> dict[str, list[Path]]:
    """Return the slides of a folder by the names that pulled images of them may have."""
    found: dict[str, list[Path]] = {}
    for path in slides_in(folder).slides:
        for name in {path.name, path.stem, *file_names([path.name]), *file_names([path.stem])}:
            found.setdefault(name, []).append(path)
    return found


def find_slide(image: PulledImage, slides: dict[str, list[Path]], *, source: Path) -> Path:
    """Return the slide of a pulled image.

    Raises
    ------
    DataError
        There is none of its name, or there are several.
    """
    found = slides.get(image.name) or slides.get(Path(image.name).stem) or []
    if len(found) != 1:
        wrong = "several slides have" if found else "no slide has"
        raise DataError(
            f"{source}: {wrong} the name of the image '{image.name}'; give the folder of the"
            " slides as --images"
        )
    return found[0]


@dataclass(frozen=True)
class _Part:
    """A cut-out: a box of level-0 pixels, and the area of the field in it."""

    box: Box
    area: BaseGeometry


def _labels(image: PulledImage, *, mpp: float) -> Labels:
    """Return the nuclei of an image, those too that stand among the annotations alone.

    ``pull`` counts an annotation as an added nucleus only if it is of a class that nuclei have; a
    small outline of any other class, or of none, is a nucleus here. So is a point, unless it has
    no class and lies on a nucleus: QuPath's tool for counting makes such points.
    """
    labels = read_labels(image.nuclei, mpp=mpp)
    if image.annotations == image.nuclei:
        return labels
    drawn = read_labels(image.annotations, mpp=mpp)
    if not len(drawn):
        return labels
    if not len(labels):
        return drawn
    near, _ = cKDTree(labels.points).query(drawn.points)
    counted = [
        name is None and shape.area == 0
        for name, shape in zip(drawn.class_names, drawn.shapes, strict=True)
    ]
    within = np.where(counted, MATCH_UM / mpp, _SAME_PLACE_PX0)
    return join_labels([labels, drawn.take(np.flatnonzero(near > within))])


def _fields(
    image: PulledImage, slide: Slide, *, class_name: str | None, tell: Callable[[str], None]
) -> tuple[list[Roi], BaseGeometry]:
    """Return the fields of an image, and the area that is ignored."""
    try:
        rois: Sequence[Roi] = read_rois(image.annotations)
    except RegionError as error:
        if "no annotation with an area" not in str(error):
            raise
        rois = ()
    smallest = LARGEST_NUCLEUS_UM2 / math.prod(slide.mpp)
    ignored = shapely.union_all([roi.area for roi in rois if roi.class_name == IGNORED_CLASS])
    fields = [
        roi
        for roi in rois
        if roi.class_name != IGNORED_CLASS
        and roi.area.area > smallest
        and (class_name is None or roi.class_name == class_name)
    ]
    if class_name is None:
        waiting = [roi for roi in fields if roi.class_name == FIELD_TO_DO]
        fields = [roi for roi in fields if roi.class_name != FIELD_TO_DO]
        if waiting:
            tell(f"{image.name}: {len(waiting)} fields of class '{FIELD_TO_DO}' are left out")
    return fields, ignored


def _parts(field: Roi) -> Iterator[_Part]:
    """Yield the cut-outs of a field: its bounding box, in parts of at most 1024 px."""
    left, top, right, bottom = field.area.bounds
    left, top, right, bottom = (
        *(math.floor(left), math.floor(top)),
        *(math.ceil(right), math.ceil(bottom)),
    )
    for y in _steps(top, bottom):
        for x in _steps(left, right):
            box = Box(x[0], y[0], x[1] - x[0], y[1] - y[0])
            area = field.area.intersection(shapely.box(box.x, box.y, box.right, box.bottom))
            if area.area > 0:
                yield _Part(box, area)


def _steps(start: int, end: int) -> list[tuple[int, int]]:
    """Return parts of equal length, as few as may be."""
    count = max(1, math.ceil((end - start) / LARGEST_PX))
    borders = np.linspace(start, end, count + 1).round().astype(int).tolist()
    return list(pairwise(borders))


def _cut(
    slide: Slide,
    part: _Part,
    labels: Labels,
    *,
    name: str,
    slide_name: str,
    ignored: BaseGeometry,
    file: Path,
) -> LabelledImage:
    """Return a cut-out with the nuclei that lie in it, its pixels in `file`."""
    box, area = part.box, part.area.difference(ignored)
    corner = np.array([box.x, box.y], np.float64)
    rgb = slide.read_level(0, box)
    rows, columns = np.mgrid[0 : box.height, 0 : box.width]
    shapely.prepare(area)
    inside = shapely.contains_xy(area, columns + 0.5 + box.x, rows + 0.5 + box.y)
    rgb = np.where(inside[..., None], rgb, np.uint8(_WHITE))
    Image.fromarray(rgb).save(file)
    shapes = labels.shapes
    owned = shapely.intersects_xy(area, labels.points) & (
        (labels.points >= corner) & (labels.points < (box.right, box.bottom))
    ).all(axis=1)
    kept = np.flatnonzero(owned)
    sizes = shapely.area(shapes[kept])
    grades = np.where(labels.grades[kept] == NOT_MEASURABLE, UNGRADED, labels.grades[kept])
    moved = shapely.transform(shapes[kept], lambda xy: xy - corner)
    whole = bool(inside.all())
    return LabelledImage(
        name=name,
        size_px=(box.width, box.height),
        mpp=slide.mpp,
        labels=nucleus_labels(
            labels.points[kept] - corner,
            [labels.class_names[row] for row in kept],
            radii_px=np.where(sizes > 0, np.sqrt(sizes / np.pi), np.nan),
            outlines=[one if size > 0 else None for one, size in zip(moved, sizes, strict=True)],
            grades=grades,
        ),
        file=file,
        slide=slide_name,
        corner_px0=(float(box.x), float(box.y)),
        annotated=None if whole else _areas(shapely.transform(area, lambda xy: xy - corner)),
    )


def _areas(shape: BaseGeometry) -> MultiPolygon:
    parts = shapely.get_parts(shape)
    return MultiPolygon([one for one in parts if one.geom_type == "Polygon" and one.area > 0])
