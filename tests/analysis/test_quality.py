"""Artefacts: told always, and left out of the tissue where asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from bench import Bench, results_of, set_sides
from shapely.geometry import MultiPolygon, box

from wsi_suite.analysis import quality, survey
from wsi_suite.analysis.slide_record import read_facts
from wsi_suite.config import ScoreSettings, load_settings
from wsi_suite.errors import ConfigError, OutputConflictError
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.runs.rescore import rescore
from wsi_suite.scoring.regions import points_in_areas
from wsi_suite.slides.focus import Focus
from wsi_suite.slides.slide import Slide
from wsi_suite.slides.tissue import TissueMask

pytestmark = pytest.mark.usefixtures("quick")

END_PX0 = 259.5  # where the sharp part ends, eight pixels of the mask from the left
LEFT_OUT = "quality.exclude=[focus]"
ROIS = (Roi("across the border", None, MultiPolygon([box(200, 100, 330, 400)])),)


def half_blurred(slide: Slide, tissue: TissueMask) -> Focus:
    blurred = tissue.mask.copy()
    blurred[:, :8] = False
    return Focus(1.0, blurred, tissue.mask, sampled_um2=1e3)


@pytest.fixture(autouse=True)
def _half_is_out_of_focus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "find_blurred", half_blurred)


@pytest.fixture(scope="module")
def whole(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return results of a run that leaves nothing out."""
    folder = tmp_path_factory.mktemp("quality") / "B12"
    with pytest.MonkeyPatch.context() as patch:
        set_sides(patch)
        patch.setattr(quality, "find_blurred", half_blurred)
        bench.do(folder, "tiles.keep=false")
    return folder


def nuclei_of(folder: Path) -> Nuclei:
    return read_nuclei(folder / "nuclei.parquet")[0]


def summary_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    return content


def test_by_default_artefacts_are_told_and_count(whole: Path) -> None:
    summary = summary_of(whole)
    focus = summary["quality"]["artefacts"]["focus"]
    assert summary["quality"]["artefacts"]["bubbles"]["judged_share"] is None
    facts = read_facts(whole)
    assert facts is not None
    right = facts.tissue.intersection(box(END_PX0, 0, 600, 560)).area / facts.tissue.area
    assert focus["looked_for"]
    assert not focus["excluded"]
    assert (focus["mpp"], focus["judged_share"], focus["reason"]) == (1.0, 1.0, None)
    assert focus["sampled_share"] == pytest.approx(1e-3 / summary["tissue_area_mm2"], rel=0.1)
    assert focus["found_share"] == pytest.approx(right, rel=1e-6)
    assert (summary["quality"]["lost_mm2"], summary["quality"]["lost_share"]) == (0, 0)
    assert (nuclei_of(whole).x > END_PX0).any()
    share = f"{100 * right:.1f} %"
    assert any(line.startswith(f"{share} of the tissue is out of") for line in summary["warnings"])
    assert "Most of the tissue is out of focus: scan the slide again." in summary["warnings"]


@pytest.mark.parametrize("rois", [None, ROIS], ids=["slide", "regions"])
def test_what_is_left_out_does_not_count(
    bench: Bench, whole: Path, tmp_path: Path, rois: tuple[Roi, ...] | None
) -> None:
    bench.do(tmp_path / "out", LEFT_OUT, rois=rois)
    found, everywhere = nuclei_of(tmp_path / "out"), nuclei_of(whole)
    sharp = everywhere.x < END_PX0
    if rois is not None:
        inside = np.zeros(len(everywhere), bool)
        inside[points_in_areas(everywhere.points, [roi.area for roi in rois])[0]] = True
        sharp &= inside
    assert 5 < len(found) == sharp.sum() < len(everywhere)
    np.testing.assert_array_equal(found.points, everywhere.points[sharp])
    summary, facts = summary_of(tmp_path / "out"), read_facts(tmp_path / "out")
    assert facts is not None
    assert facts.tissue.bounds[2] == END_PX0
    scores = summary["scores"]["Epithelium + Stroma"]
    assert scores["density_per_mm2"] == len(found) / summary["scored_tissue_mm2"]
    figures = summary["quality"]
    assert figures["artefacts"]["focus"]["excluded"]
    assert figures["lost_mm2"] == figures["artefacts"]["focus"]["found_mm2"] > 0
    before = read_facts(whole)
    assert before is not None
    tissue = before.tissue if rois is None else before.tissue.intersection(rois[0].area)
    lost = tissue.intersection(box(END_PX0, 0, 600, 560))
    assert figures["lost_share"] == pytest.approx(lost.area / tissue.area, rel=1e-6)
    assert any(line.endswith("out of focus and was left out.") for line in summary["warnings"])


