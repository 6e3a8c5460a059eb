"""Calibration on results folders: known thresholds come back, and what is doubtful is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from measured_results import MPP, densities, places, write_result
from shapely.geometry import MultiPolygon, box

from wsi_suite.config import load_settings
from wsi_suite.errors import DataError, OutputConflictError
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.nuclei.provenance import RegionRecord
from wsi_suite.nuclei.table import INTENSITIES
from wsi_suite.qupath.geojson import write_geojson
from wsi_suite.qupath.objects import origin_of
from wsi_suite.scoring.intensity import intensity_grades
from wsi_suite.staining.deconvolution import StainVectors
from wsi_suite.studies.calibration import calibrate_on_grades, calibrate_on_scores
from wsi_suite.studies.calibration_document import Calibration, write_config
from wsi_suite.studies.calibration_page import write_calibration_page

STAINS = StainVectors((0.7, 0.65, 0.3), (0.3, 0.55, 0.78), (240, 239, 241))
TRUE = (0.15, 0.35, 0.55)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Six slides, from weak to strong."""
    for seed in range(6):
        od = densities(seed, strength=0.15 + 0.08 * seed)
        write_result(tmp_path / "out" / f"B{seed}", od, stains=STAINS)
    return tmp_path / "out"


def dab_of(folder: Path) -> np.ndarray:
    nuclei, _ = read_nuclei(folder / "nuclei.parquet")
    return nuclei.measurements["Nucleus: DAB OD mean"]


