"""The checker refuses what QuPath would refuse."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qupath_rules import BrokenRule, read_objects

GOOD: dict[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "6c84fb90-12c4-11e1-840d-7b25c5ee775a",
            "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]},
            "properties": {
                "objectType": "detection",
                "classification": {"name": "Stroma: 1+", "color": [255, 215, 0]},
                "measurements": {"Nucleus: DAB OD mean": 0.25},
                "metadata": {"_source": "wsi-suite 0.1.0"},
            },
        }
    ],
}


def at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change: set the value at a path such as ``properties/name``."""
    *parents, last = path.split("/")

    def change(feature: dict[str, Any]) -> None:
        inner = feature
        for key in parents:
            inner = inner[key]
        inner[last] = value

    return change


def ring(*points: Any) -> Callable[[dict[str, Any]], None]:
    return at("geometry/coordinates", [list(points)])


def written(folder: Path, document: object) -> Path:
    path = folder / "n.geojson.gz"
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    return path


def test_a_good_file_passes(tmp_path: Path) -> None:
    assert read_objects(written(tmp_path, GOOD)) == GOOD["features"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (at("type", "feature"), "no Feature"),
        (at("extra", 1), "members"),
        (at("id", "nucleus 1"), "ignored"),
        (at("id", "6C84FB90-12C4-11E1-840D-7B25C5EE775A"), "lower case"),
        (at("id", "6c84fb90-12c4-11e1-040d-7b25c5ee775a"), "RFC 9562"),
        (at("geometry/type", "LineString"), "no shape"),
        (ring([0, 0], [9, 0], [0, 0]), "four positions"),
        (ring([0, 0], [9, 0], [9, 9], [0, 9]), "closed"),
        (ring([0, 0], [9, 9], [9, 0], [0, 9], [0, 0]), "aborts the whole file"),
        (ring([0, 0], [9, 0], [4, 0], [0, 0]), "aborts the whole file"),
        (ring([2e5, 0], [2e5 + 1e-3, 0], [2e5, 1], [2e5, 0]), "single precision"),
        (ring([0, 0], [9, 0], [9, float("nan")], [0, 0]), "NaN is not JSON"),
        (ring([0, 0], [9, 0], [9, float("inf")], [0, 0]), "Infinity is not JSON"),
        (ring([0, 0], [9, 0], [9, "9"], [0, 0]), "coordinates are numbers"),
        (ring([0, 0], [9, 0], [9, None], [0, 0]), "coordinates are numbers"),
        (ring([0, 0, 0], [9, 0, 0], [9, 9, 0], [0, 0, 0]), "x and y"),
        (at("geometry/isEllipse", True), "fills its bounds"),
        (at("properties/objectType", "nucleus"), "another type"),
        (at("properties/object_type", "detection"), "object_type"),
        (at("properties/nucleus", 1), "does not know"),
        (at("properties/name", None), "null as a name"),
        (at("properties/isLocked", "true"), "locked or not"),
        (at("properties/classification", "Stroma: 1+"), "has no colour"),
        (at("properties/classification", {"name": "Stroma"}), "without colour"),
        (at("properties/classification", {"name": None, "color": [0, 0, 0]}), "has a name"),
        (at("properties/classification", {"name": "", "color": [0, 0, 0]}), "parts"),
        (at("properties/classification", {"name": "Stroma:1+", "color": [0, 0, 0]}), "parts"),
        (at("properties/classification", {"name": "A\nb", "color": [0, 0, 0]}), "one line"),
        (at("properties/classification", {"name": "A", "color": [0, 0, 256]}), "8-bit"),
        (at("properties/classification", {"name": "A", "color": [0, 0, 0.5]}), "8-bit"),
        (at("properties/classification", {"name": "A", "color": [0, 0]}), "three channels"),
        (at("properties/measurements/a", None), "null is dropped"),
        (at("properties/measurements/a", "NaN"), "in 0.4"),
        (at("properties/measurements/a", float("nan")), "NaN is not JSON"),
        (at("properties/measurements/a", True), "is a number"),
        (at("properties/measurements/ ", 1), "has a name"),
        (at("properties/metadata/_source", 1), "are texts"),
        (at("properties/metadata/source", "wsi-suite"), "columns"),
    ],
)
def test_each_rule_is_checked(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], rule: str
) -> None:
    document = copy.deepcopy(GOOD)
    change(document["features"][0])
    with pytest.raises(BrokenRule, match=rule):
        read_objects(written(tmp_path, document))


def test_an_id_is_for_one_object(tmp_path: Path) -> None:
    with pytest.raises(BrokenRule, match="an id comes twice"):
        read_objects(written(tmp_path, GOOD | {"features": GOOD["features"] * 2}))


def test_files_are_small(tmp_path: Path) -> None:
    with pytest.raises(BrokenRule, match="memory"):
        read_objects(written(tmp_path, GOOD | {"features": GOOD["features"] * 50_001}))


def test_a_key_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "n.geojson"
    path.write_text('{"type": "FeatureCollection", "features": [], "features": []}')
    with pytest.raises(BrokenRule, match="a key comes twice"):
        read_objects(path)


def test_other_names_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "n.txt"
    path.write_text(json.dumps(GOOD))
    with pytest.raises(BrokenRule, match="name"):
        read_objects(path)
