"""How sure scores are: enough nuclei, doubtful classes, cut-offs, and the words for them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, box

from wsi_suite.config import ScoreSettings
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.report.assessment import interval_text
from wsi_suite.scoring.certainty_words import with_interval
from wsi_suite.scoring.slide_scores import SlideScores
from wsi_suite.scoring.summary import summarise
from wsi_suite.scoring.uncertainty import Interval

Marker = Literal["ER", "PR", "Ki-67", "other"]
CLASSES = ("Stroma", "Epithelium")


def settings(marker: Marker = "ER", **values: Any) -> ScoreSettings:
    thresholds = {"thresholds_od": (0.1, 0.3, 0.5), "headline_class": "Epithelium"}
    return ScoreSettings(marker=marker, **thresholds | values)


def scattered(
    count: int,
    *,
    positive: float,
    probability: float | None = 0.9,
    side_um: float = 4000,
    classes: tuple[str, ...] = CLASSES,
    label: int = 1,
) -> Nuclei:
    """Return nuclei at random places, of which a share is 1+."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, side_um, (2, count))
    measurements = {"Nucleus: DAB OD mean": np.where(rng.random(count) < positive, 0.2, 0.0)}
    if probability is not None:
        measurements["Class probability"] = np.full(count, probability)
    return Nuclei(
        x=x,
        y=y,
        confidence=np.ones(count, np.float32),
        label=np.full(count, label, np.uint8),
        classes=classes,
        measurements={name: each.astype(np.float32) for name, each in measurements.items()},
    )


def scores(nuclei: Nuclei, used: ScoreSettings | None = None, **options: Any) -> SlideScores:
    options = {"mpp": (1.0, 1.0), "tissue_area_mm2": 16.0} | options
    return summarise(nuclei, used or settings(), **options)


def certainty(nuclei: Nuclei, used: ScoreSettings | None = None, *, of: str = "Epithelium") -> Any:
    found = scores(nuclei, used).scores[of].certainty
    assert found is not None
    return found


def test_intervals_hold_the_scores_of_each_class() -> None:
    found = scores(scattered(4000, positive=0.3))
    epithelium, stroma, pooled = (
        found.scores[name] for name in ("Epithelium", "Stroma", "Epithelium + Stroma")
    )
    interval = epithelium.positive_percent_interval
    assert interval is not None
    assert interval.low is not None
    assert interval.high is not None
    assert 26 < interval.low < epithelium.positive_percent < interval.high < 34
    assert epithelium.h_score_interval == pooled.h_score_interval
    assert stroma.h_score_interval is not None
    assert stroma.h_score_interval.reason == "no measurable nuclei"


@pytest.mark.parametrize(
    ("marker", "nuclei", "enough"),
    [("ER", 199, False), ("ER", 200, True), ("Ki-67", 499, False), ("Ki-67", 500, True)],
)
def test_a_score_should_rest_on_enough_nuclei(marker: Marker, nuclei: int, enough: bool) -> None:
    found = scores(scattered(nuclei, positive=0.5), settings(marker))
    assert found.scores["Epithelium"].certainty.enough is enough
    assert any(f"Only {nuclei} nuclei (Epithelium)" in each for each in found.warnings) != enough


def test_doubtful_nuclei_change_sides() -> None:
    """Of ten epithelial nuclei four are doubtful and positive, of ten stromal two and negative."""
    probability = [0.9] * 6 + [0.6] * 4 + [0.75] * 8 + [0.74] * 2
    nuclei = Nuclei(
        x=np.arange(20) + 0.5,
        y=np.full(20, 0.5),
        confidence=np.ones(20, np.float32),
        label=np.repeat([1, 0], 10).astype(np.uint8),
        classes=CLASSES,
        measurements={
            "Nucleus: DAB OD mean": np.float32([0] * 6 + [0.2] * 4 + [0.9] * 8 + [0] * 2),
            "Class probability": np.float32(probability),
        },
    )
    found = scores(nuclei)
    doubt = found.scores["Epithelium"].certainty.doubt
    assert (doubt.nuclei, doubt.share, doubt.reason) == (4, 0.4, None)
    assert (doubt.positive_percent, doubt.h_score) == (0.0, 0.0)
    stroma = found.scores["Stroma"].certainty.doubt
    assert (stroma.nuclei, stroma.positive_percent) == (2, 100.0)
    assert stroma.h_score == pytest.approx(100 * (8 * 3 + 4) / 12)
    pooled = found.scores["Epithelium + Stroma"]
    assert pooled.certainty.doubt.nuclei == 6
    assert pooled.certainty.doubt.h_score == pooled.h_score
    assert any("The class of 40 % of the nuclei" in each for each in found.warnings)
    assert any("would be 0.0, across a cut-off" in each for each in found.warnings)


