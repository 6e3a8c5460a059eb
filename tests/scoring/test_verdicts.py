"""Slides of another stain get no verdict, and verdicts never stand without what speaks against."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, box

from wsi_suite.config import ScoreSettings
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.provenance import StainCheck
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.clinical_words import clinical_lines
from wsi_suite.scoring.slide_scores import ScoreFigures, SlideScores
from wsi_suite.scoring.summary import summarise
from wsi_suite.scoring.verdicts import without_verdicts

Marker = Literal["ER", "PR", "Ki-67", "other"] | None


def scores(kind: str | None, *, marker: Marker = "ER", count: int = 4000, **options: Any) -> Any:
    """Return the scores of nuclei on 4 x 4 mm, a third of them positive."""
    rng = np.random.default_rng(0)
    nuclei = Nuclei(
        *rng.uniform(0, 4000, (2, count)),
        confidence=np.ones(count, np.float32),
        label=np.zeros(count, np.uint8),
        classes=("Tumor",),
        measurements={
            "Nucleus: DAB OD mean": np.where(np.arange(count) % 3, 0, 0.9).astype(np.float32)
        },
    )
    return summarise(
        nuclei,
        ScoreSettings(marker=marker, **options.pop("settings", {})),
        mpp=(1.0, 1.0),
        tissue_area_mm2=16.0,
        stains=None if kind is None else StainCheck(kind=kind),
        **options,
    )


def verdicts(found: SlideScores) -> list[object]:
    """Return every word of a verdict in scores."""
    parts = [found.scores, *(region.scores for region in found.regions)]
    figures: list[ScoreFigures] = [each for part in parts for each in part.values()]
    receptor, ki67 = found.receptor, found.ki67
    words: list[object] = [each.verdict for each in figures]
    if receptor is not None:
        words += [receptor.status, receptor.intensity, receptor.comment]
        words += [receptor.report_controls or None]
    if ki67 is not None:
        words += [ki67.range, ki67.reliable, ki67.weighted_percent, *ki67.fields]
    return [word for word in words if word is not None]


HALVES = [
    Roi("left", None, MultiPolygon([box(0, 0, 2000, 4000)])),
    Roi("right", None, MultiPolygon([box(2000, 0, 4000, 4000)])),
]


@pytest.mark.parametrize("marker", ["ER", "PR", "Ki-67", "other", None])
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("H&E", "the slide shows hematoxylin and eosin, not hematoxylin and DAB"),
        ("DAB", "the slide shows DAB without a counterstain, not hematoxylin and DAB"),
        ("empty", "the slide shows hardly any stain, not hematoxylin and DAB"),
    ],
)
def test_a_slide_of_another_stain_has_no_verdict(kind: str, why: str, marker: Marker) -> None:
    settings = {"cutoffs_percent": [20, 40]}
    found = scores(kind, marker=marker, rois=HALVES, settings=settings)
    assert found.no_verdict == why
    assert verdicts(found) == []
    assert found.verdict == f"no verdict: {why}"
    assert clinical_lines(found) == []
    assert found.warnings[0].startswith(f"No verdict: {why}; the figures are not to be used")
    assert not any("review by eye" in warning for warning in found.warnings)
    assert found.headline.value == pytest.approx(100, abs=0.1), "what was measured stays"
    for part in (found.receptor, found.ki67):
        assert part is None or part.reason == why


@pytest.mark.parametrize("kind", ["H-DAB", "hematoxylin", None])
def test_negative_slides_and_earlier_results_keep_theirs(kind: str | None) -> None:
    """Hematoxylin alone is what a negative slide shows."""
    found = scores(kind)
    assert (found.no_verdict, found.receptor.status) == (None, "ER positive")
    assert without_verdicts(found) == found


def test_without_tissue_there_is_nothing_to_withhold() -> None:
    found = scores("empty", count=0, rois=HALVES, tissue=MultiPolygon())
    assert (found.no_verdict, found.receptor.status) == (None, None)
    assert found.headline.reason == "no nuclei"
