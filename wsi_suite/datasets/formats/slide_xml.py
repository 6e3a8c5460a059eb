"""XML of annotations on pictures: Aperio ImageScope's, and ASAP's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from wsi_suite.datasets.formats import ReadOptions
from wsi_suite.datasets.labelled_image import LabelledImage, Shape, nucleus_labels, polygon_of
from wsi_suite.datasets.per_picture import labelled_pictures
from wsi_suite.datasets.pictures import picture_size
from wsi_suite.errors import DataError

Drawn = tuple[str | None, list[tuple[float, float]]]
"""Class and vertices of what was drawn; one vertex is a point."""

_DOT_PX = 1.0


def read_xml(source: Path, options: ReadOptions, *, kind: str) -> Iterator[LabelledImage]:
    """Yield the pictures of a folder of ``<picture>.xml``.

    Parameters
    ----------
    source
        A file, or a folder of files.
    options
        As of all formats.
    kind
        ``asap`` or ``imagescope``.
    """
    parse = {"asap": _asap, "imagescope": _imagescope}[kind]
    for name, path, file in labelled_pictures(
        source, (".xml",), images=options.images, tell=options.tell
    ):
        try:
            root = ET.parse(file).getroot()
            drawn, mpp = parse(root)
            shapes = [_shape(vertices) for _, vertices in drawn]
        except (OSError, ET.ParseError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{file}: not as {kind} writes it ({reason})") from None
        scale = mpp or options.mpp
        yield LabelledImage(
            name=name,
            size_px=picture_size(path),
            mpp=None if scale is None else (scale, scale),
            labels=nucleus_labels(
                [
                    vertices[0] if shape is None or not shape.area else shape.centroid.coords[0]
                    for (_, vertices), shape in zip(drawn, shapes, strict=True)
                ],
                [class_name for class_name, _ in drawn],
                radii_px=[
                    np.nan if shape is None else float(np.sqrt(shape.area / np.pi))
                    for shape in shapes
                ],
                outlines=shapes,
            ),
            file=path,
        )


def _shape(vertices: list[tuple[float, float]]) -> Shape | None:
    """Return the outline, ``None`` for a point."""
    if not vertices:
        raise ValueError("an annotation without coordinates")
    low, high = np.min(vertices, axis=0), np.max(vertices, axis=0)
    if not np.isfinite([low, high]).all():
        raise ValueError(f"x {vertices[0][0]:g}, y {vertices[0][1]:g} is no place")
    if len(vertices) < 3 or (high - low).max() < _DOT_PX:
        return None
    return polygon_of(vertices)  # it may cross itself: the check of all formats repairs it


def _asap(root: ET.Element) -> tuple[list[Drawn], float | None]:
    """Read ASAP's XML: annotations with a group, and ordered coordinates."""
    if root.tag != "ASAP_Annotations":
        raise ValueError(f"its root is {root.tag}")
    drawn: list[Drawn] = []
    for annotation in root.iter("Annotation"):
        found = sorted(annotation.iter("Coordinate"), key=lambda one: int(one.attrib["Order"]))
        vertices = [(float(one.attrib["X"]), float(one.attrib["Y"])) for one in found]
        group = annotation.get("PartOfGroup")
        name = None if group in (None, "None", "") else group
        if annotation.get("Type") in ("Dot", "PointSet"):
            drawn += [(name, [vertex]) for vertex in vertices]
        else:
            drawn.append((name, vertices))
    return drawn, None


def _imagescope(root: ET.Element) -> tuple[list[Drawn], float | None]:
    """Read ImageScope's XML: layers of regions, and um per pixel."""
    if root.tag != "Annotations":
        raise ValueError(f"its root is {root.tag}")
    stated = root.get("MicronsPerPixel")
    drawn: list[Drawn] = []
    for layer in root.iter("Annotation"):
        named = next(
            (one.get("Value") for one in layer.iter("Attribute") if one.get("Value")), None
        )
        name = layer.get("Name") or named
        for region in layer.iter("Region"):
            vertices = [
                (float(one.attrib["X"]), float(one.attrib["Y"])) for one in region.iter("Vertex")
            ]
            if region.get("NegativeROA") != "1":
                drawn.append((name, vertices))
    return drawn, float(stated) if stated else None