@pytest.mark.parametrize(
    ("nuclei", "reason"),
    [
        (scattered(300, positive=0.5, probability=None), "the table lacks 'Class probability'"),
        (
            scattered(300, positive=0.5, probability=np.nan),
            "300 nuclei have no 'Class probability'",
        ),
        (Nuclei.empty(CLASSES), "no nuclei"),
        (
            scattered(300, positive=0.5, classes=("Epithelium",), label=0),
            "the model knows one class only",
        ),
    ],
)
def test_without_class_probabilities_there_is_a_reason(nuclei: Nuclei, reason: str) -> None:
    doubt = certainty(nuclei).doubt
    assert doubt.reason == reason
    assert doubt.share is None


@pytest.mark.parametrize(
    ("marker", "positive", "nearest", "held", "verdict"),
    [
        ("ER", 0.5, 10, (), "clear"),
        ("ER", 0.1, 10, (10,), "review by eye"),
        ("PR", 0.01, 1, (1,), "review by eye"),
        ("Ki-67", 0.16, 5, (), "clear"),
        ("Ki-67", 0.305, 30, (30,), "review by eye"),
    ],
)
def test_a_cut_off_in_the_interval_asks_for_a_look(
    marker: Marker, positive: float, nearest: float, held: tuple[float, ...], verdict: str
) -> None:
    found = scores(scattered(6000, positive=positive), settings(marker))
    figures = found.scores["Epithelium"]
    assert figures.certainty.cut_off.percent == nearest
    assert figures.certainty.cut_off.distance == pytest.approx(figures.positive_percent - nearest)
    assert figures.certainty.cut_off.held == held
    assert figures.verdict == verdict
    asked = [warning for warning in found.warnings if "review by eye" in warning]
    assert len(asked) == (verdict == "review by eye")


def test_cut_offs_can_be_set_and_other_markers_have_none() -> None:
    nuclei = scattered(4000, positive=0.5)
    assert certainty(nuclei, settings("other")).cut_off is None
    assert certainty(nuclei, settings(cutoffs_percent=[])).cut_off is None
    found = certainty(nuclei, settings("other", cutoffs_percent=[20, 50]))
    assert (found.cut_off.percent, found.cut_off.held) == (50, (50,))


def test_a_cut_off_counts_once_whatever_the_order() -> None:
    assert settings(cutoffs_percent=[50, 20, 50]).cutoffs_percent == (20, 50)


def test_doubtful_nuclei_may_leave_a_cut_off_that_is_reached_exactly() -> None:
    """10 % of ER is Low Positive and more is positive: one nucleus more changes the status."""
    nuclei = replace(
        scattered(101, positive=0, side_um=100), label=np.array([1] * 100 + [0], np.uint8)
    )
    nuclei.measurements["Nucleus: DAB OD mean"][[*range(10), 100]] = 0.2
    assert certainty(nuclei).cut_off.verdict is None
    nuclei.measurements["Class probability"][100] = 0.6  # a positive one, of the other class
    found = certainty(nuclei)
    assert (found.cut_off.distance, found.cut_off.verdict) == (0, "review by eye")


def test_a_cut_off_is_met_whatever_the_last_bit() -> None:
    """7 of 100 are 7.000000000000001 %."""
    nuclei = scattered(100, positive=0, side_um=100)
    nuclei.measurements["Nucleus: DAB OD mean"][:7] = 0.2
    nuclei.measurements["Class probability"][8:40] = 0.6  # without them it is more
    found = certainty(nuclei, settings("other", cutoffs_percent=[7]))
    assert (found.cut_off.distance, found.cut_off.crossed) == (0, (7,))


def test_without_an_interval_there_is_no_verdict() -> None:
    near = certainty(scattered(300, positive=0.5, side_um=100)).cut_off
    assert (near.percent, near.held, near.verdict) == (10, (), None)


def test_regions_are_told_by_name_and_do_not_depend_on_each_other() -> None:
    nuclei = scattered(4000, positive=0.5)
    small = Roi("spot", None, MultiPolygon([box(0, 0, 200, 200)]))
    half = Roi("half", None, MultiPolygon([box(0, 0, 2000, 4000)]))
    both, alone = scores(nuclei, rois=[small, half]), scores(nuclei, rois=[half])
    assert both.regions[1].scores == alone.regions[0].scores
    spot = both.regions[0].scores["Epithelium"].h_score_interval
    assert spot is not None
    assert spot.reason == "an interval needs nuclei in 4 blocks of 250 um, here they lie in 1"
    assert (
        "In 1 of 2 regions (spot) fewer nuclei of Epithelium could be scored than a score should "
        "rest on."
    ) in both.warnings


