"""Reports, thresholds, stains, cores and corrections, as Python users call them."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from pushed import make_results
from shapely.geometry import MultiPolygon, Point, box

import wsi_suite as ws
from wsi_suite.errors import (
    ConfigError,
    DataError,
    InputError,
    OutputConflictError,
    SlideError,
)
from wsi_suite.scoring.intensity import intensity_grades

CENTRES = {
    f"{'ABC'[row]}-{column + 1}": (380 + 720 * column, 380 + 700 * row)
    for row in range(3)
    for column in range(4)
}


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a batch of one small slide, B12, which lies beside it."""
    folder = tmp_path_factory.mktemp("laboratory")
    truth = ws.make_slide(folder / "B12.tif", width=900, height=800, mpp=0.25)
    tissue = MultiPolygon([box(0, 0, 900, 800)]).wkt
    make_results(folder / "batch/B12", slide=folder / "B12.tif", truth=truth, tissue_wkt=tissue)
    return folder / "batch"


@pytest.fixture(scope="module")
def microarray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of 3 x 4 cores of 0.28 mm, of which B-2 is missing; 0.5 um per pixel."""
    tissue = np.tile(ws.make_tile(740, mpp=0.5)[0], (3, 4, 1))[:2200, :2920]
    rgb = np.full(tissue.shape, 242, np.uint8)
    for name, centre in CENTRES.items():
        disc = cv2.circle(np.zeros(rgb.shape[:2], np.uint8), centre, 280, 1, -1) > 0
        if name != "B-2":
            rgb[disc] = tissue[disc]
    path = tmp_path_factory.mktemp("tma") / "tma.png"
    cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]))
    return path


def test_reports_are_files_and_errors(batch: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsi_suite")
    table = batch.parent / "scores.csv"
    heard: list[object] = []
    done = ws.write_reports([batch, batch.parent / "none"], tables=str(table), tell=heard.append)
    page = batch / "B12" / "report.html"
    assert done.files == (page, batch / "report.html", table)
    assert all(path.is_file() for path in done.files)
    assert [str(error).partition(":")[2] for error in done.errors] == [
        " no results here; give a folder that 'wsi-suite run' left, or the one that holds those"
        " of a batch"
    ]
    assert set(heard) == {*done.files, *done.errors}
    page.unlink()
    assert ws.write_reports(batch / "B12" / "nuclei.parquet").files == (page,)
    assert not caplog.records
    assert ws.write_reports(batch.parent / "none").errors
    assert "no results here" in caplog.text
    with pytest.raises(ConfigError, match=r"\.pdf"):
        ws.write_reports(batch, tables="scores.pdf")


def test_thresholds_are_fitted_to_grades(batch: Path, tmp_path: Path) -> None:
    result = batch / "B12"
    nuclei, _ = ws.read_nuclei(result / "nuclei.parquet")
    dab_od = nuclei.measurements["Nucleus: DAB OD mean"]
    cuts = tuple(np.quantile(dab_od, [0.3, 0.5, 0.7]).tolist())
    rows = [
        f"B12,{x},{y},{grade}"
        for (x, y), grade in zip(nuclei.points, intensity_grades(dab_od, cuts), strict=True)
    ]
    labels, config, page = tmp_path / "grades.csv", tmp_path / "lab.yaml", tmp_path / "lab.html"
    labels.write_text("\n".join(["slide,x,y,grade", *rows]), "utf-8")
    fitted = ws.calibrate(str(result), grades=labels, out=config, report=page)
    assert fitted.error == 0
    assert (intensity_grades(dab_od, fitted.thresholds_od) == intensity_grades(dab_od, cuts)).all()
    assert page.is_file()
    again = ws.rescore(result, settings=config)
    assert again.summary is not None
    assert again.summary.thresholds_od == fitted.thresholds_od
    assert again.summary.thresholds_origin == "calibrated"
    with pytest.raises(OutputConflictError, match="exists; give another --out"):
        ws.calibrate(result, grades=labels, out=config)
    for given, message in (
        ({}, "give --grades or --scores"),
        ({"grades": labels, "score": "h_score"}, "--score: goes with --scores"),
        ({"scores": labels, "reviewed": "x"}, "--reviewed: goes with --grades"),
        ({"grades": labels, "report": tmp_path}, "--report .*: is a folder"),
    ):
        with pytest.raises(ConfigError, match=message):
            ws.calibrate(result, **given)


def test_stains_of_slides_become_settings(tmp_path: Path) -> None:
    for seed in (1, 2):
        ws.make_slide(tmp_path / f"B{seed}.svs", width=700, height=600, mpp=0.25, seed=seed)
    bad = tmp_path / "bad.svs"
    bad.write_text("no slide")
    file, steps, heard = tmp_path / "stains.yaml", [], []
    found = ws.estimate_stains(
        tmp_path, out=file, background=True, tell=heard.append, progress=steps.append
    )
    assert [one.slide.name for one in found.slides] == ["B1.svs", "B2.svs"]
    assert ws.load_settings(file).stain == found.stain
    assert ws.Settings(stain=found.stain).stain == found.stain
    assert (heard, [type(one) for one in heard]) == ([*found.errors], [SlideError])
    assert found.remarks[-1].startswith("few slides (2)")
    assert (steps[0].message, steps[-1].done) == ("looking at B1.svs (1 of 3)", 3)
    for given, kind, message in (
        ({"slides": bad}, SlideError, "bad.svs"),
        ({"slides": tmp_path, "out": file}, OutputConflictError, "exists"),
        ({"slides": tmp_path, "method": "makenko"}, ConfigError, "did you mean 'macenko'"),
    ):
        with pytest.raises(kind, match=message):
            ws.estimate_stains(given.pop("slides"), **given)


def test_cores_of_a_microarray_are_regions(microarray: Path, tmp_path: Path) -> None:
    grid = ws.find_cores(str(microarray), mpp=0.5)
    assert (grid.rows, grid.columns, grid.missing) == (3, 4, ("B-2",))
    assert not list(tmp_path.iterdir())
    assert ws.find_cores(microarray, mpp=0.5, out=tmp_path / "cores") == grid
    rois = ws.read_rois(tmp_path / "cores" / "tma.geojson")
    assert [roi.name for roi in rois] == [name for name in CENTRES if name != "B-2"]
    assert all(roi.area.centroid.distance(Point(CENTRES[roi.name])) < 24 for roi in rois)
    with pytest.raises(OutputConflictError, match=r"tma.geojson: exists"):
        ws.find_cores(microarray, mpp=0.5, out=tmp_path / "cores")
    ws.find_cores(microarray, mpp=0.5, out=tmp_path / "cores", overwrite=True)
    with pytest.raises(ConfigError, match="--diameter-um 5: expected a number of 100 or more"):
        ws.find_cores(microarray, mpp=0.5, diameter_um=5)
    with pytest.raises(SlideError, match="no grid of cores"):
        ws.find_cores(microarray, mpp=0.1)


def test_corrections_of_a_pull_are_counted(tmp_path: Path) -> None:
    (tmp_path / "B12").mkdir()
    rows = ["1,1,untouched,Stroma,Stroma", "2,2,added,,Stroma", "3,3,deleted,Stroma,"]
    table = "\n".join(["x,y,state,pushed_class,class", *rows])
    (tmp_path / "B12" / "nuclei.csv").write_text(table, "utf-8")
    (image,) = ws.corrections(str(tmp_path))
    assert (image.image, image.is_corrected) == ("B12", True)
    assert (image.precision, image.recall) == (0.5, 0.5)
    with pytest.raises(DataError, match="as 'wsi-suite pull' writes it"):
        ws.corrections(tmp_path / "B12")


def test_no_results_are_refused() -> None:
    with pytest.raises(InputError, match="no result given"):
        ws.write_reports([])
    with pytest.raises(InputError, match="no result given"):
        ws.calibrate([], grades="grades.csv")
