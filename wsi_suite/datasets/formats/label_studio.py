"""Label Studio's JSON: tasks with key points, rectangles, ellipses and polygons, in percent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import shapely
from shapely.geometry import Polygon

from wsi_suite.datasets.formats import ReadOptions, WriteOptions
from wsi_suite.datasets.labelled_image import LabelledImage, Shape, join_labels, nucleus_labels
from wsi_suite.datasets.losses import describe_losses, tally
from wsi_suite.datasets.pictures import find_pictures, picture_size
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file

_ELLIPSE_VERTICES = 64
_FAULTS = (KeyError, TypeError, ValueError, AttributeError, IndexError)
_UPLOAD_MARK = 8  # hexadecimal digits that Label Studio puts before the name of an upload


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of an export (JSON or JSON-MIN has no annotators; take JSON).

    Annotations that were cancelled are left out; several of one task are several annotators'.
    """
    tasks = _parse(source)
    folder = options.images or (
        source.parent / "images" if (source.parent / "images").is_dir() else source.parent
    )
    try:
        by_text = {_picture_of(task): task for task in tasks}
    except _FAULTS as error:
        raise DataError(f"{source}: a task without picture ({error})") from None
    if len(by_text) < len(tasks):
        raise DataError(f"{source}: a picture has two tasks; keep one of them")
    found = find_pictures(folder, _bare_names(by_text, folder), source=source)
    names = {text: name for name, (_, texts) in found.items() for text in texts}
    ordered = sorted((names[_bare_name(text, folder)], text) for text in by_text)
    for name, text in ordered:
        size = picture_size(found[name][0])
        try:
            labels = [_labels(one, size) for one in by_text[text]["annotations"] if _counts(one)]
        except _FAULTS as error:
            raise DataError(
                f"{source}: the task of '{name}' is not as Label Studio has it ({error})"
            ) from None
        yield LabelledImage(
            name=name,
            size_px=size,
            mpp=None if options.mpp is None else (options.mpp, options.mpp),
            labels=join_labels(labels),
            file=found[name][0],
        )


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write tasks that Label Studio imports; pictures are named, not copied.

    The labelling interface needs ``KeyPointLabels`` called ``points`` and ``PolygonLabels`` called
    ``outlines``, on an ``Image`` called ``image``.
    """
    del options
    lost: Counter[str] = Counter()
    tasks = []
    for image in tally(images, lost, holds=("outline", "annotator")):
        groups: dict[str | None, list[int]] = {}
        for row, who in enumerate(image.labels.annotators):
            groups.setdefault(who, []).append(row)
        annotations = [
            {
                **({} if who is None else {"completed_by": {"email": who}}),
                "result": [_result(image, row) for row in rows],
            }
            for who, rows in (groups or {None: []}).items()
        ]
        tasks.append({"data": {"image": image.name}, "annotations": annotations})
    with whole_file(out) as made:
        made.write_text(json.dumps(tasks, ensure_ascii=False, allow_nan=False), "utf-8")
    return describe_losses(lost, title="Label Studio")


def _result(image: LabelledImage, row: int) -> dict[str, Any]:
    labels, size = image.labels, np.array(image.size_px, np.float64)
    name, outline = labels.class_names[row], labels.outlines[row]
    if name is None:
        raise DataError(f"'{image.name}': a nucleus without class; name it with --class")
    if outline is not None and not isinstance(outline, Polygon):
        raise DataError(f"'{image.name}': an outline of several parts, which it does not hold")
    width, height = image.size_px
    common = {
        "from_name": "points" if outline is None else "outlines",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
    }
    if outline is None:
        x, y = (labels.points[row] / size * 100).tolist()
        value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}
        return {**common, "type": "keypointlabels", "value": value}
    points = (shapely.get_coordinates(outline.exterior)[:-1] / size * 100).tolist()
    value = {"points": points, "closed": True, "polygonlabels": [name]}
    return {**common, "type": "polygonlabels", "value": value}


def _labels(annotation: Mapping[str, Any], size: tuple[int, int]) -> Any:  # noqa: ANN401
    who = annotation.get("completed_by")
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id")
    points, names, radii = [], [], []
    outlines: list[Shape | None] = []
    for one in annotation["result"]:
        drawn = _nucleus(one, np.array(size, np.float64) / 100)
        if drawn is not None:
            point, radius, outline = drawn
            points.append(point)
            radii.append(radius)
            outlines.append(outline)
            names.append(_class(one))
    return nucleus_labels(
        points,
        names,
        radii_px=radii,
        outlines=outlines,
        annotators=None if who is None else str(who),
    )


def _nucleus(
    one: Mapping[str, Any],
    scale: Any,  # noqa: ANN401
) -> tuple[list[float], float, Shape | None] | None:
    """Return point, radius and outline of a result; ``None`` if it is none of a nucleus."""
    value = one["value"]
    match str(one.get("type", "")).removesuffix("labels"):
        case "keypoint":
            return (np.array([value["x"], value["y"]]) * scale).tolist(), np.nan, None
        case "rectangle":
            half = np.array([value["width"], value["height"]]) * scale / 2
            centre = np.array([value["x"], value["y"]]) * scale + half
            return centre.tolist(), float(half.mean()), None
        case "ellipse":
            angle = 2 * np.pi * np.arange(_ELLIPSE_VERTICES) / _ELLIPSE_VERTICES
            radii = np.array([value["radiusX"], value["radiusY"]]) * scale
            ring = np.column_stack([np.cos(angle), np.sin(angle)]) * radii
            turn = np.deg2rad(value.get("rotation", 0))
            cos, sin = np.cos(turn), np.sin(turn)
            ring = ring @ np.array([[cos, sin], [-sin, cos]])
            outline = Polygon(ring + np.array([value["x"], value["y"]]) * scale)
        case "polygon":
            outline = Polygon(np.array(value["points"]) * scale)
        case _:
            return None
    if not outline.is_valid or not outline.area:
        raise ValueError("an outline crosses itself, or has no area")
    point = [outline.centroid.x, outline.centroid.y]
    return point, float(np.sqrt(outline.area / np.pi)), outline


def _class(one: Mapping[str, Any]) -> str | None:
    names = one["value"].get(one["type"]) or one["value"].get("labels") or []
    return str(names[0]) if names else None


def _counts(annotation: Mapping[str, Any]) -> bool:
    return not annotation.get("was_cancelled")


def _picture_of(task: Mapping[str, Any]) -> str:
    """Return the path of the picture of a task: the first value of its data that names a file."""
    texts = [str(value) for value in task["data"].values() if isinstance(value, str)]
    return unquote(urlparse(texts[0]).path or texts[0])


def _bare_names(texts: Iterable[str], folder: Path) -> list[str]:
    return [_bare_name(text, folder) for text in texts]


def _bare_name(text: str, folder: Path) -> str:
    """Return the name of a picture without the mark that Label Studio gives uploads."""
    if (folder / text).is_file():
        return text
    name = PurePosixPath(text).name
    mark, dash, rest = name.partition("-")
    is_mark = len(mark) == _UPLOAD_MARK and all(one in "0123456789abcdef" for one in mark)
    return rest if dash and is_mark and not (folder / name).is_file() else name


def _parse(source: Path) -> list[Mapping[str, Any]]:
    try:
        content = json.loads(source.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{source}: no readable JSON ({reason}); export it again") from None
    if not isinstance(content, list) or not all(
        isinstance(one, dict) and "data" in one and "annotations" in one for one in content
    ):
        raise DataError(f"{source}: JSON, but not tasks of Label Studio; export as JSON")
    return content