def write_grades(path: Path, results: Path, *, noise: float = 0) -> Path:
    """Write all nuclei as points, 2 um beside their places, with the grades of TRUE."""
    lines = ["Image,x,y,Class"]
    random = np.random.default_rng(0)
    for folder in sorted(results.iterdir()):
        od = dab_of(folder)
        grades = intensity_grades(od + random.normal(0, noise, len(od)), TRUE)
        for (x, y), grade in zip(places(len(od)) + 2 / MPP, grades, strict=True):
            lines.append(f"{folder.name},{x},{y},Epithelium: {INTENSITIES[grade]}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_scores(path: Path, results: Path, *, percent: bool = False) -> Path:
    lines = [f"slide;{'positive %' if percent else 'H-score'}"]
    for folder in sorted(results.iterdir()):
        grades = intensity_grades(dab_of(folder), TRUE)
        score = 100 * ((grades > 0) if percent else grades).mean()
        lines.append(f"{folder.name};{score:.6f}".replace(".", ","))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_graded_points_give_the_thresholds_they_were_graded_by(
    results: Path, tmp_path: Path
) -> None:
    found = calibrate_on_grades([results], write_grades(tmp_path / "grades.csv", results))
    assert found.thresholds_od == pytest.approx(TRUE, abs=0.004)  # the gap between two nuclei
    assert found.error == 0
    assert found.run_thresholds_od == (0.2, 0.4, 0.6)
    assert [slide.slide for slide in found.slides] == [f"B{n}.svs" for n in range(6)]
    assert sum(map(sum, found.held_out.confusion)) == 1800
    assert found.held_out.kappa.value > 0.98
    assert Calibration.model_validate(json.loads(json.dumps(found.as_json()))) == found


def test_h_scores_give_the_thresholds_they_were_made_with(results: Path, tmp_path: Path) -> None:
    found = calibrate_on_scores([results], write_scores(tmp_path / "scores.csv", results))
    assert found.thresholds_od == TRUE
    assert found.error == pytest.approx(0, abs=1e-3)
    assert all(slide.fitted == pytest.approx(slide.labelled, abs=1e-3) for slide in found.slides)
    assert found.held_out.failed == ()


def test_positive_percentages_move_the_threshold_of_1_alone(results: Path, tmp_path: Path) -> None:
    labels = write_scores(tmp_path / "scores.csv", results, percent=True)
    found = calibrate_on_scores([results], labels, score="positive_percent")
    assert found.thresholds_od == (0.15, 0.4, 0.6)
    assert sum("is the runs' own" in warning for warning in found.warnings) == 2


def test_scores_may_be_of_regions(tmp_path: Path) -> None:
    lines = ["slide,region,h_score"]
    for seed in range(3):
        od = densities(seed, strength=0.2 + 0.15 * seed)
        points = places(len(od))
        regions = []
        for name, left, right in (("R1", 0, 520), ("R2", 520, 2000)):
            area = MultiPolygon([box(left, 0, right, 2000)])
            regions.append(RegionRecord.of(Roi(name, None, area)))
            inside = (points[:, 0] >= left) & (points[:, 0] < right)
            lines.append(f"B{seed},{name},{100 * intensity_grades(od[inside], TRUE).mean()}")
        write_result(tmp_path / "out" / f"B{seed}", od, regions=regions)
    (tmp_path / "scores.csv").write_text("\n".join(lines), encoding="utf-8")
    found = calibrate_on_scores([tmp_path / "out"], tmp_path / "scores.csv")
    assert found.thresholds_od == TRUE
    assert len(found.slides) == 6


def pull(results: Path, out: Path, *, changed: tuple[str, ...]) -> Path:
    """Write what a pull leaves: all nuclei, graded anew in some slides."""
    for folder in sorted(results.iterdir()):
        nuclei, metadata = read_nuclei(folder / "nuclei.parquet")
        (out / f"{folder.name}.svs").mkdir(parents=True)
        thresholds = TRUE if folder.name in changed else (0.2, 0.4, 0.6)
        write_geojson(
            nuclei,
            out / f"{folder.name}.svs" / "nuclei.geojson",
            grades=intensity_grades(dab_of(folder), thresholds),
            radius_px0=4.0,
            origin=origin_of(metadata),
        )
    return out


def test_pulled_nuclei_are_labels_where_somebody_changed_a_grade(
    results: Path, tmp_path: Path
) -> None:
    pulled = pull(results, tmp_path / "corrected", changed=("B2", "B3", "B5"))
    found = calibrate_on_grades([results], pulled)
    assert found.thresholds_od == pytest.approx(TRUE, abs=0.008)
    assert [slide.slide for slide in found.slides] == ["B2.svs", "B3.svs", "B5.svs"]
    assert sum("nobody seems to have reviewed it" in note for note in found.warnings) == 3
    with pytest.raises(DataError, match="no labels to calibrate on"):
        calibrate_on_grades([results], pull(results, tmp_path / "untouched", changed=()))


def test_of_a_reviewed_annotation_all_nuclei_are_labels(results: Path, tmp_path: Path) -> None:
    pulled = pull(results, tmp_path / "corrected", changed=("B3",))
    square = {
        "type": "Feature",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[0, 0], [1100, 0], [1100, 80], [0, 80], [0, 0]]],
        },
        "properties": {"objectType": "annotation", "name": "Reviewed"},
    }
    for folder in pulled.iterdir():
        (folder / "annotations.geojson").write_text(json.dumps(square), encoding="utf-8")
    found = calibrate_on_grades([results], pulled, reviewed="reviewed")
    assert [slide.nuclei for slide in found.slides] == [150] * 6  # three rows of fifty


def test_results_are_no_labels(results: Path) -> None:
    (results / "B0" / "nuclei.geojson").write_text("{}")
    with pytest.raises(DataError, match="whose grades nobody reviewed"):
        calibrate_on_grades([results], results)


