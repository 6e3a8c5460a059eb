"""What QuPath 0.4 - 0.7 demands of a GeoJSON file that it shall import as detections."""

from __future__ import annotations

import gzip
import json
import uuid
from pathlib import Path
from typing import Any

from shapely.geometry import shape

GEOMETRIES = {"Point", "Polygon"}


def read_detections(path: Path) -> list[dict[str, Any]]:
    """Return the features of a file after checking every rule that QuPath breaks on."""
    content = path.read_bytes()
    document = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    assert document["type"] == "FeatureCollection"
    assert len(document["features"]) <= 50_000, "a larger file exhausts QuPath's memory"
    for feature in document["features"]:
        assert feature["type"] == "Feature"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        check_geometry(feature["geometry"])
        check_properties(feature["properties"])
    ids = [feature["id"] for feature in document["features"]]
    places = {centre_text(feature) for feature in document["features"]}
    assert len(set(ids)) >= len(places)
    return document["features"]


def check_geometry(geometry: dict[str, Any]) -> None:
    assert geometry["type"] in GEOMETRIES
    drawn = shape(geometry)
    assert drawn.is_valid, "QuPath 0.6 aborts the whole file"
    if geometry["type"] == "Polygon":
        (ring,) = geometry["coordinates"]
        assert ring[0] == ring[-1]
        assert drawn.area > 0
        if geometry.get("isEllipse"):
            assert len(ring) == 5


def check_properties(properties: dict[str, Any]) -> None:
    assert properties["objectType"] == "detection"
    assert "object_type" not in properties
    classification = properties["classification"]
    assert isinstance(classification["name"], str)
    assert len(classification["color"]) == 3, "a class without colour aborts the whole file"
    assert all(type(value) is int and 0 <= value <= 255 for value in classification["color"])
    for name, value in properties["measurements"].items():
        assert isinstance(name, str)
        assert value == "NaN" or isinstance(value, int | float), "null is dropped with a warning"
    assert all(isinstance(value, str) for value in properties.get("metadata", {}).values())


def centre_text(feature: dict[str, Any]) -> str:
    return json.dumps(feature["geometry"]["coordinates"])
