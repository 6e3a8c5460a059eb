"""Label Studio's JSON: tasks with key points, rectangles, ellipses, polygons, brush masks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import Polygon

from wsi_suite.datasets.brush_masks import read_brush
from wsi_suite.datasets.formats import ReadOptions, WriteOptions
from wsi_suite.datasets.instances import outlines_of_map
from wsi_suite.datasets.labelled_image import (
    LabelledImage,
    Shape,
    join_labels,
    nucleus_labels,
    polygon_of,
)
from wsi_suite.datasets.losses import describe_losses, tally
from wsi_suite.datasets.pictures import IMAGE_SUFFIXES, find_pictures, picture_size
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file

_ELLIPSE_VERTICES = 64
_FAULTS = (
    *(KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError),
    shapely.errors.ShapelyError,
)
_KINDS = ("keypoint", "rectangle", "ellipse", "polygon", "brush")
_HOLES = "holes of outlines"
_UPLOAD_MARK = 8  # hexadecimal digits that Label Studio puts before the name of an upload


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of an export (JSON or JSON-MIN has no annotators; take JSON).

    Places are percent of the picture. Annotations that were cancelled are left out; several of one
    task are several annotators'. Tasks without annotation are left out, as nobody has looked there.
    """
    tasks = _parse(source)
    folder = options.images or (
        source.parent / "images" if (source.parent / "images").is_dir() else source.parent
    )
    try:
        done = [task for task in tasks if any(map(_counts, task["annotations"]))]
        by_text = {_picture_of(task, folder): task for task in done}
        kinds = Counter(
            str(one.get("type"))
            for task in done
            for annotation in filter(_counts, task["annotations"])
            for one in annotation["result"]
            if _kind(one) not in _KINDS
        )
    except _FAULTS as error:
        raise DataError(
            f"{source}: a task without picture or annotations ({error}); export as JSON"
        ) from None
    if len(by_text) < len(done):
        raise DataError(f"{source}: a picture has two tasks; keep one of them")
    if len(done) < len(tasks):
        options.tell(f"{source}: {len(tasks) - len(done):,} tasks without annotation are left out")
    if kinds:
        said = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        options.tell(f"{source}: left out, as they are no nuclei: {said}")
    found = find_pictures(folder, by_text, source=source, tell=options.tell)
    ordered = sorted((name, text) for name, (_, texts) in found.items() for text in texts)
    for name, text in ordered:
        size = picture_size(found[name][0])
        try:
            labels = [_labels(one, size) for one in by_text[text]["annotations"] if _counts(one)]
        except _FAULTS as error:
            raise DataError(
                f"{source}: the task of '{name}' is not as Label Studio has it"
                f" ({' '.join(str(error).split())})"
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

    An outline of several parts becomes a point. The labelling interface needs ``KeyPointLabels``
    called ``points`` and ``PolygonLabels`` called ``outlines``, on an ``Image`` called ``image``.
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
                "result": [_result(image, row, lost) for row in rows],
            }
            for who, rows in (groups or {None: []}).items()
        ]
        tasks.append({"data": {"image": image.name}, "annotations": annotations})
    with whole_file(out) as made:
        made.write_text(json.dumps(tasks, ensure_ascii=False, allow_nan=False), "utf-8")
    said = describe_losses(lost, title="Label Studio")
    if lost[_HOLES]:
        said.append(f"Label Studio does not hold the holes of outlines: lost for {lost[_HOLES]:,}")
    return said


def _result(image: LabelledImage, row: int, lost: Counter[str]) -> dict[str, Any]:
    labels, size = image.labels, np.array(image.size_px, np.float64)
    name, outline = labels.class_names[row], labels.outlines[row]
    if name is None:
        raise DataError(f"'{image.name}': a nucleus without class; name it with --class")
    if outline is not None and not isinstance(outline, Polygon):
        lost["outline"] += 1
        outline = None
    lost[_HOLES] += outline is not None and len(outline.interiors) > 0
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
    kind, value = _kind(one), one["value"]
    size = np.round(scale * 100).astype(int).tolist()
    said = [one.get("original_width", size[0]), one.get("original_height", size[1])]
    if kind in _KINDS and said != size:
        raise ValueError(
            f"said to have {said[0]} x {said[1]} px, but the picture has {size[0]} x {size[1]};"
            " one that is turned by its EXIF tag has to be saved upright first"
        )
    match kind:
        case "keypoint":
            return (np.array([value["x"], value["y"]]) * scale).tolist(), np.nan, None
        case "rectangle":  # turned about its top left corner
            half = np.array([value["width"], value["height"]]) * scale / 2
            corner = np.array([value["x"], value["y"]]) * scale
            centre = corner + _turned(half, value.get("rotation", 0))
            return centre.tolist(), float(half.mean()), None
        case "ellipse":
            angle = 2 * np.pi * np.arange(_ELLIPSE_VERTICES) / _ELLIPSE_VERTICES
            radii = np.array([value["radiusX"], value["radiusY"]]) * scale
            ring = np.column_stack([np.cos(angle), np.sin(angle)]) * radii
            centre = np.array([value["x"], value["y"]]) * scale
            outline: Shape = polygon_of(_turned(ring, value.get("rotation", 0)) + centre)
        case "polygon":
            outline = polygon_of(np.array(value["points"]) * scale)
        case "brush":
            mask = read_brush(value["rle"], size=(size[0], size[1]))
            if not mask.any():
                raise ValueError("a brush mask without pixels")
            outline = outlines_of_map(mask.astype(np.uint8))[1]
        case _:
            return None
    place = outline.centroid
    return [place.x, place.y], float(np.sqrt(outline.area / np.pi)), outline


def _turned(xy: npt.NDArray[np.float64], degrees: float) -> npt.NDArray[np.float64]:
    """Return places turned clockwise about the origin, as they are seen in the picture."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turned: npt.NDArray[np.float64] = xy @ np.array([[cos, sin], [-sin, cos]])
    return turned


def _kind(one: Mapping[str, Any]) -> str:
    return str(one.get("type", "")).removesuffix("labels")


def _class(one: Mapping[str, Any]) -> str | None:
    names = one["value"].get(str(one["type"])) or one["value"].get("labels") or []
    return str(names[0]) if names else None


def _counts(annotation: Mapping[str, Any]) -> bool:
    return not annotation.get("was_cancelled")


def _picture_of(task: Mapping[str, Any], folder: Path) -> str:
    """Return the name of the picture of a task: the first value of its data that names one."""
    texts = [value for value in task["data"].values() if isinstance(value, str)]
    names = [_bare_name(text, folder) for text in texts]
    pictures = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    return (pictures or names)[0]


def _bare_name(text: str, folder: Path) -> str:
    """Return the path of a picture in a URL, without the mark that Label Studio gives uploads."""
    if (folder / text).is_file():
        return text
    url = urlparse(text)
    local = parse_qs(url.query).get("d")  # /data/local-files/?d=dir/a.png
    path = local[0] if local else unquote(url.path or text)
    name = PurePosixPath(path).name
    mark, dash, rest = name.partition("-")
    is_mark = len(mark) == _UPLOAD_MARK and all(one in "0123456789abcdef" for one in mark)
    return rest if dash and is_mark and not (folder / name).is_file() else path


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
