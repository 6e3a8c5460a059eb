"""Scores from the table alone: the run's own, and others."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench import Bench

from wsi_suite.analysis.summary import read_summary, write_summary
from wsi_suite.config import ScoreSettings, load_settings
from wsi_suite.errors import BusyError, ConfigError, DataError, RegionError
from wsi_suite.nuclei.parquet import read_nuclei, write_nuclei
from wsi_suite.qupath.labels import read_labels
from wsi_suite.qupath.rois import read_rois
from wsi_suite.runs.folder import lock_folder, unlock_folder
from wsi_suite.runs.rescore import rescore, write_rescored
from wsi_suite.runs.rescore_batch import rescore_batch
from wsi_suite.scoring.intensity import grade_nuclei

UNSET = load_settings().score


@pytest.fixture(scope="module")
def result(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result whose thresholds and marker are not the defaults."""
    folder = tmp_path_factory.mktemp("rescore") / "B12"
    bench.do(folder, "tiles.keep=false", "score.marker=PR", "score.thresholds_od=[0.1,0.2,0.3]")
    return folder


def regions(path: Path, side: float, *, at: int = 50) -> Path:
    end = at + side
    ring = [[at, at], [end, at], [end, end], [at, end], [at, at]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"name": "Tumour"},
    }
    path.write_text(json.dumps(feature))
    return path


def test_same_settings_give_the_summary_of_the_run(result: Path, tmp_path: Path) -> None:
    for given in (result, result / "nuclei.parquet"):
        outcome = rescore(given, UNSET)
        assert outcome.summary is not None
        write_summary(tmp_path, outcome.summary)
        assert (tmp_path / "summary.json").read_bytes() == (result / "summary.json").read_bytes()
        assert (outcome.state, outcome.folder) == ("done", result)


def test_table_alone_is_enough(result: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(result / "nuclei.parquet", tmp_path / "moved.parquet"))
    assert rescore(copy, UNSET).summary == rescore(result, UNSET).summary


