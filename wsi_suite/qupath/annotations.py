"""Annotations of ours as GeoJSON that QuPath 0.4 - 0.7 imports: circles, rectangles and areas."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_suite.files import whole_file
from wsi_suite.qupath.objects import PathClass

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "wsi-suite annotation")


@dataclass(frozen=True)
class Annotation:
    """A rectangle, the ellipse that fills it, or an area with these bounds.

    Attributes
    ----------
    name, path_class
        As QuPath shows them; ``None`` for no class.
    left, top, right, bottom
        Bounds, level-0 pixels.
    is_ellipse
        Whether it is the ellipse.
    area
        The area, in place of the rectangle, level-0 pixels.
    measurements
        By their names.
    """

    name: str
    path_class: PathClass | None
    left: float
    top: float
    right: float
    bottom: float
    is_ellipse: bool = False
    measurements: Mapping[str, float] = field(default_factory=dict)
    area: MultiPolygon | None = None


def write_annotations(
    annotations: Sequence[Annotation],
    path: Path,
    *,
    origin: Mapping[str, str],
    locked: bool = True,
    about: Mapping[str, object] | None = None,
) -> None:
    """Write annotations as one GeoJSON file; ids follow from name, class and place.

    Parameters
    ----------
    annotations
        The annotations; without any the collection is empty.
    path
        The file, replaced in one step.
    origin
        Metadata that tells ours from other people's; see
        :func:`~wsi_suite.qupath.objects.origin_of`. Empty for regions of interest, which belong
        to whoever asked for them.
    locked
        Whether QuPath protects them from changes.
    about
        Members of the collection beside its features; QuPath does not read them.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    features = [
        json.dumps(_feature(one, origin, locked=locked), ensure_ascii=False) for one in annotations
    ]
    members = json.dumps({"type": "FeatureCollection", **(about or {})}, ensure_ascii=False)
    with whole_file(path) as partial:
        partial.write_text(
            members[:-1] + ', "features": [\n' + ",\n".join(features) + "\n]}\n",
            encoding="utf-8",
        )


def _feature(annotation: Annotation, origin: Mapping[str, str], *, locked: bool) -> dict[str, Any]:
    bounds = [annotation.left, annotation.top, annotation.right, annotation.bottom]
    left, top, right, bottom = (round(value, 2) for value in bounds)
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    geometry: dict[str, Any] = {"type": "Polygon", "coordinates": [ring]}
    if annotation.area is not None:
        geometry = _outline(annotation.area)
    if annotation.is_ellipse:
        geometry["isEllipse"] = True  # QuPath's own mark: the ellipse that fills the rectangle
    path_class = annotation.path_class
    class_name = path_class.name if path_class else ""
    key = f"{annotation.name},{class_name},{left},{top},{right},{bottom}"
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": annotation.name,
        "isLocked": locked,
    }
    if path_class is not None:
        properties["classification"] = {"name": path_class.name, "color": path_class.colour}
    properties |= {"measurements": annotation.measurements, "metadata": origin}
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, key)),
        "geometry": geometry,
        "properties": properties,
    }


def _outline(area: MultiPolygon) -> dict[str, Any]:
    polygons = [
        [
            [[round(x, 2), round(y, 2)] for x, y in ring.coords]
            for ring in (polygon.exterior, *polygon.interiors)
        ]
        for polygon in area.geoms
    ]
    return {"type": "MultiPolygon", "coordinates": polygons}
