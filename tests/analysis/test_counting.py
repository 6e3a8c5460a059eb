"""Which nuclei count: those in tissue, the same whatever regions of interest are looked at."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from bench import Bench, results_of, set_sides
from shapely.geometry import MultiPolygon, Point, box

from wsi_suite.analysis import survey
from wsi_suite.analysis.slide_record import read_facts
from wsi_suite.config import ScoreSettings
from wsi_suite.detector.detector import Compute
from wsi_suite.detector.model_folder import find_model
from wsi_suite.errors import OutputConflictError
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.runs.rescore import rescore
from wsi_suite.scoring.regions import nuclei_in_rois, points_in_areas
from wsi_suite.synthetic import make_slide

pytestmark = pytest.mark.usefixtures("quick")

ROIS = (
    Roi("disc", None, MultiPolygon([Point(310.3, 270.7).buffer(130)])),
    Roi("corner", None, MultiPolygon([box(250, 90, 330, 210)])),
)


@pytest.fixture(scope="module")
def whole(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counting") / "B12"
    with pytest.MonkeyPatch.context() as patch:
        set_sides(patch)
        bench.do(folder, "tiles.keep=false")
    return folder


def nuclei_of(folder: Path) -> Nuclei:
    return read_nuclei(folder / "nuclei.parquet")[0]


def summary_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    return content


def assert_equal(one: Nuclei, other: Nuclei) -> None:
    for field in fields(Nuclei):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "measurements":
            ours, theirs = (np.stack(list(columns.values())) for columns in (ours, theirs))
        np.testing.assert_array_equal(ours, theirs, err_msg=field.name)


@pytest.mark.parametrize("batch", [1, 3])
def test_in_regions_a_run_finds_what_a_run_on_the_whole_slide_finds(
    bench: Bench, whole: Path, tmp_path: Path, batch: int
) -> None:
    compute = Compute("cpu", "fp32", batch)
    if batch > 1:
        whole = tmp_path / "whole"
        bench.do(whole, "tiles.keep=false", compute=compute)
    bench.do(tmp_path / "rois", "tiles.keep=false", rois=ROIS, compute=compute)
    everywhere = nuclei_of(whole)
    inside = np.unique(np.concatenate(nuclei_in_rois(everywhere.points, ROIS)))
    assert 20 < len(inside) < 0.8 * len(everywhere)
    assert_equal(nuclei_of(tmp_path / "rois"), everywhere.take(inside))


def test_regions_have_the_scores_that_the_whole_table_gives_them(
    bench: Bench, whole: Path, tmp_path: Path
) -> None:
    bench.do(tmp_path / "rois", "tiles.keep=false", rois=ROIS)
    drawn = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(roi.area),
            "properties": {"name": roi.name},
        }
        for roi in ROIS
    ]
    (tmp_path / "rois.geojson").write_text(json.dumps(drawn))
    again = rescore(whole, ScoreSettings(), rois=tmp_path / "rois.geojson").summary
    assert again is not None
    expected = summary_of(tmp_path / "rois")["regions"]
    assert again.as_json()["regions"] == expected


def test_stored_tiles_of_regions_give_the_same_bytes(bench: Bench, tmp_path: Path) -> None:
    bench.do(tmp_path / "run", rois=ROIS)
    bench.do(tmp_path / "tiles", stage="tile", rois=ROIS)
    bench.do(tmp_path / "tiles", stage="detect", slide=tmp_path / "tiles", rois=ROIS)
    assert results_of(tmp_path / "tiles") == results_of(tmp_path / "run")


def test_tiles_that_do_not_reach_far_enough_are_refused(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    bench.do(folder, stage="tile")
    wide = "measure.max_radius_um=20"
    with pytest.raises(OutputConflictError, match=r"reach 42 px.*measure.max_radius_um = 20 needs"):
        bench.do(folder, wide, stage="detect", slide=folder)


@pytest.mark.parametrize(
    "way",
    [("run", None), ("detect", None), ("run", ROIS), ("detect", ROIS)],
    ids=["run", "detect", "run in regions", "detect in regions"],
)
def test_nuclei_that_the_mask_leaves_out_do_not_count(
    bench: Bench,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: tuple[str, tuple[Roi, ...] | None],
) -> None:
    stage, rois = way
    find = survey.tissue_of

    def find_left_part(*arguments: object) -> survey.TissueMask:
        tissue = find(*arguments)  # type: ignore[arg-type]
        mask = tissue.mask.copy()
        mask[:, 8:] = False  # as pen is: through the middle of a chunk
        return replace(tissue, mask=mask)

    monkeypatch.setattr(survey, "tissue_of", find_left_part)
    folder = tmp_path / "out"
    if stage == "run":
        bench.do(folder, rois=rois)
    else:
        bench.do(folder, stage="tile", rois=rois)
        bench.do(folder, stage="detect", slide=folder, rois=rois)
    found, summary = nuclei_of(folder), summary_of(folder)
    scores = summary["scores"]["Epithelium + Stroma"]
    facts = read_facts(folder)
    assert facts is not None
    end = facts.tissue.bounds[2]
    assert end < 300, "half of the slide"
    assert len(found) > 5
    assert found.x.max() < end
    assert scores["density_per_mm2"] == len(found) / summary["scored_tissue_mm2"]
    if rois is None:
        assert summary["scored_tissue_mm2"] == summary["tissue_area_mm2"]
        everywhere = nuclei_of(whole)
        inside = everywhere.x < end
        assert scores["nuclei"] == inside.sum() < len(everywhere), "no nucleus of the rest is lost"
    else:
        for region, roi in zip(summary["regions"], rois, strict=True):
            assert region["area_mm2"] == pytest.approx(roi.area.area * 0.25**2 / 1e6)
            assert region["tissue_area_mm2"] < region["area_mm2"]


def test_nucleus_in_tissue_counts_though_it_was_detected_in_a_chunk_without(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mask ends where chunks of 64 level-0 px end, and some nuclei lie on these lines."""
    find = survey.tissue_of

    def find_stripes(*arguments: object) -> survey.TissueMask:
        tissue = find(*arguments)  # type: ignore[arg-type]
        rows, _ = np.indices(tissue.mask.shape) // 2
        return replace(tissue, mask=rows % 2 == 0)

    set_sides(monkeypatch, chunk_px=32)
    monkeypatch.setattr(survey, "tissue_of", find_stripes)
    bench.do(tmp_path / "everywhere", "tiles.keep=false", "tissue.whole_slide=true")
    bench.do(tmp_path / "out", "tiles.keep=false")
    everywhere = nuclei_of(tmp_path / "everywhere")
    facts = read_facts(tmp_path / "out")
    assert facts is not None
    inside, detected = (
        points_in_areas(points, [facts.tissue])[0]
        for points in (everywhere.points, everywhere.detected_points)
    )
    assert set(inside) - set(detected), "some are detected beyond the mask"
    assert_equal(nuclei_of(tmp_path / "out"), everywhere.take(inside))


