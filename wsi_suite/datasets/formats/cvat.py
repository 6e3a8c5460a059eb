"""CVAT for images 1.1: the XML of a task, with points, boxes, ellipses, polygons and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import shapely
from shapely.affinity import rotate
from shapely.geometry import Point, Polygon, box

from wsi_suite.datasets.formats import ReadOptions, WriteOptions
from wsi_suite.datasets.instances import map_of_outlines
from wsi_suite.datasets.labelled_image import (
    UNGRADED,
    LabelledImage,
    Shape,
    nucleus_labels,
    polygon_of,
)
from wsi_suite.datasets.losses import describe_losses, tally
from wsi_suite.datasets.pictures import find_pictures, picture_size
from wsi_suite.datasets.run_lengths import outline_of_rows, rows_of_mask
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file

_FAULTS = (
    *(KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError),
    shapely.errors.ShapelyError,
)
_ELLIPSE_VERTICES = 64
_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
_KINDS = ("points", "box", "ellipse", "polygon", "mask")
_ROUGH = "shape of a mask"


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of a CVAT file.

    Each point of a set of points is a nucleus. Boxes, which people draw about nuclei, give centre
    and radius; ellipses, polygons and masks give outlines. Tags, lines and others are left out and
    counted. The pictures lie in ``options.images``, else in ``images/`` beside the file.
    """
    listed = _parse(source)
    names = [element.get("name", "") for element in listed]
    if len(set(names)) < len(names):
        raise DataError(f"{source}: a picture is listed twice; export the task again")
    folder = options.images or (
        source.parent / "images" if (source.parent / "images").is_dir() else source.parent
    )
    kinds = Counter(drawn.tag for element in listed for drawn in element if drawn.tag not in _KINDS)
    if kinds:
        said = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        options.tell(f"{source}: left out, as they are no nuclei: {said}")
    found = find_pictures(folder, names, source=source, tell=options.tell)
    by_text = {text: (name, path) for name, (path, texts) in found.items() for text in texts}
    for element in sorted(listed, key=lambda one: by_text[one.get("name", "")][0]):
        name, path = by_text[element.get("name", "")]
        yield _image(element, name=name, file=path, source=source, mpp=options.mpp)


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write the XML that CVAT imports into a task with the same pictures.

    Outlined nuclei are polygons, or masks if they have holes or several parts; the others are
    points. Grade and annotator are attributes.
    """
    del options
    lost: Counter[str] = Counter()
    with whole_file(out) as made, made.open("w", encoding="utf-8") as file:
        file.write(_HEAD)
        held = ("outline", "grade", "annotator")
        for number, image in enumerate(tally(images, lost, holds=held)):
            width, height = map(str, image.size_px)
            place = {"id": str(number), "name": image.name, "width": width, "height": height}
            element = ET.Element("image", place)
            element.extend([_element(image, row, lost) for row in range(len(image.labels))])
            file.write(ET.tostring(element, encoding="unicode") + "\n")
        file.write("</annotations>\n")
    said = describe_losses(lost, title="CVAT")
    if lost[_ROUGH]:
        said.append(
            f"{lost[_ROUGH]:,} outlines with holes or of several parts are masks in CVAT, whose"
            " borders follow the pixels"
        )
    return said


def _element(image: LabelledImage, row: int, lost: Counter[str]) -> ET.Element:
    """Return the polygon, the mask or the point of a nucleus."""
    labels = image.labels
    name, outline = labels.class_names[row], labels.outlines[row]
    if name is None:
        raise DataError(f"'{image.name}': a nucleus without class; name it with --class")
    whole = isinstance(outline, Polygon) and not outline.interiors
    mask = None if outline is None or whole else _mask(outline, image.size_px)
    if mask is not None:
        place, is_exact = mask
        element = ET.Element("mask", {"label": name, "occluded": "0", **place, "z_order": "0"})
        lost[_ROUGH] += not is_exact
    else:
        kind, drawn = "points", labels.points[row : row + 1]
        if isinstance(outline, Polygon) and whole:
            kind, drawn = "polygon", shapely.get_coordinates(outline.exterior)[:-1]
        lost["outline"] += outline is not None and not whole  # it holds the centre of no pixel
        text = ";".join(f"{x!r},{y!r}" for x, y in drawn.tolist())
        element = ET.Element(kind, {"label": name, "occluded": "0", "points": text, "z_order": "0"})
    grade, annotator = int(labels.grades[row]), labels.annotators[row]
    facts = {"grade": None if grade == UNGRADED else str(grade), "annotator": annotator}
    for key, value in facts.items():
        if value is not None:
            ET.SubElement(element, "attribute", {"name": key}).text = value
    return element


def _mask(outline: Shape, size: tuple[int, int]) -> tuple[dict[str, str], bool] | None:
    """Return the attributes of a mask, and whether it is just the outline; ``None`` if empty."""
    inside = map_of_outlines(np.array([outline], np.object_), size) > 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return None
    left, top = int(columns[0]), int(rows[0])
    part = inside[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    counts = rows_of_mask(part)
    height, width = part.shape
    written = outline_of_rows(counts, corner=(left, top), size=(width, height))
    values = {"left": left, "top": top, "width": width, "height": height}
    text = {"rle": ", ".join(map(str, counts)), **{key: str(one) for key, one in values.items()}}
    return text, outline.equals(written)


def _image(
    element: ET.Element, *, name: str, file: Path, source: Path, mpp: float | None
) -> LabelledImage:
    points: list[list[float]] = []
    names: list[str | None] = []
    radii: list[float] = []
    outlines: list[Shape | None] = []
    grades: list[int] = []
    annotators: list[str | None] = []
    try:
        size = int(element.attrib["width"]), int(element.attrib["height"])
        for drawn in element:
            for point, radius, outline in _nuclei(drawn):
                facts = {one.get("name", ""): (one.text or "").strip() for one in drawn}
                points.append(point)
                radii.append(radius)
                outlines.append(outline)
                names.append(drawn.get("label") or None)
                grades.append(
                    int(facts["grade"]) if facts.get("grade") in list("0123") else UNGRADED
                )
                annotators.append(facts.get("annotator") or None)
    except _FAULTS as error:
        raise DataError(
            f"{source}: picture '{name}' is not as CVAT has it ({_said(error)})"
        ) from None
    if picture_size(file) != size:
        raise DataError(
            f"{source}: '{name}' is said to have {size[0]} x {size[1]} px, but {file} has"
            f" {' x '.join(map(str, picture_size(file)))}"
        )
    return LabelledImage(
        name=name,
        size_px=size,
        mpp=None if mpp is None else (mpp, mpp),
        labels=nucleus_labels(
            points, names, radii_px=radii, outlines=outlines, grades=grades, annotators=annotators
        ),
        file=file,
    )


def _said(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"no {said}" if isinstance(error, KeyError) else said


def _nuclei(drawn: ET.Element) -> Iterator[tuple[list[float], float, Shape | None]]:
    """Yield point, radius and outline of the nuclei that an element stands for."""
    match drawn.tag:
        case "points":
            for point in _vertices(drawn):
                yield point, np.nan, None
        case "box":
            left, top, right, bottom = (
                float(drawn.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr")
            )
            centre = box(left, top, right, bottom).centroid
            yield [centre.x, centre.y], (right - left + bottom - top) / 4, None
        case "ellipse" | "polygon":
            yield _outlined(
                _ellipse(drawn) if drawn.tag == "ellipse" else polygon_of(_vertices(drawn))
            )
        case "mask":
            left, top, width, height = (
                int(float(drawn.attrib[key])) for key in ("left", "top", "width", "height")
            )
            counts = [int(one) for one in drawn.attrib["rle"].split(",") if one.strip()]
            outline = outline_of_rows(counts, corner=(left, top), size=(width, height))
            if outline is None:
                raise ValueError("a mask without pixels")
            yield _outlined(outline)


def _outlined(outline: Shape) -> tuple[list[float], float, Shape]:
    """Return point, radius and outline of a nucleus; the outline may still cross itself."""
    centre = outline.centroid
    return [centre.x, centre.y], float(np.sqrt(outline.area / np.pi)), outline


def _vertices(drawn: ET.Element) -> list[list[float]]:
    pairs = [pair.split(",") for pair in drawn.attrib["points"].split(";") if pair]
    return [[float(x), float(y)] for x, y in pairs]


def _ellipse(drawn: ET.Element) -> Polygon:
    cx, cy, rx, ry = (float(drawn.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
    angle = 2 * np.pi * np.arange(_ELLIPSE_VERTICES) / _ELLIPSE_VERTICES
    outline = polygon_of(np.column_stack([cx + rx * np.cos(angle), cy + ry * np.sin(angle)]))
    turned: Polygon = rotate(outline, float(drawn.get("rotation", 0)), origin=Point(cx, cy))
    return turned


def _parse(source: Path) -> list[ET.Element]:
    try:
        root = ET.parse(source).getroot()
    except (OSError, ET.ParseError) as error:
        raise DataError(f"{source}: not XML that can be read ({error}); export it again") from None
    found = root.findall("image")
    if root.tag != "annotations" or not found:
        tracks = root.find("track") is not None
        wanted = "a video's tracks; export as 'CVAT for images 1.1'" if tracks else "not CVAT's XML"
        raise DataError(f"{source}: {wanted}")
    return found
