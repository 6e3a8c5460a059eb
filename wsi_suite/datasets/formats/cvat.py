"""CVAT for images 1.1: the XML of a task, with points, boxes, ellipses and polygons."""

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
from wsi_suite.datasets.labelled_image import (
    UNGRADED,
    LabelledImage,
    Shape,
    nucleus_labels,
)
from wsi_suite.datasets.losses import describe_losses, tally
from wsi_suite.datasets.pictures import find_pictures, picture_size
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file

_FAULTS = (KeyError, TypeError, ValueError, AttributeError, IndexError)
_ELLIPSE_VERTICES = 64
_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
_GRADES = {str(grade): grade for grade in range(4)}


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of a CVAT file.

    Each point of a set of points is a nucleus. Boxes, which people draw about nuclei, give centre
    and radius; ellipses and polygons give outlines. Tags, lines and what is marked as outside are
    left out. The pictures lie in ``options.images``, else in ``images/`` beside the file.
    """
    listed = _parse(source)
    names = [element.get("name", "") for element in listed]
    if len(set(names)) < len(names):
        raise DataError(f"{source}: a picture is listed twice; export the task again")
    folder = options.images or (
        source.parent / "images" if (source.parent / "images").is_dir() else source.parent
    )
    found = find_pictures(folder, names, source=source)
    by_text = {text: (name, path) for name, (path, texts) in found.items() for text in texts}
    for element in sorted(listed, key=lambda one: by_text[one.get("name", "")][0]):
        name, path = by_text[element.get("name", "")]
        yield _image(element, name=name, file=path, source=source, mpp=options.mpp)


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write the XML that CVAT imports into a task with the same pictures.

    Outlined nuclei are polygons, the others points; grade and annotator are attributes.
    """
    del options
    lost: Counter[str] = Counter()
    with whole_file(out) as made, made.open("w", encoding="utf-8") as file:
        file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        )
        held = ("outline", "grade", "annotator")
        for number, image in enumerate(tally(images, lost, holds=held)):
            width, height = map(str, image.size_px)
            place = {"id": str(number), "name": image.name, "width": width, "height": height}
            element = ET.Element("image", place)
            element.extend([_element(image, row) for row in range(len(image.labels))])
            file.write(ET.tostring(element, encoding="unicode") + "\n")
        file.write("</annotations>\n")
    return describe_losses(lost, title="CVAT")


def _element(image: LabelledImage, row: int) -> ET.Element:
    """Return the polygon or the point of a nucleus."""
    labels = image.labels
    name, outline = labels.class_names[row], labels.outlines[row]
    if name is None:
        raise DataError(f"'{image.name}': a nucleus without class; name it with --class")
    if outline is not None and not isinstance(outline, Polygon):
        raise DataError(f"'{image.name}': an outline of several parts, which CVAT does not hold")
    kind, drawn = "points", labels.points[row : row + 1]
    if outline is not None:
        kind, drawn = "polygon", shapely.get_coordinates(outline.exterior)[:-1]
    text = ";".join(f"{x!r},{y!r}" for x, y in drawn.tolist())
    element = ET.Element(kind, {"label": name, "occluded": "0", "points": text, "z_order": "0"})
    grade, annotator = int(labels.grades[row]), labels.annotators[row]
    facts = {"grade": None if grade == UNGRADED else str(grade), "annotator": annotator}
    for key, value in facts.items():
        if value is not None:
            ET.SubElement(element, "attribute", {"name": key}).text = value
    return element


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
        raise DataError(f"{source}: picture '{name}' is not as CVAT has it ({error})") from None
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
            outline = _ellipse(drawn) if drawn.tag == "ellipse" else Polygon(_vertices(drawn))
            if not outline.is_valid or not outline.area:
                raise ValueError(f"a {drawn.tag} crosses itself, or has no area")
            centre = outline.centroid
            yield [centre.x, centre.y], float(np.sqrt(outline.area / np.pi)), outline


def _vertices(drawn: ET.Element) -> list[list[float]]:
    pairs = [pair.split(",") for pair in drawn.attrib["points"].split(";") if pair]
    return [[float(x), float(y)] for x, y in pairs]


def _ellipse(drawn: ET.Element) -> Polygon:
    cx, cy, rx, ry = (float(drawn.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
    angle = 2 * np.pi * np.arange(_ELLIPSE_VERTICES) / _ELLIPSE_VERTICES
    outline = Polygon(np.column_stack([cx + rx * np.cos(angle), cy + ry * np.sin(angle)]))
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