def test_labels_without_nuclei_or_results_are_named(results: Path, tmp_path: Path) -> None:
    labels = write_grades(tmp_path / "grades.csv", results)
    beside = "\n".join(f"B0,{1500 + 20 * n},1900,2+" for n in range(100))
    labels.write_text(f"{labels.read_text()}\n{beside}\nC7,1,1,0\n", encoding="utf-8")
    warnings = calibrate_on_grades([results], labels).warnings
    assert "B0.svs: 300 of 400 labels are at a nucleus." in warnings
    assert "Labelled, but without results: C7." in warnings


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("B0,1,1,4+", r"line 2: grade = '4\+'"),
        ("B0,,1,2+", "line 2 has no place"),
        ("B0,30,30,2+", r"0 Negative, 0 1\+, .* at least 10 of each"),
        ("C0,1,1,2+", "no labels to calibrate on. Labelled, but without results: C0"),
    ],
)
def test_labels_that_cannot_be_used_are_one_line(
    results: Path, tmp_path: Path, line: str, said: str
) -> None:
    (tmp_path / "grades.csv").write_text(f"slide,x,y,grade\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=said) as refused:
        calibrate_on_grades([results], tmp_path / "grades.csv")
    assert str(tmp_path / "grades.csv") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_scores_of_few_slides_or_out_of_range_are_refused(results: Path, tmp_path: Path) -> None:
    labels = tmp_path / "scores.csv"
    labels.write_text("slide,h_score\nB0,1\nB1,2\nB9,3\n")
    with pytest.raises(DataError, match=r"scores\.csv: 2 slides .* without results: B9"):
        calibrate_on_scores([results], labels)
    labels.write_text("slide,h_score\nB0,301\n")
    with pytest.raises(DataError, match="h_score = 301: expected a score from 0 to 300"):
        calibrate_on_scores([results], labels)


def test_slides_that_were_measured_otherwise_are_refused(results: Path, tmp_path: Path) -> None:
    write_result(tmp_path / "other" / "D1", [0.1], method="disc", stains=STAINS)
    write_result(tmp_path / "vectors" / "D1", [0.1])
    for folder, section in (("other", "measure"), ("vectors", "stain")):
        with pytest.raises(DataError, match=rf"measured with different settings \({section}\."):
            calibrate_on_scores([results, tmp_path / folder], tmp_path / "scores.csv")
    write_result(tmp_path / "again" / "b1", [0.1])
    with pytest.raises(DataError, match="are of one slide"):
        calibrate_on_grades([results, tmp_path / "again"], tmp_path / "grades.csv")


def test_a_saturated_stain_is_told(tmp_path: Path) -> None:
    for seed in range(2):
        dark = 0.7 + 0.5 * np.random.default_rng(seed).random(300)
        write_result(
            tmp_path / "out" / f"B{seed}", [*dark, *densities(seed, number=80, strength=0.4)]
        )
    found = calibrate_on_grades(
        [tmp_path / "out"], write_grades(tmp_path / "grades.csv", tmp_path / "out")
    )
    assert found.strong_share > 0.7
    assert any("the stain saturates" in warning for warning in found.warnings)
    assert found.otsu_od is not None
    assert found.quartiles_od[0] > 0.6


def test_one_slide_has_no_error_on_others(tmp_path: Path) -> None:
    write_result(tmp_path / "out" / "B0", densities(0))
    labels = write_grades(tmp_path / "grades.csv", tmp_path / "out")
    found = calibrate_on_grades([tmp_path / "out"], labels)
    assert found.held_out is None
    assert any("labels of more slides" in warning for warning in found.warnings)
    write_calibration_page(tmp_path / "page.html", found)


def test_the_configuration_is_taken_by_later_runs(results: Path, tmp_path: Path) -> None:
    found = calibrate_on_grades([results], write_grades(tmp_path / "größe.csv", results))
    write_config(tmp_path / "lab.yaml", found)
    settings = load_settings(tmp_path / "lab.yaml")
    score = settings.score
    assert StainVectors.of(settings.stain).to_qupath() == STAINS.to_qupath()
    assert score.thresholds_od == found.thresholds_od
    assert score.thresholds_origin == "calibrated"
    assert score.thresholds_source == found.source
    assert found.source.startswith("größe.csv ")
    with pytest.raises(OutputConflictError, match="exists; give --overwrite"):
        write_config(tmp_path / "lab.yaml", found)
    write_config(tmp_path / "lab.yaml", found, overwrite=True)


def test_the_page_is_the_same_each_time(results: Path, tmp_path: Path) -> None:
    labels = write_grades(tmp_path / "grades.csv", results, noise=0.05)
    for name in ("1.html", "2.html"):
        write_calibration_page(tmp_path / name, calibrate_on_grades([results], labels))
    page = (tmp_path / "1.html").read_text("utf-8")
    assert page == (tmp_path / "2.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 3