def test_many_regions_give_one_warning_of_each_kind() -> None:
    """As the cores of a microarray; a name may be as long as a page."""
    nuclei = scattered(4000, positive=0.1, probability=0.6)
    cores = [
        Roi(f"{row}-{column}" + 200 * "x", None, MultiPolygon([box(x, y, x + 400, y + 400)]))
        for row, y in zip("ABCDEFGHIJ", range(0, 4000, 400), strict=True)
        for column, x in enumerate(range(0, 4000, 400), 1)
    ]
    tissue = MultiPolygon([box(0, 1000, 4000, 4000)])
    alone, all_cores = (
        scores(nuclei, tissue=tissue, rois=rois).warnings for rois in (cores[-1:], cores)
    )
    assert len(all_cores) <= len(alone) + 5
    assert max(map(len, all_cores)) < 350
    (few,) = [each for each in all_cores if "fewer nuclei" in each]
    assert few.startswith("In 100 of 100 regions (A-1xxx")
    assert " and 97 more) fewer nuclei of Epithelium could be scored" in few


def test_clear_needs_enough_nuclei() -> None:
    assert certainty(scattered(250, positive=0.6)).cut_off.verdict == "clear"
    found = scores(scattered(150, positive=0.6))
    assert found.verdict == "review by eye"
    assert [each for each in found.warnings if "review by eye" in each] == []
    assert any(each.startswith("Only 150 nuclei (Epithelium)") for each in found.warnings)


def test_outside_the_breast_its_cut_offs_do_not_apply() -> None:
    found = certainty(scattered(300, positive=0.5), settings(breast_guidelines=False))
    assert found.cut_off is None
    own = settings(breast_guidelines=False, cutoffs_percent=[20])
    assert certainty(scattered(300, positive=0.5), own).cut_off.percent == 20


def test_a_single_nucleus_and_an_empty_table_are_no_error() -> None:
    for nuclei in (scattered(1, positive=1), scattered(0, positive=0), Nuclei.empty(CLASSES)):
        for found in scores(nuclei).scores.values():
            assert found.h_score_interval.low is None
            assert found.h_score_interval.reason
            assert not found.certainty.enough


def test_intervals_are_told_in_brackets() -> None:
    interval = Interval(low=121.4, high=135.6, blocks=40, block_um=500.0, reason=None)
    none = Interval(low=None, high=None, blocks=1, block_um=250.0, reason="few")
    h_score = partial(with_interval, highest=300, digits=0)
    assert h_score(128.2, interval) == "128 (121 - 136)"
    assert h_score(128.2, none) == h_score(128.2, None) == "128"
    assert h_score(None, none) is None
    wide = Interval(low=7.82, high=10.4, blocks=40, block_um=500.0, reason=None)
    assert with_interval(9.1, wide, highest=100, digits=1) == "9.1 (7.8 - 10.4)"


def test_an_interval_that_covers_most_of_the_scale_is_told_to_say_nothing() -> None:
    """As of cores of a microarray, which hold few blocks."""
    wide = Interval(low=3, high=300, blocks=5, block_um=250.0, reason=None)
    half = Interval(low=0, high=150, blocks=5, block_um=250.0, reason=None)
    assert with_interval(128, wide, highest=300, digits=0) == "128 (too few blocks for an interval)"
    assert with_interval(60, half, highest=300, digits=0) == "60 (0 - 150)"
    assert interval_text(wide, highest=300, digits=0) == "too few blocks"


def test_a_few_unlike_blocks_are_warned_of() -> None:
    nuclei = scattered(4000, positive=0.0, side_um=1000)
    nuclei.measurements["Nucleus: DAB OD mean"][nuclei.x < 250] = 0.9
    halves = Roi("core", None, MultiPolygon([box(0, 0, 500, 1000)]))
    found = scores(nuclei, rois=[halves])
    interval = found.scores["Epithelium"].h_score_interval
    assert interval is not None
    assert interval.says_little(highest=300)
    assert any("of Epithelium covers most of the scale" in each for each in found.warnings)
    told = scores(nuclei, rois=[halves, replace(halves, name="again")]).warnings
    start = "In 2 of 2 regions (core, again) there are too few"
    assert any(each.startswith(start) for each in told)
