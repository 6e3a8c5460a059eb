"""Tissue that is left out: the same bytes by every way that leads to a result."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from bench import Bench, do_blocks, results_of, set_sides
from shapely.geometry import MultiPolygon, box, mapping

from wsi_suite.analysis.summary import read_summary
from wsi_suite.config import ScoreSettings
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.runs.rescore import rescore
from wsi_suite.runs.run_plan import SlideRun
from wsi_suite.runs.slide_run import pending_blocks, prepare_run, release_run
from wsi_suite.synthetic import make_tile

pytestmark = pytest.mark.usefixtures("quick")

LEFT_OUT = ("quality.exclude=[focus]", "tiles.keep=false")
MPP = 0.5
SHARP_PX0 = 512  # where the sharp part ends, and with it a field of 256 um
REGION = Roi("across the border", None, MultiPolygon([box(300, 50, 800, 350)]))


@pytest.fixture(scope="module")
def half(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return a bench with a slide whose right half is out of focus."""
    rgb = make_tile(1024, mpp=MPP, seed=1)[0][:400]
    light = cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), 4 / MPP)
    rgb[:, SHARP_PX0:] = np.rint(light[:, SHARP_PX0:])
    file = tmp_path_factory.mktemp("half") / "half.tif"
    tifffile.imwrite(
        file,
        rgb,
        tile=(256, 256),
        photometric="rgb",
        resolution=(1e4 / MPP, 1e4 / MPP),
        resolutionunit="CENTIMETER",
    )
    return Bench(bench.model, file)


def write_region(file: Path) -> Path:
    """Write the region as QuPath exports it, and return the file."""
    feature = {
        "type": "Feature",
        "geometry": mapping(REGION.area.geoms[0]),
        "properties": {"objectType": "annotation", "name": REGION.name},
    }
    content = {"type": "FeatureCollection", "features": [feature]}
    file.write_text(json.dumps(content), "utf-8")
    return file


def rois_of(name: str) -> tuple[Roi, ...] | None:
    return (REGION,) if name == "regions" else None


@pytest.fixture(scope="module", params=["slide", "regions"])
def whole(
    half: Bench, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, tuple[Roi, ...] | None]:
    """Return results of a run, one block after another, and its regions."""
    rois = rois_of(request.param)
    folder = tmp_path_factory.mktemp("left-out") / half.slide.stem
    with pytest.MonkeyPatch.context() as patch:
        set_sides(patch)
        half.do(folder, *LEFT_OUT, rois=rois)
    return folder, rois


Whole = tuple[Path, tuple[Roi, ...] | None]


def test_half_is_left_out(half: Bench, whole: Whole, tmp_path: Path) -> None:
    folder, rois = whole
    summary = read_summary(folder)
    assert summary is not None
    assert summary.quality is not None
    assert summary.quality.lost_share == pytest.approx(0.576 if rois else 0.5, abs=0.02)
    found = read_nuclei(folder / "nuclei.parquet")[0]
    half.do(tmp_path / "all", "tiles.keep=false", rois=rois)
    everywhere = read_nuclei(tmp_path / "all" / "nuclei.parquet")[0]
    sharp = everywhere.points[everywhere.x < SHARP_PX0]
    assert 20 < len(sharp) < len(everywhere)
    np.testing.assert_array_equal(found.points, sharp)


def test_interrupted_run_ends_in_the_same_bytes(half: Bench, whole: Whole, tmp_path: Path) -> None:
    folder, rois = whole
    run: SlideRun = prepare_run(half.request(tmp_path / "out", *LEFT_OUT, rois=rois))
    do_blocks(run, limit=1)
    release_run(run)
    again = prepare_run(half.request(tmp_path / "out", *LEFT_OUT, rois=rois))
    assert 0 < len(pending_blocks(again)) < len(again.grid.blocks)
    release_run(again)
    half.do(tmp_path / "out", *LEFT_OUT, rois=rois)
    assert results_of(tmp_path / "out") == results_of(folder)


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(half: Bench, whole: Whole, tmp_path: Path) -> None:
    folder, rois = whole
    given = write_region(tmp_path / "r.geojson") if rois else None
    outcome = half.run_one(tmp_path / "out", *LEFT_OUT, "run.workers=2", rois=given)
    assert outcome.folder is not None
    assert results_of(outcome.folder) == results_of(folder)


def test_scoring_again_gives_the_same_summary(whole: Whole) -> None:
    folder, _ = whole
    again = rescore(folder, ScoreSettings()).summary
    assert again is not None
    assert again == read_summary(folder)


def test_regions_given_to_score_are_those_given_to_run(half: Bench, tmp_path: Path) -> None:
    """A region holds the same nuclei, area and loss, whether it is told first or last."""
    file = write_region(tmp_path / "r.geojson")
    half.do(tmp_path / "slide", *LEFT_OUT)
    half.do(tmp_path / "regions", *LEFT_OUT, rois=(REGION,))
    later = rescore(tmp_path / "slide", ScoreSettings(), rois=file).summary
    first = read_summary(tmp_path / "regions")
    assert later is not None
    assert first is not None
    assert (later.scores, later.regions, later.quality) == (
        first.scores,
        first.regions,
        first.quality,
    )
    assert later.scored_tissue_mm2 == first.scored_tissue_mm2
