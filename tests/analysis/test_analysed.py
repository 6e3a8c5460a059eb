"""Analyses in memory find what a run finds."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from bench import Bench
from PIL import Image
from shapely.geometry import MultiPolygon, box

import wsi_suite as ws
from wsi_suite.analysis.summary import read_summary
from wsi_suite.errors import RegionError


def same(one: ws.Nuclei, other: ws.Nuclei) -> bool:
    """Tell whether two tables are equal in every bit."""
    for field in fields(ws.Nuclei):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "measurements":
            if list(a) != list(b):
                return False
            a, b = np.array(list(a.values())), np.array(list(b.values()))
        if not np.array_equal(a, b, equal_nan=field.name in ("measurements", "outline")):
            return False
    return True


@pytest.fixture(autouse=True)
def _small(quick: None, one_torch_thread: None) -> None:
    """Small blocks, one thread."""


@pytest.fixture
def pixels(bench: Bench) -> np.ndarray:
    with ws.open_slide(bench.slide) as slide:
        return slide.read_level(0, ws.Box(0, 0, slide.width, slide.height))


def test_a_path_gives_the_nuclei_and_scores_of_a_run(bench: Bench, tmp_path: Path) -> None:
    folder = bench.run_one(tmp_path).folder
    assert folder is not None
    table, metadata = ws.read_nuclei(folder / "nuclei.parquet")
    found = ws.analyse(bench.slide, settings=bench.settings())
    assert len(found) == len(table) > 50
    assert same(found.nuclei, table)
    assert found.summary == read_summary(folder)
    assert found.provenance.as_json() == metadata
    assert found.nuclei.mpp == (0.25, 0.25)
    assert len(found.grades) == len(found)
    assert found.tissue.area > 0
    with ws.open_slide(bench.slide) as slide:
        assert same(ws.analyse(slide, settings=bench.settings()).nuclei, table)
        slide.thumbnail(64)  # whoever opened it closes it


def test_arrays_and_images_give_the_nuclei_of_their_picture(
    bench: Bench, pixels: np.ndarray, tmp_path: Path
) -> None:
    file = tmp_path / "field.png"
    Image.fromarray(pixels).save(file)
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=pixels.shape)
    mapped[:] = pixels
    wanted = ws.analyse(file, mpp=0.25, settings=bench.settings())
    assert len(wanted) > 50
    reversed_twice = np.ascontiguousarray(pixels[:, ::-1])[:, ::-1]
    with Image.open(file) as opened:
        opened.load()
    for picture in (pixels, mapped, reversed_twice, Image.fromarray(pixels), opened):
        found = ws.analyse(picture, mpp=0.25, settings=bench.settings())
        assert same(found.nuclei, wanted.nuclei)
        assert found.summary.scores == wanted.summary.scores
        assert found.summary.slide in ("picture", "field.png")


def test_regions_come_as_shapes_or_as_a_file(bench: Bench, tmp_path: Path) -> None:
    roi = ws.Roi("left", None, MultiPolygon([box(0, 0, 300, 560)]))
    found = ws.analyse(bench.slide, rois=[roi], settings=bench.settings())
    file = tmp_path / "left.geojson"
    ring = [[0, 0], [300, 0], [300, 560], [0, 560], [0, 0]]
    file.write_text(
        '{"type": "Feature", "properties": {"name": "left"}, "geometry": '
        f'{{"type": "Polygon", "coordinates": [{ring}]}}}}'
    )
    assert same(found.nuclei, ws.analyse(bench.slide, rois=file, settings=bench.settings()).nuclei)
    assert len(found) > 0
    assert found.nuclei.x.max() <= 300


@pytest.mark.parametrize(
    ("picture", "mpp", "message"),
    [
        (np.zeros((9, 9, 3), np.uint8), None, "has no pixel size; give it .* mpp=0.25"),
        (np.zeros((9, 9), np.uint8), 0.5, r"shape \(9, 9\) .* expected \(height, width, 3\)"),
        (np.zeros((9, 9, 3)), 0.5, "type float64: expected"),
        (np.zeros((0, 9, 3), np.uint8), 0.5, r"shape \(0, 9, 3\)"),
        ([[1, 2]], 0.5, "a list: expected a path, a Slide"),
        (np.full((9, 9, 3), 255, np.uint8), 99, "mpp = 99.0: expected less than .* 10"),
        (Image.new("L", (9, 9)), 0.5, "mode L; expected"),
    ],
)
def test_what_is_no_picture_is_refused(
    bench: Bench, picture: np.ndarray, mpp: float | None, message: str
) -> None:
    with pytest.raises(ws.WsiSuiteError, match=message):
        ws.analyse(picture, mpp=mpp, settings=bench.settings())


def test_model_and_device_go_over_the_settings(bench: Bench) -> None:
    with pytest.raises(ws.WsiSuiteError, match="no-such-model"):
        ws.analyse(bench.slide, model="no-such-model", settings=bench.settings())
    with pytest.raises(ws.WsiSuiteError, match="abacus"):
        ws.analyse(bench.slide, device="abacus", settings=bench.settings())


def test_settings_come_as_values_or_as_a_file_too(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(f"detect: {{model: {bench.model.as_posix()}, precision: fp32}}\n")
    found = ws.analyse(bench.slide, settings=bench.settings())
    values = {"detect": {"precision": "fp32"}, "detect.model": str(bench.model)}
    for settings in (file, str(file), values):
        assert ws.analyse(bench.slide, settings=settings).provenance == found.provenance


def test_regions_that_are_none_are_refused(bench: Bench) -> None:
    for rois, message in (([], "an empty list"), ([5], "a int: expected"), (5, "a int: expected")):
        with pytest.raises(RegionError, match=message):
            ws.analyse(bench.slide, rois=rois, settings=bench.settings())
