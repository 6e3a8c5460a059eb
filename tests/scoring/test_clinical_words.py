"""What a guideline has to say, in one line."""

from __future__ import annotations

import numpy as np
import pytest

from wsi_suite.config import ScoreSettings
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.clinical_words import clinical_lines
from wsi_suite.scoring.slide_scores import SlideScores
from wsi_suite.scoring.summary import summarise


def scores(count: int, *, every: int, mpp: float = 0.5, **settings: object) -> SlideScores:
    """Return the scores of nuclei of which each `every`-th is 3+."""
    place = np.random.default_rng(0).uniform(0, 1000, (2, count))
    dab_od = (np.arange(count) % every == 0).astype(np.float32)
    nuclei = Nuclei(
        *place,
        np.ones(count, np.float32),
        np.zeros(count, np.uint8),
        ("Tumor",),
        {"Nucleus: DAB OD mean": dab_od},
    )
    return summarise(
        nuclei, ScoreSettings.model_validate(settings), mpp=(mpp, mpp), tissue_area_mm2=0.25
    )


@pytest.mark.parametrize(
    ("count", "every", "marker", "told", "against"),
    [
        (
            400,
            10,
            "ER",
            "ER Low Positive: 10.0 % of 400 measured nuclei of Tumor, strong on average "
            "(ASCO/CAP 2020)",
            "more tissue would help",
        ),
        (
            1,
            1,
            "PR",
            "PR positive: 100.0 % of 1 measured nuclei of Tumor, strong on average (ASCO/CAP 2020)",
            "1 of the 200 nuclei wanted",
        ),
        (
            50,
            50,
            "Ki-67",
            "Ki-67: 2.0 % of 50 measured nuclei of Tumor; no fields: 50 measured nuclei of Tumor, "
            "fewer than the 100 of a field; no hottest spot: 50 measured nuclei of Tumor, fewer "
            "than the 500 of a hot-spot "
            "(IKWG 2021; 5 % or less, where observers agree well)",
            "50 of the 500 nuclei wanted",
        ),
    ],
)
def test_line_of_the_marker(count: int, every: int, marker: str, told: str, against: str) -> None:
    (line,) = clinical_lines(scores(count, every=every, marker=marker))
    said, _, review = line.partition("; review by eye: no interval: ")
    assert (said, review[-len(against) :]) == (told, against)


def test_verdict_names_the_cut_off_that_the_interval_holds() -> None:
    """Whatever cut-offs are set: the status of the receptor changes at its guideline's."""
    (line,) = clinical_lines(
        scores(
            4000,
            every=10,
            marker="ER",
            mpp=4.0,
            cutoffs_percent=[50],
            thresholds_od=(0.2, 0.4, 0.6),
        )
    )
    assert line.startswith("ER Low Positive: 10.0 % (")
    assert line.endswith("(ASCO/CAP 2020); review by eye: the 95 % interval holds 10 %")
    (line,) = clinical_lines(scores(4000, every=2, marker="ER", mpp=4.0))
    assert line.startswith("ER positive: 50.0 % (")
    assert line.endswith("(ASCO/CAP 2020)")


def test_ki67_tells_its_fields_and_the_hottest_spot() -> None:
    (line,) = clinical_lines(scores(2000, every=5, marker="Ki-67"))
    assert line.startswith("Ki-67: 20.0 % of 2,000 measured nuclei of Tumor; ")
    assert " in 4 fields of 100, " in line
    assert " in the hottest spot (IKWG 2021; between 5 % and 30 %" in line


def test_ki67_tells_why_there_is_no_hottest_spot() -> None:
    for settings, why in (
        ({"hot_spots": 0}, "none is looked for (score.hot_spots = 0)"),
        ({"hot_spot_nuclei": 3000}, "2000 measured nuclei of Tumor, fewer than the 3000 of a"),
    ):
        (line,) = clinical_lines(scores(2000, every=5, marker="Ki-67", **settings))
        assert f"; no hottest spot: {why}" in line


@pytest.mark.parametrize("marker", ["ER", "Ki-67", "other", None])
def test_without_nuclei_or_marker_there_is_no_line(marker: str | None) -> None:
    assert clinical_lines(scores(0, every=1, marker=marker)) == []