def test_tissue_reaches_the_edge_of_the_slide(bench: Bench, tmp_path: Path) -> None:
    """The mask's pixels end before a slide of 600 x 560 px does; nuclei beyond them are real."""
    bench.do(tmp_path / "out", "tiles.keep=false", "tissue.whole_slide=true")
    found = nuclei_of(tmp_path / "out")
    assert (found.x > 592).any()
    assert (found.y > 544).any()
    assert summary_of(tmp_path / "out")["tissue_area_mm2"] == pytest.approx(0.15 * 0.14)


@pytest.mark.parametrize("seed", [1, 2])
def test_mask_holds_all_real_nuclei(bench: Bench, tmp_path: Path, seed: int) -> None:
    """Its margin is wider than its pixels are coarse: none at the edge of tissue is lost."""
    truth = make_slide(
        tmp_path / "s.tif", width=1201, height=1003, mpp=0.5, tissue_fraction=0.4, seed=seed
    )
    spec = find_model(bench.model).spec
    facts = survey.survey_slide(tmp_path / "s.tif", bench.settings(), spec=spec)
    (inside,) = points_in_areas(truth.nuclei.points, [facts.tissue])
    assert len(inside) == len(truth.nuclei) > 500
    assert facts.tissue_area_mm2 < 0.75 * 1.201 * 1.003 / 4
