"""Calibration on labels as they come: each odd input has a defined answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from measured_results import MPP, densities, places, write_result

from wsi_suite.errors import DataError
from wsi_suite.nuclei.table import INTENSITIES
from wsi_suite.scoring.intensity import intensity_grades
from wsi_suite.studies.calibration import calibrate_on_grades, calibrate_on_scores

TRUE = (0.15, 0.35, 0.55)
SLIDES = {f"B{seed}": densities(seed, strength=0.15 + 0.08 * seed) for seed in range(6)}

Row = tuple[str, float, float, object]
Labelled = Callable[[str, float, float, int], Sequence[object]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six slides, from weak to strong; never written to."""
    out = tmp_path_factory.mktemp("results")
    for name, dab_od in SLIDES.items():
        write_result(out / name, dab_od)
    return out


def write_table(
    path: Path, rows: list[Sequence[object]], *, head: str, separator: str = ",", mark: str = ""
) -> Path:
    lines = [head.replace(",", separator), *(separator.join(map(str, row)) for row in rows)]
    path.write_text(mark + "\n".join(lines), encoding="utf-8")
    return path


def graded(label: Labelled = lambda *row: row) -> list[Sequence[object]]:
    """Return a row for each nucleus of all slides, as `label` makes it."""
    return [
        label(name, x, y, int(grade))
        for name, dab_od in SLIDES.items()
        for (x, y), grade in zip(places(300), intensity_grades(dab_od, TRUE), strict=True)
    ]


def _plus(name: str, x: float, y: float, grade: int) -> Sequence[object]:
    return name, x, y, ("0", "1+", "2+", "3+")[grade]


def _float(name: str, x: float, y: float, grade: int) -> Sequence[object]:
    return name, x, y, f"{grade}.0"


def _comma(name: str, x: float, y: float, grade: int) -> Sequence[object]:
    return name, f"{x + 0.25:.2f}".replace(".", ","), f"{y:.1f}".replace(".", ","), grade


def _um(name: str, x: float, y: float, grade: int) -> Sequence[object]:
    return name, x * MPP, y * MPP, INTENSITIES[grade]


@pytest.mark.parametrize(
    ("label", "head", "form"),
    [
        (_plus, "slide,x,y,grade", {}),
        (_float, "slide,x,y,grade", {}),
        (_comma, "slide,x,y,grade", {"separator": ";", "mark": "\ufeff"}),
        (_plus, "Image,Centroid X px,Centroid Y px,Classification", {}),
        (_um, "Image,Centroid X µm,Centroid Y µm,Class", {}),
        (_um, "Case,x_um,y_um,Intensity", {}),
    ],
)
def test_tables_of_other_programs_are_read(
    results: Path, tmp_path: Path, label: Labelled, head: str, form: dict[str, str]
) -> None:
    labels = write_table(tmp_path / "grades.csv", graded(label), head=head, **form)
    found = calibrate_on_grades([results], labels)
    assert found.thresholds_od == pytest.approx(TRUE, abs=0.004)
    assert sum(slide.nuclei for slide in found.slides) == 1800
    assert found.warnings == ()
    for inside, value in zip(found.ranges_od, found.thresholds_od, strict=True):
        assert inside is not None
        assert inside[0] <= value <= inside[1]


def test_nuclei_without_a_grade_are_left_out_and_counted(results: Path, tmp_path: Path) -> None:
    rows = [
        (*row[:3], ("", "NaN", "-")[number % 3]) if number % 5 == 0 else row
        for number, row in enumerate(graded())
    ]
    labels = write_table(tmp_path / "grades.csv", rows, head="slide,x,y,grade")
    found = calibrate_on_grades([results], labels)
    assert sum(slide.nuclei for slide in found.slides) == 1440
    assert found.warnings == ("360 points have no grade and are left out.",)


