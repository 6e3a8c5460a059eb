"""``cores``, and scores by core."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import SAME_RESULTS, Cli, field_of_view, write_tiff
from shapely.geometry import Point

from wsi_suite.qupath.rois import read_rois
from wsi_suite.synthetic import make_tile

RADIUS_PX = 280
CENTRES = {
    f"{'AB'[row]}-{column + 1}": (380 + 720 * column, 380 + 700 * row)
    for row in range(2)
    for column in range(3)
}


@pytest.fixture(scope="module")
def tma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 2 x 3 cores of 0.28 mm, of which B-2 is missing."""
    size = (2200, 1500)
    tissue = np.tile(make_tile(740, mpp=0.5)[0], (3, 3, 1))[: size[1], : size[0]]
    rgb = np.full((size[1], size[0], 3), 242, np.uint8)
    for name, centre in CENTRES.items():
        disc = cv2.circle(np.zeros(rgb.shape[:2], np.uint8), centre, RADIUS_PX, 1, -1) > 0
        rgb[disc & (name != "B-2")] = tissue[disc & (name != "B-2")]
    return write_tiff(tmp_path_factory.mktemp("tma") / "TMA_ER.ome.tif", rgb, axes="YXS")


def test_each_core_is_a_region_of_run(wsi: Cli, tma: Path, model: Path, tmp_path: Path) -> None:
    cores = tmp_path / "cores"
    answer = wsi("cores", tma, "--out", cores, "--rows", 2, "--columns", 3)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[1].split()[:5] == ["TMA_ER.ome.tif", "2", "3", "5", "1"]
    assert "note: TMA_ER.ome.tif: 1 core missing: B-2" in answer.err
    file = cores / "TMA_ER.geojson"
    rois = read_rois(file)
    assert [roi.name for roi in rois] == [name for name in CENTRES if name != "B-2"]
    for roi in rois:
        assert roi.area.centroid.distance(Point(CENTRES[roi.name])) < 24  # 1.5 px of the mask
        assert roi.area.area == pytest.approx(np.pi * RADIUS_PX**2, rel=0.3)
    assert json.loads(file.read_text())["missing_cores"] == ["B-2"]

    options = ("--out", tmp_path / "r", "--model", model, "--no-keep-tiles", *SAME_RESULTS)
    assert wsi("run", tma, *options, "--roi", cores).code == 0
    summary = json.loads((tmp_path / "r" / "TMA_ER" / "summary.json").read_text())
    assert [region["name"] for region in summary["regions"]] == [roi.name for roi in rois]
    pooled = "Epithelium + Stroma"
    counts = [region["scores"][pooled]["nuclei"] for region in summary["regions"]]
    assert min(counts) > 20
    assert summary["missing_cores"] == ["B-2"]
    again = json.loads(wsi("score", tmp_path / "r" / "TMA_ER", "--json").out)
    assert again[0]["summary"] == summary, "a run remembers its missing cores"
    assert wsi("report", tmp_path / "r").code == 0
    page = (tmp_path / "r" / "TMA_ER" / "report.html").read_text("utf-8")
    assert "<dt>Missing cores</dt>" in page
    for table in ("summary.csv", "scores.csv"):
        with (tmp_path / "r" / table).open(newline="", encoding="utf-8") as lines:
            assert [row["missing_cores"] for row in csv.DictReader(lines)] == ["B-2"]
    assert sum(counts) == summary["scores"][pooled]["nuclei"]

    drawn = json.loads(file.read_text())
    for feature in drawn["features"]:  # as QuPath writes its own grid
        feature["properties"] |= {"objectType": "tmaCore", "isMissing": False}
        feature["properties"]["isMissing"] = feature["properties"]["name"] in ("A-2", "B-1")
    grid = tmp_path / "grid.geojson"
    grid.write_text(json.dumps(drawn))
    answer = wsi("score", tmp_path / "r" / "TMA_ER", "--roi", grid, "--json")
    assert answer.code == 0
    (document,) = json.loads(answer.out)
    again = document["summary"]["regions"]
    kept = [region for region in summary["regions"] if region["name"] in ("A-1", "A-3", "B-3")]
    assert again == kept
    missing = document["summary"]["missing_cores"]
    assert missing == ["A-2", "B-1", "B-2"], "two that QuPath marks, and one that was seen to be"
    assert "3 cores of the microarray missing: A-2, B-1, B-2." in document["summary"]["warnings"]


def test_the_same_slide_gives_the_same_bytes_and_files_are_kept(
    wsi: Cli, tma: Path, tmp_path: Path
) -> None:
    given = ("cores", tma, "--rows", 2, "--columns", 3, "--out")
    assert wsi(*given, tmp_path / "a").code == wsi(*given, tmp_path / "b").code == 0
    a, b = (tmp_path / name / "TMA_ER.geojson" for name in "ab")
    assert a.read_bytes() == b.read_bytes()
    answer = wsi(*given, tmp_path / "a")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert "exists; give another --out, or --overwrite" in answer.errors[0]
    assert wsi(*given, tmp_path / "a", "--overwrite").code == 0


def test_without_a_grid_there_is_one_line_and_no_file(
    wsi: Cli, tma: Path, slide: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cores"
    answer = wsi("cores", slide, "--out", out)
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert "B12_ER.svs: no grid of cores (" in answer.errors[0]
    assert "give --rows, --columns and --diameter-um" in answer.errors[0]
    answer = wsi("cores", tma, "--out", out)  # five cores are few without the size of the grid
    assert answer.code == 2
    assert "fewer than 6" in answer.errors[0]
    assert not out.exists()
    answer = wsi("cores", tma, slide, "--out", out, "--rows", 2, "--columns", 3, "--json")
    assert answer.code == 1
    assert [each["missing"] for each in json.loads(answer.out)] == [["B-2"]]


def test_two_slides_for_one_file_are_refused(wsi: Cli, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_tiff(tmp_path / folder / "T.tif", field_of_view())
    answer = wsi("cores", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "cores")
    assert answer.code == 2
    assert "both would be" in answer.errors[0]
