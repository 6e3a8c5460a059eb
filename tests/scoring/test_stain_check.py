"""What other stain vectors would make of an H-score, and warnings about a slide's stain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wsi_suite.analysis.stain_sample import SampledStains, check_stains, sampled_stains
from wsi_suite.config import MeasureSettings, ScoreSettings
from wsi_suite.nuclei.provenance import StainCheck
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.stain_check import (
    dab_with_other_vectors,
    stain_figures,
    stain_warnings,
)
from wsi_suite.scoring.summary import summarise
from wsi_suite.staining.deconvolution import H_DAB, StainVectors, combine_stains
from wsi_suite.staining.measurement import measure_nuclei

SETTINGS = ScoreSettings(thresholds_od=(0.1, 0.3, 0.5), marker="ER")
TRUE = StainVectors((0.60, 0.72, 0.35), (0.35, 0.55, 0.76), (240.0, 236.0, 225.0))


def table(hematoxylin: list[float], dab: list[float]) -> Nuclei:
    count = len(dab)
    return Nuclei(
        x=np.arange(count) + 0.5,
        y=np.full(count, 0.5),
        confidence=np.ones(count, np.float32),
        label=np.zeros(count, np.uint8),
        classes=("Epithelium",),
        measurements={
            "Nucleus: DAB OD mean": np.array(dab, np.float32),
            "Nucleus: Hematoxylin OD mean": np.array(hematoxylin, np.float32),
        },
    )


def check(**values: Any) -> StainCheck:
    return StainCheck(
        **{
            "kind": "H-DAB",
            "hematoxylin": (0.6, 0.7, 0.3),
            "dab": (0.3, 0.6, 0.7),
            "hematoxylin_degrees": 3.0,
            "dab_degrees": 2.0,
            "pixels": 9999,
            "share": 0.5,
            "dab_od_from": (0.5, 1.0, -0.1),
            **values,
        }
    )


def test_the_h_score_follows_from_the_means_of_each_nucleus() -> None:
    nuclei = table([0.4, 0.0, 1.2], [0.05, 0.25, np.nan])
    found = stain_figures(
        check(), nuclei, SETTINGS, class_name="Epithelium", h_score=50.0, rows=None
    )
    assert found is not None
    assert (found.h_score, found.h_score_change) == (100.0, 50.0), "0.15 and 0.15: 1+ and 1+"
    assert stain_warnings(found, has_tissue=True) == []


def test_vectors_that_do_not_fit_are_warned_of() -> None:
    nuclei = table([0.4, 0.0], [0.05, 0.25])
    summary = summarise(
        nuclei, SETTINGS, mpp=(0.5, 0.5), tissue_area_mm2=1.0, stains=check(dab_degrees=14.0)
    )
    assert summary.stains is not None
    assert summary.stains.dab_degrees == 14
    (told,) = [warning for warning in summary.warnings if "degrees" in warning]
    assert "3 degrees (hematoxylin) and 14 degrees (DAB)" in told
    assert "the H-score would be 100 (+50)" in told
    assert "stains estimate" in told


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("H&E", None),  # there is no verdict, which says it all
        ("DAB", "without a counterstain"),
        ("hematoxylin", "no DAB"),
        ("empty", "hardly any stain"),
    ],
)
def test_slides_of_another_kind_are_named(kind: str, told: str | None) -> None:
    of_kind = StainCheck(kind=kind)
    options: dict[str, Any] = {"class_name": "Epithelium", "h_score": 100.0, "rows": None}
    found = stain_figures(of_kind, table([0.1], [0.2]), SETTINGS, **options)
    assert found is not None
    assert found.h_score is None
    warnings = stain_warnings(found, has_tissue=True)
    assert warnings == [] if told is None else told in warnings[0]
    assert stain_warnings(found, has_tissue=False) == [], "that there is none is told already"


def test_no_nuclei_no_hematoxylin_and_earlier_results() -> None:
    options: dict[str, Any] = {"class_name": "Epithelium", "rows": None}
    empty = Nuclei.empty(("Epithelium",))
    found = stain_figures(check(), empty, SETTINGS, h_score=None, **options)
    assert found is not None
    assert (found.h_score, found.h_score_change) == (None, None)
    assert stain_figures(None, empty, SETTINGS, h_score=None, **options) is None
    only_dab = {"Nucleus: DAB OD mean": np.float32([0.2])}
    assert dab_with_other_vectors(only_dab, (0.5, 1.0, 0.0)) is None


def test_means_tell_what_measuring_again_would() -> None:
    """Nuclei of known stains, measured with the wrong vectors and background, and with theirs."""
    generator = np.random.default_rng(0)
    amounts = np.zeros((200, 200, 3))
    amounts[..., 0] = 0.08
    points = np.array([(x, y) for x in range(20, 200, 20) for y in range(20, 200, 20)], float)
    down, across = np.mgrid[:200, :200] + 0.5
    for x, y in points:
        inside = np.hypot(across - x, down - y) < 6
        amounts[inside, 0] = generator.uniform(0.2, 0.6)
        amounts[inside, 1] = generator.uniform(0.0, 0.6)
    rgb = combine_stains(amounts, TRUE)
    measured = [
        measure_nuclei(
            rgb, points, mpp=(0.5, 0.5), stains=stains, settings=MeasureSettings()
        ).values
        for stains in (H_DAB, TRUE)
    ]
    sampled = sampled_stains(rgb.reshape(-1, 3), glass=TRUE.background)
    exact = SampledStains(
        **{
            **dict(sampled),
            "hematoxylin": TRUE.hematoxylin,
            "dab": TRUE.dab,
            "normal": tuple(TRUE.matrix[2]),
        }
    )
    compared = check_stains(exact, H_DAB)
    assert compared is not None
    assert compared.dab_od_from is not None
    found = dab_with_other_vectors(measured[0], compared.dab_od_from)
    wanted = measured[1]["Nucleus: DAB OD mean"]
    assert np.abs(measured[0]["Nucleus: DAB OD mean"] - wanted).max() > 0.05
    assert found == pytest.approx(wanted, abs=0.006)


def test_samples_without_stain_are_not_compared() -> None:
    white = np.full((5000, 3), 255, np.uint8)
    sampled = sampled_stains(white, glass=None)
    assert (sampled.kind, sampled.hematoxylin) == ("empty", None)
    assert check_stains(sampled, H_DAB) == StainCheck(kind="empty")
    assert check_stains(None, H_DAB) is None
    nothing = sampled_stains(white[:0], glass=(12.0, 10.0, 9.0))
    assert (nothing.kind, nothing.background) == ("empty", (255, 255, 255))