def test_what_is_not_given_stays_as_the_run_had_it(result: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("score: {marker: ER}")
    for settings in (
        load_settings(overrides=["score.marker=ER"]),
        load_settings(tmp_path / "c.yaml"),
    ):
        summary = rescore(result, settings.score).summary
        assert summary is not None
        assert summary.marker == "ER"
        assert summary.thresholds_od == (0.1, 0.2, 0.3)


def test_a_number_of_nuclei_takes_the_place_of_the_run_s_area(bench: Bench, tmp_path: Path) -> None:
    bench.do(tmp_path / "r", "tiles.keep=false", "score.hot_spot_mm2=0.2")
    settings = load_settings(overrides=["score.hot_spot_nuclei=100000"]).score
    summary = rescore(tmp_path / "r", settings).summary
    assert summary is not None
    for found in summary.hot_spots.values():
        assert str(found.reason).endswith("fewer than the 100000 of a hot-spot")


def test_nuclei_that_were_measured_otherwise_are_refused(result: Path) -> None:
    same = load_settings(overrides=["measure.method=nucleus"]).measure
    assert rescore(result, UNSET, measure=same).summary is not None
    other = load_settings(overrides=["measure.method=disc"]).measure
    with pytest.raises(ConfigError, match=r"measure.method = nucleus.*has disc; run again"):
        rescore(result, UNSET, measure=other)


def test_nuclei_that_were_measured_with_other_stains_are_refused(result: Path) -> None:
    same = load_settings(overrides=["stain.dab=[0.5,1.0556,1.4444]"]).stain  # of another length
    rescore(result, UNSET, stain=same)
    for override in ("stain.dab=[0.3,0.5,0.8]", "stain.background=[240,240,240]"):
        other = load_settings(overrides=[override]).stain
        with pytest.raises(ConfigError, match=r"measured with stain\.\w+ = .* run again with it"):
            rescore(result, UNSET, stain=other)


def test_default_that_is_given_counts_as_given(result: Path) -> None:
    settings = load_settings(overrides=["score.thresholds_od=[0.2,0.4,0.6]"]).score
    summary = rescore(result, settings).summary
    assert summary is not None
    assert summary.thresholds_od == (0.2, 0.4, 0.6)
    assert summary.thresholds_origin == "user"
    assert summary.marker == "PR"


def test_new_thresholds_are_applied(result: Path) -> None:
    nuclei, _ = read_nuclei(result / "nuclei.parquet")
    dab = nuclei.measurements["Nucleus: DAB OD mean"]
    summary = rescore(result, ScoreSettings(thresholds_od=(0.05, 0.06, 9.0))).summary
    assert summary is not None
    pooled = summary.pooled
    counted = [pooled.negative, pooled.one, pooled.two, pooled.three]
    edges = np.float32([-np.inf, 0.05, 0.06, 9.0, np.inf])
    assert counted == np.histogram(dab, edges)[0].tolist()


def test_unknown_headline_is_refused(result: Path) -> None:
    with pytest.raises(ConfigError, match=r"headline_class = 'Glands'"):
        rescore(result, ScoreSettings(headline_class="Glands"))


def test_regions_are_scored(result: Path, tmp_path: Path) -> None:
    file = regions(tmp_path / "B12 größer.geojson", 400)
    for rois in (file, tmp_path):
        summary = rescore(result, UNSET, rois=rois).summary
        assert summary is not None
        (region,) = summary.regions
        assert region.name == "Tumour"
        assert summary.scored_area_mm2 == pytest.approx(0.1**2)
    with pytest.raises(RegionError, match="one file for several"):
        rescore(result, UNSET, rois=file, several=True)
    with pytest.raises(RegionError, match="outside"):
        rescore(result, UNSET, rois=regions(tmp_path / "far.geojson", 100, at=5000))


def test_regions_of_the_run_are_remembered(bench: Bench, tmp_path: Path) -> None:
    rois = read_rois(regions(tmp_path / "r.geojson", 400))
    bench.do(tmp_path / "out", "tiles.keep=false", rois=rois)
    stored = read_summary(tmp_path / "out")
    assert rescore(tmp_path / "out", UNSET).summary == stored
    smaller = rescore(tmp_path / "out", UNSET, rois=regions(tmp_path / "s.geojson", 300)).summary
    assert smaller is not None
    assert smaller.scored_area_mm2 == pytest.approx(0.075**2)
    with pytest.raises(RegionError, match="'Tumour' reaches beyond the regions"):
        rescore(tmp_path / "out", UNSET, rois=regions(tmp_path / "l.geojson", 450))
    wider = regions(tmp_path / "w.geojson", 400)
    wider.write_text(wider.read_text().replace("[450, ", "[450.9, "))
    with pytest.raises(RegionError, match="reaches beyond"):  # nuclei may lie there
        rescore(tmp_path / "out", UNSET, rois=wider)
    rounded = rescore(tmp_path / "out", UNSET, rois=regions(tmp_path / "r2.geojson", 400.01))
    assert rounded.summary is not None


def test_off_the_slide_regions_may_reach_farther_than_the_run(bench: Bench, tmp_path: Path) -> None:
    rois = read_rois(regions(tmp_path / "r.geojson", 400, at=300))
    bench.do(tmp_path / "out", "tiles.keep=false", rois=rois)
    farther = regions(tmp_path / "f.geojson", 900, at=300)
    summary, stored = (
        rescore(tmp_path / "out", UNSET, rois=file).summary for file in (farther, None)
    )
    assert summary is not None
    assert stored is not None
    assert summary.scores == stored.scores


def test_nuclei_are_written_with_their_new_classes(result: Path, tmp_path: Path) -> None:
    settings = ScoreSettings(thresholds_od=(0.05, 0.06, 9.0))
    (path,) = write_rescored(result, tmp_path / "new", settings=settings, shape="point")
    assert path == tmp_path / "new" / "nuclei.geojson"
    written, before = read_labels(path), read_labels(result / "nuclei.geojson")
    nuclei, _ = read_nuclei(result / "nuclei.parquet")
    np.testing.assert_array_equal(written.grades, grade_nuclei(nuclei, settings.thresholds_od))
    assert written.class_names == before.class_names
    assert {shape.geom_type for shape in written.shapes} == {"Point"}
    (path,) = write_rescored(result, tmp_path / "same", settings=UNSET)
    assert path.read_bytes() == (result / "nuclei.geojson").read_bytes()


def test_nuclei_are_written_by_region(result: Path, tmp_path: Path) -> None:
    near = regions(tmp_path / "near.geojson", 400)
    both = [json.loads(near.read_text()), json.loads(near.read_text())]
    both[1]["geometry"]["coordinates"][0] = [[0, 0], [300, 0], [300, 300], [0, 300], [0, 0]]
    both[1]["properties"]["name"] = "tumour"
    file = tmp_path / "both.geojson"
    file.write_text(json.dumps(both))
    counted = rescore(result, UNSET, rois=file).summary
    assert counted is not None
    first, second = write_rescored(
        result, tmp_path / "new", settings=UNSET, rois=file, by_region=True
    )
    assert [first.name, second.name] == ["nuclei_Tumour.geojson", "nuclei_tumour 2.geojson"]
    expected = [region.scores["Epithelium + Stroma"].nuclei for region in counted.regions]
    assert [len(read_labels(first)), len(read_labels(second))] == expected
    assert min(expected) > 0
    (whole,) = write_rescored(result, tmp_path / "new", settings=UNSET, rois=file)
    assert len(read_labels(whole)) == counted.pooled.nuclei
    with pytest.raises(RegionError, match="no regions to split by"):
        write_rescored(result, tmp_path / "new", settings=UNSET, by_region=True)


def test_other_files_are_refused(result: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nuclei\.parquet: no such file"):
        rescore(tmp_path, UNSET)
    (tmp_path / "x.parquet").write_text("no table")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        rescore(tmp_path / "x.parquet", UNSET)
    nuclei, _ = read_nuclei(result / "nuclei.parquet")
    write_nuclei(nuclei, tmp_path / "x.parquet", intensity=nuclei.label, metadata={})
    with pytest.raises(DataError, match="no result of a run"):
        rescore(tmp_path / "x.parquet", UNSET)


@pytest.mark.slow
def test_a_million_nuclei_take_seconds(result: Path, tmp_path: Path) -> None:
    nuclei, metadata = read_nuclei(result / "nuclei.parquet")
    many = nuclei.take(np.arange(1_000_000) % len(nuclei))
    many = replace(many, x=many.x + np.arange(len(many)) * 1e-4)
    table = tmp_path / "nuclei.parquet"
    write_nuclei(many, table, intensity=many.label, metadata=metadata)
    start = time.process_time()
    rescore(table, UNSET)
    assert time.process_time() - start < 5, "CPU seconds, on a slow machine"


def with_ignored(path: Path, *, tumour: bool = True) -> Path:
    """Write a square region and one of class ``Ignore*`` that covers a corner of it."""
    drawn = [json.loads(regions(path, 400).read_text()), json.loads(regions(path, 200).read_text())]
    drawn[1]["properties"] = {"name": "fold", "classification": {"name": "Ignore*"}}
    path.write_text(json.dumps(drawn if tumour else drawn[1:]))
    return path


@pytest.mark.parametrize("tumour", [True, False], ids=["in a region", "in all tissue"])
def test_run_and_score_leave_out_the_same(
    bench: Bench, result: Path, tmp_path: Path, tumour: bool
) -> None:
    file = with_ignored(tmp_path / "r.geojson", tumour=tumour)
    marker = ("score.marker=PR", "score.thresholds_od=[0.1,0.2,0.3]")
    bench.do(tmp_path / "out", "tiles.keep=false", *marker, rois=read_rois(file))
    stored = read_summary(tmp_path / "out")
    assert rescore(tmp_path / "out", UNSET).summary == stored  # from the table of the run
    assert rescore(result, UNSET, rois=file).summary == stored  # from that of the whole slide
    assert stored is not None
    assert stored.ignored_area_mm2 == pytest.approx(0.05**2)
    assert [region.name for region in stored.regions] == ["Tumour"] * tumour
    nuclei, _ = read_nuclei(tmp_path / "out" / "nuclei.parquet")
    assert len(nuclei) == stored.pooled.nuclei > 0
    assert not ((nuclei.points > 50) & (nuclei.points < 250)).all(axis=1).any()
    (path,) = write_rescored(result, tmp_path / "new", settings=UNSET, rois=file)
    assert len(read_labels(path)) == len(nuclei)


def test_ignored_areas_of_the_run_cannot_be_scored_afterwards(bench: Bench, tmp_path: Path) -> None:
    for name, tumour in (("regions", True), ("tissue", False)):
        rois = read_rois(with_ignored(tmp_path / "r.geojson", tumour=tumour))
        bench.do(tmp_path / name, "tiles.keep=false", rois=rois)
        with pytest.raises(RegionError, match="'Tumour' reaches beyond"):
            rescore(tmp_path / name, UNSET, rois=regions(tmp_path / "w.geojson", 400))
    only = with_ignored(tmp_path / "i.geojson", tumour=False)
    assert rescore(tmp_path / "tissue", UNSET, rois=only).summary is not None
    with pytest.raises(RegionError, match="did not look at all of it"):
        rescore(tmp_path / "regions", UNSET, rois=only)


def test_of_two_that_write_scores_to_one_folder_the_second_is_refused(
    result: Path, tmp_path: Path
) -> None:
    lease = lock_folder(tmp_path)
    try:
        with pytest.raises(BusyError, match=r"another process is at work .*give another --out"):
            rescore_batch([result], UNSET, out=tmp_path)
    finally:
        unlock_folder(tmp_path, lease)
    assert not list(tmp_path.iterdir())
    rescore_batch([result], UNSET, out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "B12",
        "summary.csv",
        "summary.parquet",
    ]