@pytest.mark.parametrize("rois", [None, ROIS], ids=["slide", "regions"])
def test_stored_tiles_give_the_same_bytes(
    bench: Bench, tmp_path: Path, rois: tuple[Roi, ...] | None
) -> None:
    bench.do(tmp_path / "run", LEFT_OUT, rois=rois)
    bench.do(tmp_path / "tiles", LEFT_OUT, stage="tile", rois=rois)
    bench.do(tmp_path / "tiles", LEFT_OUT, stage="detect", slide=tmp_path / "tiles", rois=rois)
    assert results_of(tmp_path / "tiles") == results_of(tmp_path / "run")


def test_scoring_again_tells_the_same(bench: Bench, tmp_path: Path) -> None:
    bench.do(tmp_path / "out", LEFT_OUT, "tiles.keep=false")
    again = rescore(tmp_path / "out", ScoreSettings()).summary
    assert again is not None
    assert again.as_json()["quality"] == summary_of(tmp_path / "out")["quality"]


def test_another_choice_is_another_run(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    bench.do(folder, "tiles.keep=false")
    with pytest.raises(OutputConflictError, match=r"quality\.exclude"):
        bench.do(folder, LEFT_OUT, "tiles.keep=false")
    record = json.loads((folder / "run.json").read_text("utf-8"))
    del record["fingerprint"]["settings"]["quality"]  # as an earlier version wrote it
    (folder / "run.json").write_text(json.dumps(record), "utf-8")
    bench.do(folder, "tiles.keep=false")
    with pytest.raises(OutputConflictError, match=r"quality\.exclude"):
        bench.do(folder, LEFT_OUT, "tiles.keep=false")


@pytest.mark.parametrize("excluded", [False, True])
def test_artefacts_are_annotations(bench: Bench, tmp_path: Path, excluded: bool) -> None:
    bench.do(tmp_path / "out", "tiles.keep=false", *([LEFT_OUT] if excluded else []))
    content = json.loads((tmp_path / "out" / "quality.geojson").read_text("utf-8"))
    (feature,) = content["features"]
    assert feature["properties"]["name"] == "Out of focus"
    assert feature["properties"]["classification"]["name"] == (
        "Ignore*" if excluded else "Out of focus"
    )
    assert shapely.geometry.shape(feature["geometry"]).bounds[0] == END_PX0


def test_what_was_not_looked_for_says_why(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "find_blurred", lambda *_: None)
    bench.do(tmp_path / "out", "tiles.keep=false", "tissue.exclude_pen=false", LEFT_OUT)
    artefacts = summary_of(tmp_path / "out")["quality"]["artefacts"]
    assert not artefacts["focus"]["looked_for"]
    assert "too coarse" in artefacts["focus"]["reason"]
    assert artefacts["focus"]["found_share"] is None
    assert "exclude_pen" in artefacts["pen"]["reason"]


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"quality\.exclude.*focus"):
        load_settings(overrides=["quality.exclude=[blur]"])


def test_stain_outside_the_tissue_is_told_and_is_in_no_score(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = survey.tissue_of

    def left_only(*arguments: object) -> TissueMask:
        tissue = find(*arguments)  # type: ignore[arg-type]
        right = tissue.mask & (np.arange(tissue.mask.shape[1]) >= 8)
        return replace(tissue, mask=tissue.mask & ~right, missed=right)

    monkeypatch.setattr(survey, "tissue_of", left_only)
    bench.do(tmp_path / "out", "tiles.keep=false")
    summary, before = summary_of(tmp_path / "out"), summary_of(whole)
    missed = summary["quality"]["artefacts"]["stain_outside"]
    area_mm2 = before["tissue_area_mm2"] - summary["tissue_area_mm2"]
    assert missed["found_mm2"] == pytest.approx(area_mm2, rel=1e-6)
    assert missed["found_share"] == pytest.approx(area_mm2 / before["tissue_area_mm2"], rel=1e-6)
    assert (missed["excluded"], summary["quality"]["lost_mm2"]) == (True, 0)
    assert not any("lies outside the tissue" in line for line in before["warnings"])
    assert any("lies outside the tissue" in line for line in summary["warnings"]) == (
        area_mm2 >= 0.01
    )
    content = json.loads((tmp_path / "out" / "quality.geojson").read_text("utf-8"))
    (feature,) = content["features"]
    assert feature["properties"]["classification"]["name"] == "Stain outside the tissue"
    assert shapely.geometry.shape(feature["geometry"]).is_valid