def test_two_labels_of_a_nucleus_count_once_or_not_at_all(results: Path, tmp_path: Path) -> None:
    rows = graded()
    again = [(name, float(x) + 1, y, grade) for name, x, y, grade in rows[:30]]  # type: ignore[arg-type]
    other = [(name, x, float(y) - 1, (int(grade) + 1) % 4) for name, x, y, grade in rows[30:50]]  # type: ignore[arg-type]
    labels = write_table(tmp_path / "grades.csv", [*again, *rows, *other], head="slide,x,y,grade")
    found = calibrate_on_grades([results], labels)
    assert sum(slide.nuclei for slide in found.slides) == 1780
    assert found.thresholds_od == pytest.approx(TRUE, abs=0.01)
    assert found.warnings == (
        "30 labels repeat another one of the same nucleus (within 2 um; B0.svs).",
        "40 labels contradict another one of the same nucleus and are left out (within 2 um; "
        "B0.svs).",
    )


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (lambda name, x, y, _: (name, x, y, 0), r"1800 Negative, 0 1\+, .* at least 10 of each"),
        (lambda name, x, y, _: (name, x, y, "2+"), "0 Negative, .*1800 2"),
        (lambda name, x, y, g: (name, x, y, (0, 2, 1, 3)[g]), "fall together"),
        (lambda name, x, y, g: (name, x, y, 3 - g), "no density above 0 parts the labelled"),
        (lambda name, x, y, g: (f"Z{name}", x, y, g), "without results: ZB0"),
        (lambda name, x, y, g: (name, 2 * x, 2 * y, g), r"B0\.svs: \d+ of 300; .*3\.5 um of one"),
        (lambda name, x, y, g: (name, x + 9, y, g), r"B0\.svs: 0 of 300; B1.* and 3 more"),
        (
            lambda name, x, y, g: (name, x * MPP, y * MPP, g),
            r"B0\.svs: \d+ of 300 \(300 if x and y are read as um\)",
        ),
        (lambda name, x, y, g: (name, x, y, "Positive" if g else 0), "grade = 'Positive': expect"),
        (lambda name, x, y, g: (name, x, y, g + 1), "grade = '4': expected"),
    ],
)
def test_labels_that_fit_no_threshold_or_nucleus_are_one_line(
    results: Path, tmp_path: Path, label: Labelled, said: str
) -> None:
    labels = write_table(tmp_path / "grades.csv", graded(label), head="slide,x,y,grade")
    with pytest.raises(DataError, match=said) as refused:
        calibrate_on_grades([results], labels)
    assert str(labels) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_slide_whose_labels_are_misplaced_is_left_out(results: Path, tmp_path: Path) -> None:
    rows = graded(lambda name, x, y, g: (name, x + 9 * (name == "B2"), y, g))
    labels = write_table(tmp_path / "grades.csv", rows, head="slide,x,y,grade")
    found = calibrate_on_grades([results], labels)
    assert [slide.slide[:2] for slide in found.slides] == ["B0", "B1", "B3", "B4", "B5"]
    assert any("the slide is left out (B2.svs: 0 of 300" in told for told in found.warnings)


def test_an_index_is_no_place(results: Path, tmp_path: Path) -> None:
    labels = write_table(tmp_path / "grades.csv", graded(), head="slide,index,y,grade")
    with pytest.raises(DataError, match="no column with x in level-0 pixels among slide, index"):
        calibrate_on_grades([results], labels)


def test_grades_that_hardly_follow_the_density_are_told(results: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = graded(lambda name, x, y, g: (name, x, y, g if random.random() < 0.4 else 3 - g))
    labels = write_table(tmp_path / "grades.csv", rows, head="slide,x,y,grade")
    try:
        warnings = calibrate_on_grades([results], labels).warnings
    except DataError as error:
        warnings = (str(error),)
    assert any("hardly follow" in told or "check the" in told for told in warnings)


def test_runs_of_several_models_and_markers_are_told(results: Path, tmp_path: Path) -> None:
    write_result(tmp_path / "C1", densities(1), model="other", marker="PR")
    labels = write_table(tmp_path / "grades.csv", graded(), head="slide,x,y,grade")
    warnings = calibrate_on_grades([results, tmp_path / "C1"], labels).warnings
    assert warnings[0].startswith("The runs are of different models (m 0, other 0)")
    assert warnings[1].startswith("The runs are of different markers (ER, PR)")


def scores() -> dict[str, float]:
    return {
        name: 100 * float(intensity_grades(dab_od, TRUE).mean()) for name, dab_od in SLIDES.items()
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: 150, "all 6 scores are 150, and no threshold follows"),
        (lambda _: 0, "all 6 scores are 0, and"),
        (
            lambda score: round(score / 100, 4),
            r"fit the 6 scores: .* check their unit",
        ),
        (lambda score: 300 - score, "no thresholds fit the 6 scores"),
    ],
)
def test_scores_that_no_thresholds_give_are_refused(
    results: Path, tmp_path: Path, change: Callable[[float], float], said: str
) -> None:
    rows = [(name, change(score)) for name, score in scores().items()]
    labels = write_table(tmp_path / "scores.csv", rows, head="slide,h_score")
    with pytest.raises(DataError, match=said):
        calibrate_on_scores([results], labels)


def test_slides_without_a_score_are_named(results: Path, tmp_path: Path) -> None:
    rows = [(name, "NaN" if name == "B2" else score) for name, score in scores().items()]
    labels = write_table(tmp_path / "scores.csv", rows, head="slide,h_score")
    found = calibrate_on_scores([results], labels)
    assert found.thresholds_od == TRUE
    assert found.error == 0
    assert "Without a score: B2." in found.warnings


def test_a_slide_twice_and_shares_of_one_are_refused(results: Path, tmp_path: Path) -> None:
    rows = [*scores().items(), ("b1.svs", 5)]
    labels = write_table(tmp_path / "scores.csv", rows, head="slide,h_score")
    with pytest.raises(DataError, match=r"'B1' and 'b1\.svs' stand there for one slide twice"):
        calibrate_on_scores([results], labels)
    rows = [(name, score / 300) for name, score in scores().items()]
    labels = write_table(tmp_path / "percent.csv", rows, head="slide,positive_percent")
    with pytest.raises(DataError, match="no number above 1"):
        calibrate_on_scores([results], labels, score="positive_percent")
