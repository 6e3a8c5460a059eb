"""What a guideline has to say, in one line."""

from __future__ import annotations

import numpy as np
import pytest

from wsi_suite.config import ScoreSettings
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.clinical_words import clinical_lines
from wsi_suite.scoring.slide_scores import SlideScores
from wsi_suite.scoring.summary import summarise


def scores(count: int, *, every: int, **settings: object) -> SlideScores:
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
        nuclei, ScoreSettings.model_validate(settings), mpp=(0.5, 0.5), tissue_area_mm2=0.25
    )


@pytest.mark.parametrize(
    ("count", "every", "marker", "line"),
    [
        (400, 10, "ER", "ER Low Positive (10.0 % of Tumor, strong; ASCO/CAP 2020)"),
        (400, 400, "PR", "PR negative (0.2 % of Tumor, strong; ASCO/CAP 2020)"),
        (
            50,
            50,
            "Ki-67",
            "Ki-67 2.0 % of all nuclei of Tumor "
            "(IKWG 2021; 5 % or less, where observers agree well)",
        ),
    ],
)
def test_line_of_the_marker(count: int, every: int, marker: str, line: str) -> None:
    assert clinical_lines(scores(count, every=every, marker=marker)) == [line]


def test_ki67_tells_its_fields_and_the_hottest_spot() -> None:
    (line,) = clinical_lines(scores(2000, every=5, marker="Ki-67"))
    assert line.startswith("Ki-67 20.0 % of all nuclei of Tumor; ")
    assert " in 4 fields, " in line
    assert " in the hottest spot (IKWG 2021; between 5 % and 30 %" in line


@pytest.mark.parametrize("marker", ["ER", "Ki-67", "other", None])
def test_without_nuclei_or_marker_there_is_no_line(marker: str | None) -> None:
    assert clinical_lines(scores(0, every=1, marker=marker)) == []
