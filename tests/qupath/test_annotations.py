"""Annotations of ours as GeoJSON."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import numpy as np
import pytest

from wsi_suite.errors import RegionError
from wsi_suite.qupath.annotations import Annotation, write_annotations
from wsi_suite.qupath.objects import PathClass
from wsi_suite.qupath.reading import read_objects
from wsi_suite.qupath.rois import read_rois
from wsi_suite.qupath.shapes import shapes_of

ORIGIN = {"_source": "wsi-suite 0.1.0"}
CLASS = PathClass("Epithelium: Hotspot", (200, 120, 20))
CIRCLE = Annotation("Hotspot 1", CLASS, 10, 20, 50.004, 60, True, {"wsi-suite: nuclei": 7})
SQUARE = Annotation("Größe", PathClass("Ki-67 field", (1, 2, 3)), 0, 0, 4, 3)


def test_shapes_names_and_classes_come_back(tmp_path: Path) -> None:
    path = tmp_path / "hotspots.geojson"
    write_annotations([CIRCLE, SQUARE], path, origin=ORIGIN)
    circle, square = read_objects(path, refusal=RegionError)
    assert (circle.kind, circle.name, circle.class_name) == (
        "annotation",
        "Hotspot 1",
        "Epithelium: Hotspot",
    )
    assert (square.name, square.locked) == ("Größe", True)
    shapes = shapes_of([circle, square], path=path, refusal=RegionError)
    assert shapes[0].bounds == pytest.approx((10, 20, 50, 60))
    assert shapes[0].area == pytest.approx(np.pi * 20**2, rel=1e-3)
    assert shapes[1].area == 12
    features = json.loads(path.read_text("utf-8"))["features"]
    assert features[0]["properties"]["measurements"] == {"wsi-suite: nuclei": 7}
    assert features[0]["properties"]["classification"]["color"] == [200, 120, 20]
    assert len({uuid.UUID(feature["id"]) for feature in features}) == 2


def test_none_of_them_is_taken_for_a_region_of_interest(tmp_path: Path) -> None:
    path = tmp_path / "hotspots.geojson"
    write_annotations([CIRCLE], path, origin=ORIGIN)
    with pytest.raises(RegionError, match="no annotation with an area"):
        read_rois(path)


def test_without_any_the_collection_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "hotspots.geojson"
    write_annotations([], path, origin=ORIGIN)
    assert json.loads(path.read_text("utf-8")) == {"type": "FeatureCollection", "features": []}
    assert read_objects(path, refusal=RegionError) == []
