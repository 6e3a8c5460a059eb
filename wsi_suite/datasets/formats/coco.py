"""COCO JSON for object detection: pictures, classes, boxes and polygons.

What COCO has no place for stands under the key ``wsi_suite`` of pictures and annotations, which
other programs pass over.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from wsi_suite.datasets.extents import boxes_of
from wsi_suite.datasets.formats import ReadOptions, WriteOptions
from wsi_suite.datasets.labelled_image import (
    UNGRADED,
    LabelledImage,
    Shape,
    labels_of_outlines,
    nucleus_labels,
    polygon_of,
)
from wsi_suite.datasets.pictures import find_pictures, picture_size
from wsi_suite.datasets.run_lengths import outline_of_runs
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file

_OURS = "wsi_suite"
_FAULTS = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of a COCO file.

    The nucleus of an annotation is its polygons; without them, the box, whose centre and mean
    half side become point and radius. The pictures lie in ``options.images``, else in ``images/``
    beside the file, else beside it. What is marked as a crowd is no nucleus: it is taken out of
    the part of its picture in which every nucleus is labelled.
    """
    document = _parse(source)
    try:
        classes = {one["id"]: str(one["name"]) for one in document.get("categories", [])}
        listed = {one["id"]: one for one in document["images"]}
        by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        for one in document.get("annotations", []):
            by_image[one["image_id"]].append(one)
        names = [str(one["file_name"]) for one in listed.values()]
    except _FAULTS as error:
        raise DataError(
            f"{source}: not as COCO has it ({_reason(error)}); expected images, annotations and"
            " categories"
        ) from None
    for image_id in by_image.keys() - listed.keys():
        raise DataError(f"{source}: annotations of picture {image_id!r}, which is not listed")
    if len(set(names)) < len(names) or len(listed) < len(document["images"]):
        raise DataError(f"{source}: a picture is listed twice; keep one of them")
    folder = options.images or (
        source.parent / "images" if (source.parent / "images").is_dir() else source.parent
    )
    found = find_pictures(folder, names, source=source, tell=options.tell)
    by_text = {text: (name, path) for name, (path, texts) in found.items() for text in texts}
    crowds = sum(bool(one.get("iscrowd")) for some in by_image.values() for one in some)
    if crowds:
        options.tell(f"{source}: {crowds:,} crowds, in which no single nucleus is labelled")
    ordered = sorted((by_text[str(one["file_name"])], key) for key, one in listed.items())
    for (name, path), key in ordered:
        yield _image(
            listed[key],
            by_image.get(key, []),
            classes,
            name=name,
            file=path,
            source=source,
            mpp=options.mpp,
        )


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write a COCO file; pictures are named, not copied."""
    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    classes: dict[str, int] = {}
    holes = 0
    for image in images:
        holes += sum(
            outline is not None and _has_holes(outline) for outline in image.labels.outlines
        )
        listed.append(_image_entry(image, number=len(listed) + 1))
        boxes = boxes_of(image, radius_um=options.radius_um)
        for row, box in enumerate(boxes.tolist()):
            entry = _annotation(image, row, box, classes)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": len(listed), "iscrowd": 0, **entry}
            )
    document = {
        "images": listed,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in classes.items()],
    }
    with whole_file(out) as made:
        made.write_text(json.dumps(document, ensure_ascii=False, allow_nan=False), "utf-8")
    return [f"{holes:,} outlines have holes, which other programs do not see"] if holes else []


def _image_entry(image: LabelledImage, *, number: int) -> dict[str, Any]:
    facts = {
        "mpp": image.mpp,
        "patient": image.patient,
        "slide": image.slide,
        "laboratory": image.laboratory,
        "stain": image.stain,
        "split": image.split,
        "corner_px0": image.corner_px0,
        "annotated": None if image.annotated is None else shapely.to_wkt(image.annotated, -1),
    }
    return {
        "id": number,
        "file_name": image.name,
        "width": image.size_px[0],
        "height": image.size_px[1],
        _OURS: {key: value for key, value in facts.items() if value is not None},
    }


def _annotation(
    image: LabelledImage, row: int, box: list[float], classes: dict[str, int]
) -> dict[str, Any]:
    labels = image.labels
    name, outline, radius = labels.class_names[row], labels.outlines[row], labels.radii_px[row]
    if name is None:
        raise DataError(f"'{image.name}': a nucleus without class; name it with --class")
    left, top, right, bottom = box
    facts = {
        "point": labels.points[row].tolist(),
        "radius_px": None if np.isnan(radius) else float(radius),
        "grade": None if labels.grades[row] == UNGRADED else int(labels.grades[row]),
        "annotator": labels.annotators[row],
        "outline": shapely.to_wkt(outline, -1)
        if outline is not None and _has_holes(outline)
        else None,
    }
    return {
        "category_id": classes.setdefault(name, len(classes) + 1),
        "bbox": [left, top, right - left, bottom - top],
        "area": float(outline.area if outline is not None else (right - left) * (bottom - top)),
        "segmentation": [] if outline is None else _rings(outline),
        _OURS: {key: value for key, value in facts.items() if value is not None},
    }


def _has_holes(outline: Shape | None) -> bool:
    return any(len(part.interiors) for part in shapely.get_parts(outline))


def _rings(outline: Shape) -> list[list[float]]:
    """Return the outer rings, each as x, y, x, y ... without its first vertex again."""
    return [
        shapely.get_coordinates(part.exterior)[:-1].ravel().tolist()
        for part in shapely.get_parts(outline)
    ]


def _image(
    listed: Mapping[str, Any],
    annotations: list[Mapping[str, Any]],
    classes: Mapping[Any, str],
    *,
    name: str,
    file: Path,
    source: Path,
    mpp: float | None,
) -> LabelledImage:
    try:
        facts = listed.get(_OURS) or {}
        size = int(listed["width"]), int(listed["height"])
        stated = facts.get("mpp") or (None if mpp is None else (mpp, mpp))
        part = facts.get("annotated")
        crowds = [_outline(one, {}, size) for one in annotations if one.get("iscrowd")]
        rows = [_nucleus(one, classes, size) for one in annotations if not one.get("iscrowd")]
        image = LabelledImage(
            name=name,
            size_px=size,
            mpp=None if stated is None else (float(stated[0]), float(stated[1])),
            labels=nucleus_labels(
                [row["point"] for row in rows],
                [row["class"] for row in rows],
                radii_px=[row["radius_px"] for row in rows],
                outlines=[row["outline"] for row in rows],
                annotators=[row["annotator"] for row in rows],
                grades=[row["grade"] for row in rows],
            ),
            file=file,
            patient=_text(facts, "patient"),
            slide=_text(facts, "slide"),
            laboratory=_text(facts, "laboratory"),
            stain=_text(facts, "stain"),
            split=_text(facts, "split"),
            corner_px0=tuple(facts["corner_px0"]) if facts.get("corner_px0") else None,
            annotated=_annotated(None if part is None else shapely.from_wkt(part), crowds, size),
        )
    except (*_FAULTS, shapely.errors.ShapelyError) as error:
        raise DataError(
            f"{source}: picture '{listed.get('file_name')}' or one of its annotations is not as"
            f" COCO has it ({_reason(error)})"
        ) from None
    if picture_size(file) != size:
        raise DataError(
            f"{source}: '{name}' is said to have {size[0]} x {size[1]} px, but {file} has"
            f" {' x '.join(map(str, picture_size(file)))}"
        )
    return image


def _annotated(
    part: Shape | None, crowds: list[Shape | None], size: tuple[int, int]
) -> Shape | None:
    """Return the part of a picture in which every nucleus is labelled: all but its crowds."""
    if not any(crowds):
        return part
    left = (shapely.box(0, 0, *size) if part is None else part).difference(
        shapely.union_all([crowd for crowd in crowds if crowd is not None])
    )
    areas = [one for one in shapely.get_parts(left) if isinstance(one, Polygon)]
    return areas[0] if len(areas) == 1 else MultiPolygon(areas)


def _nucleus(
    one: Mapping[str, Any], classes: Mapping[Any, str], size: tuple[int, int]
) -> dict[str, Any]:
    """Return the columns of an annotation."""
    if one["category_id"] not in classes:
        raise ValueError(f"category {one['category_id']} is not listed")
    facts = one.get(_OURS) or {}
    outline = _outline(one, facts, size)
    if outline is not None:
        of_outline = labels_of_outlines([outline], [None])
        point, radius = of_outline.points[0].tolist(), float(of_outline.radii_px[0])
    else:
        left, top, width, height = map(float, one["bbox"])
        point, radius = [left + width / 2, top + height / 2], (width + height) / 4
        if facts:  # of ours: without a radius the box was drawn about a stated one
            radius = facts.get("radius_px", np.nan)
    return {
        "point": facts.get("point", point),
        "class": classes[one["category_id"]],
        "radius_px": facts.get("radius_px", radius),
        "outline": outline,
        "annotator": _text(facts, "annotator"),
        "grade": facts.get("grade", UNGRADED),
    }


def _outline(
    one: Mapping[str, Any], facts: Mapping[str, Any], size: tuple[int, int]
) -> Shape | None:
    if "outline" in facts:
        outline: Shape = shapely.from_wkt(facts["outline"])
        return outline
    drawn = one.get("segmentation") or []
    if isinstance(drawn, Mapping):
        return outline_of_runs(drawn, size=size)
    rings = [np.array(ring, np.float64).reshape(-1, 2) for ring in drawn]
    parts = [polygon_of(ring) for ring in rings if len(ring) >= 3]
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]  # it may cross itself: the check of all formats repairs it
    whole = shapely.make_valid(shapely.union_all(shapely.make_valid(np.array(parts, np.object_))))
    areas = [part for part in shapely.get_parts(whole) if isinstance(part, Polygon)]
    return areas[0] if len(areas) == 1 else MultiPolygon(areas) if areas else None


def _parse(source: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(source.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{source}: not JSON that can be read ({reason}); export it again"
        ) from None
    if not isinstance(document, dict) or "images" not in document:
        raise DataError(f"{source}: JSON, but not COCO; expected images, annotations, categories")
    return document


def _text(facts: Mapping[str, Any], key: str) -> str | None:
    value = facts.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} {value!r}, expected a text")
    return value


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"no {said}" if isinstance(error, KeyError) else said
