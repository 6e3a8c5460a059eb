"""YOLO as Ultralytics has it: ``data.yaml``, ``images/`` and one text file a picture.

A line is a class number and four shares of the picture's size (centre and size of a box), or, for
segmentation, a class number and the vertices of a polygon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import yaml
from shapely.geometry import Polygon

from wsi_suite.datasets.extents import boxes_of
from wsi_suite.datasets.formats import ReadOptions, WriteOptions
from wsi_suite.datasets.formats.yolo_folder import PARTS, labels_of, list_yolo_pictures
from wsi_suite.datasets.labelled_image import LabelledImage, NucleusLabels, Shape, nucleus_labels
from wsi_suite.datasets.losses import SPLIT, describe_losses, tally
from wsi_suite.datasets.pictures import copy_picture, picture_size
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file
from wsi_suite.yaml_files import YamlError, parse_yaml

_DATA = "data.yaml"
_CUT = "outlines that are cut"


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures below ``images/`` and of the parts of ``data.yaml``, with their labels.

    A picture without label file is one without nuclei, as in YOLO.
    """
    content = _read_data(source / _DATA)
    classes = _classes_of(content, source / _DATA)
    listed = list_yolo_pictures(source, content, images=options.images, tell=options.tell)
    unlabelled = sum(not one.labels.is_file() for one in listed)
    if unlabelled:
        options.tell(f"{source}: {unlabelled:,} pictures without label file are without nuclei")
    for one in listed:
        size = picture_size(one.file)
        yield LabelledImage(
            name=one.name,
            size_px=size,
            mpp=None if options.mpp is None else (options.mpp, options.mpp),
            labels=_read_labels(one.labels, classes, size=size),
            file=one.file,
            split=one.split,
        )


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write pictures, boxes (polygons where all nuclei of a picture are outlined) and classes.

    If every picture is in train, val or test, these are lists of pictures, else each is all.
    """
    lost: Counter[str] = Counter()
    classes: dict[str, int] = {}
    parts: dict[str | None, list[str]] = {}
    with whole_file(out) as made:
        for part in ("images", "labels"):
            (made / part).mkdir(parents=True)
        for image in tally(images, lost, holds=("outline", "radius", SPLIT)):
            parts.setdefault(image.split, []).append(image.name)
            if image.file is None:
                raise DataError(f"'{image.name}' has labels only; give its picture, too")
            picture = made / "images" / image.name
            labels = made / labels_of(Path("images", image.name))
            if labels.exists():
                raise DataError(f"'{image.name}': another picture has its name; rename one")
            for path in (picture, labels):
                path.parent.mkdir(parents=True, exist_ok=True)
            copy_picture(image.file, picture)
            rings = _rings(image)
            if rings is None:
                lost["outline"] += sum(one is not None for one in image.labels.outlines)
                boxes = boxes_of(image, radius_um=options.radius_um)
                sides = boxes[:, 2:] - boxes[:, :2]
                lost[_CUT] += int((sides > image.size_px).any(axis=1).sum())
            else:
                both = zip(rings, image.labels.outlines, strict=True)
                lost[_CUT] += sum(ring is not outline for ring, outline in both)
            lines = _lines(image, rings, classes, radius_um=options.radius_um)
            labels.write_text(lines, "utf-8")
        document = {
            "path": ".",
            **_write_parts(parts, made, lost),
            "names": {number: name for name, number in classes.items()},
        }
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        (made / _DATA).write_text(text, "utf-8")
    said = describe_losses(lost, title="YOLO")
    if lost["outline"]:
        said.append(
            f"{lost['outline']:,} outlined nuclei are boxes, whose centres are their places"
        )
    if lost[_CUT]:
        said.append(
            f"{lost[_CUT]:,} outlines or boxes are cut, as YOLO takes none beyond their picture"
        )
    return said


def _write_parts(
    parts: dict[str | None, list[str]], made: Path, lost: Counter[str]
) -> dict[str, str]:
    """Write the lists of pictures of the parts; return their entries in ``data.yaml``."""
    if not parts or not set(parts) <= set(PARTS):
        lost[SPLIT] += sum(len(names) for part, names in parts.items() if part)
        return {"train": "images", "val": "images"}
    for part, names in parts.items():
        (made / f"{part}.txt").write_text("".join(f"./images/{one}\n" for one in names), "utf-8")
    return {part: f"{part}.txt" for part in PARTS if part in parts}


def _rings(image: LabelledImage) -> list[Polygon] | None:
    """Return the outlines cut at the border of the picture; ``None`` if one is no single ring."""
    frame = shapely.box(0, 0, *image.size_px)
    rings = []
    for outline in image.labels.outlines:
        if outline is None:
            return None
        ring = outline if frame.covers(outline) else outline.intersection(frame)
        if not isinstance(ring, Polygon) or ring.interiors or not ring.area:
            return None
        rings.append(ring)
    return rings


def _lines(
    image: LabelledImage,
    rings: list[Polygon] | None,
    classes: dict[str, int],
    *,
    radius_um: float | None,
) -> str:
    labels = image.labels
    if None in labels.class_names:
        raise DataError(f"'{image.name}': a nucleus without class; name it with --class")
    numbers = [classes.setdefault(str(name), len(classes)) for name in labels.class_names]
    size = np.array(image.size_px, np.float64)
    if rings is not None:
        rows = [(shapely.get_coordinates(ring)[:-1] / size).ravel().tolist() for ring in rings]
    else:
        boxes = boxes_of(image, radius_um=radius_um)
        low, high = boxes[:, :2], boxes[:, 2:]
        rows = np.hstack([(low + high) / 2 / size, np.minimum((high - low) / size, 1)]).tolist()
    return "".join(
        f"{number} {' '.join(map(repr, row))}\n" for number, row in zip(numbers, rows, strict=True)
    )


def _read_labels(path: Path, classes: dict[int, str], *, size: tuple[int, int]) -> NucleusLabels:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None
    points, names, radii = [], [], []
    outlines: list[Shape | None] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        value, shares = _numbers(line, where=f"{path}:{number}")
        if value not in classes:
            known = ", ".join(f"{key} {name}" for key, name in sorted(classes.items()))
            raise DataError(f"{path}:{number}: class {value} is not in {_DATA} ({known})")
        names.append(classes[value])
        scaled = np.array(shares).reshape(-1, 2) * size
        if len(scaled) == 2:
            points.append(scaled[0])
            radii.append(float(scaled[1].mean()) / 2)
            outlines.append(None)
        else:
            outline = Polygon(scaled)
            points.append(np.array(outline.centroid.coords[0]) if outline.area else scaled[0])
            radii.append(float(np.sqrt(outline.area / np.pi)))
            outlines.append(outline)
    return nucleus_labels(np.array(points), names, radii_px=radii, outlines=outlines)


def _numbers(line: str, *, where: str) -> tuple[int, list[float]]:
    first, *rest = line.split()
    try:
        value, shares = int(first), [float(one) for one in rest]
    except ValueError:
        value, shares = -1, []
    if value < 0 or not (len(shares) == 4 or (len(shares) >= 6 and len(shares) % 2 == 0)):
        raise DataError(
            f"{where}: '{line.strip()[:60]}' is not a class and the four numbers of a box, or the"
            " vertices of a polygon"
        )
    if not all(-0.001 <= share <= 1.001 for share in shares):
        raise DataError(f"{where}: expected shares of the picture's size, from 0 to 1")
    return value, shares


def _read_data(path: Path) -> dict[str, Any]:
    try:
        content: Any = parse_yaml(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; it names the classes") from None
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: no classes; expected a list under 'names'")
    return content


def _classes_of(content: dict[str, Any], path: Path) -> dict[int, str]:
    try:
        names = content["names"]
        pairs = enumerate(names) if isinstance(names, list) else names.items()
        return {int(key): str(name) for key, name in pairs}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(
            f"{path}: no classes under 'names'; expected a list, or names by number"
        ) from None
