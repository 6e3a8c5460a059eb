"""What QuPath 0.4 - 0.7 demands of a GeoJSON file, so that it imports all of it without a warning.

Each rule raises :class:`BrokenRule`. They are stricter than QuPath where one of its versions is.
"""

from __future__ import annotations

import gzip
import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from shapely import transform
from shapely.geometry import shape

OBJECT_TYPES = {"annotation", "detection", "cell", "tile", "tmaCore", "root"}
PROPERTIES = {
    *("objectType", "classification", "measurements", "metadata"),
    *("name", "color", "isLocked", "isMissing"),
}


class BrokenRule(AssertionError):  # noqa: N818 - it is no error of ours
    """QuPath would refuse, warn of or drop this."""


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Return the features of a file after checking every rule."""
    document = strict_json(unpacked(path))
    require(isinstance(document, dict), "not an object")
    require(document.get("type") == "FeatureCollection", "no FeatureCollection")
    features = document["features"]
    require(len(features) <= 50_000, "a larger file exhausts QuPath's memory")
    for feature in features:
        check_feature(feature)
    ids = [feature["id"] for feature in features]
    require(len(set(ids)) == len(ids), "an id comes twice")
    return features


def require(holds: bool, rule: str) -> None:
    if not holds:
        raise BrokenRule(rule)


def unpacked(path: Path) -> str:
    name, content = path.name, path.read_bytes()
    if name.endswith(".gz"):
        name, content = name.removesuffix(".gz"), gzip.decompress(content)
    require(name.endswith((".geojson", ".json")), "QuPath goes by the file's name")
    return content.decode("utf-8")


def strict_json(text: str) -> Any:
    """Parse JSON without what only some parsers take: NaN, infinities, a key that comes twice."""

    def constant(name: str) -> None:
        raise BrokenRule(f"{name} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        require(len(dict(pairs)) == len(pairs), "a key comes twice")
        return dict(pairs)

    return json.loads(text, parse_constant=constant, object_pairs_hook=unique)


def check_feature(feature: dict[str, Any]) -> None:
    require(feature["type"] == "Feature", "no Feature")
    require(set(feature) <= {"type", "id", "geometry", "nucleusGeometry", "properties"}, "members")
    check_id(feature["id"])
    check_geometry(feature["geometry"])
    check_properties(feature["properties"])


def check_id(text: str) -> None:
    try:
        given = uuid.UUID(text)
    except ValueError:
        raise BrokenRule("an id that is no UUID is ignored") from None
    require(str(given) == text, "QuPath writes UUIDs in lower case with dashes")
    require(given.variant == uuid.RFC_4122, "no UUID of RFC 9562")


def check_geometry(geometry: dict[str, Any]) -> None:
    kind = geometry["type"]
    require(kind in ("Point", "Polygon", "MultiPoint", "MultiPolygon"), "no shape of a nucleus")
    for x, y in positions(geometry["coordinates"]):
        require(math.isfinite(x) and math.isfinite(y), "coordinates are finite numbers")
    for ring in rings(geometry):
        require(len(ring) >= 4, "a ring has four positions or more")
        require(ring[0] == ring[-1], "a ring is closed")
    drawn = shape(geometry)
    require(drawn.is_valid, "QuPath 0.6 aborts the whole file")
    if kind in ("Polygon", "MultiPolygon"):
        require(transform(drawn, single_precision).area > 0, "an area, in single precision too")
    if geometry.get("isEllipse"):
        require(kind == "Polygon" and drawn.equals(drawn.envelope), "an ellipse fills its bounds")


def single_precision(vertices: np.ndarray) -> np.ndarray:
    return vertices.astype(np.float32).astype(np.float64)


def positions(coordinates: Any) -> Iterator[tuple[float, float]]:
    if coordinates and not isinstance(coordinates[0], list):
        require(len(coordinates) == 2, "a position is x and y")
        require(all(is_number(value) for value in coordinates), "coordinates are numbers")
        yield tuple(coordinates)
        return
    for part in coordinates:
        yield from positions(part)


def rings(geometry: dict[str, Any]) -> list[list[list[float]]]:
    coordinates = geometry["coordinates"]
    if geometry["type"] == "Polygon":
        return coordinates
    if geometry["type"] == "MultiPolygon":
        return [ring for polygon in coordinates for ring in polygon]
    return []


def check_properties(properties: dict[str, Any]) -> None:
    require("object_type" not in properties, "'object_type' is warned of: 'objectType'")
    require(set(properties) <= PROPERTIES, "a property that QuPath does not know")
    require(properties["objectType"] in OBJECT_TYPES, "another type is warned of")
    if "classification" in properties:
        check_classification(properties["classification"])
    if "isLocked" in properties:
        require(isinstance(properties["isLocked"], bool), "locked or not")
    if "name" in properties:
        require(isinstance(properties["name"], str), "null as a name aborts the whole file")
    for name, value in properties.get("measurements", {}).items():
        require(bool(name.strip()), "a measurement has a name")
        require(value is not None, "null is dropped with a warning")
        require(not isinstance(value, str), "a text, 'NaN' too, aborts the whole file in 0.4")
        require(is_number(value), "a measurement is a number")
    for key, value in properties.get("metadata", {}).items():
        require(isinstance(value, str), "metadata are texts")
        require(key.startswith("_"), "other metadata are columns of measurement tables")


def check_classification(classification: Any) -> None:
    require(isinstance(classification, dict), "a text has no colour")
    require(set(classification) == {"name", "color"}, "a name without colour aborts the whole file")
    name, colour = classification["name"], classification["color"]
    require(isinstance(name, str), "a class has a name")
    parts = name.split(": ")
    require(all(part and part == part.strip() and ":" not in part for part in parts), "': ' parts")
    require("\n" not in name, "a class is one line")
    require(len(colour) == 3, "three channels")
    require(all(type(value) is int and 0 <= value <= 255 for value in colour), "8-bit channels")


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
