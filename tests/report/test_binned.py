"""Counts from which a page scores again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slide_results import make_nuclei

from wsi_suite.nuclei.table import Nuclei
from wsi_suite.report.binned import bin_nuclei
from wsi_suite.report.histogram import draw_histogram
from wsi_suite.scoring.hscore import score_nuclei
from wsi_suite.scoring.intensity import grade_nuclei

DEFAULTS = (0.2, 0.4, 0.6)


@given(
    values=st.lists(st.one_of(st.floats(-0.5, 4, width=32), st.just(float("nan"))), max_size=60),
    hundredths=st.sets(st.integers(0, 100), min_size=3, max_size=3),
)
def test_scores_at_any_edges_are_those_of_the_table(
    values: list[float], hundredths: set[int]
) -> None:
    """Also where values lie on a threshold, in single precision."""
    nuclei = make_nuclei(len(values) + 101, dab_od=[*values, *np.arange(101) / 100])
    low, middle, high = sorted(hundredths)
    thresholds = (low / 100, middle / 100, high / 100)
    rows = np.arange(0, len(nuclei), 2)
    binned = bin_nuclei(nuclei, thresholds_od=DEFAULTS, parts=[("", rows)])
    grades = grade_nuclei(nuclei, thresholds)
    assert binned.score(0, thresholds) == score_nuclei(nuclei, grades, rows=rows)


@pytest.mark.parametrize("own", [(0.137, 0.4, 0.6), (0.2, 0.4, 7.5), (0.30000001, 0.4, 0.401)])
def test_thresholds_of_the_run_are_among_the_edges(own: tuple[float, float, float]) -> None:
    nuclei = make_nuclei(300, dab_od=np.linspace(-0.2, 8, 300))
    rows = np.arange(300)
    binned = bin_nuclei(nuclei, thresholds_od=own, parts=[("", rows)])
    assert binned.score(0, own) == score_nuclei(nuclei, grade_nuclei(nuclei, own))
    assert len(binned.edges_od) < 320


def test_no_nuclei_give_empty_counts() -> None:
    nothing = Nuclei.empty(("Stroma", "Epithelium"))
    binned = bin_nuclei(nothing, thresholds_od=DEFAULTS, parts=[("", np.zeros(0, int))])
    assert binned.score(0, DEFAULTS)["Epithelium"].nuclei == 0
    assert draw_histogram(binned, part=0, label=None).path == ""


def test_bars_hold_all_measured_nuclei() -> None:
    """Those beyond both ends, too: the first bar starts at 0, and the axis ends at 1."""
    values = [-0.3, 0.0, 0.04, 0.05, 0.99, 5.0]
    binned = bin_nuclei(
        make_nuclei(6, dab_od=values), thresholds_od=DEFAULTS, parts=[("", np.arange(6))]
    )
    shown = draw_histogram(binned, part=0, label=None)
    assert shown.steps == 300  # nearly all values, but never beyond 3
    assert (
        shown.path
        == "M0,100V0.0H5V100ZM5,100V66.7H10V100ZM95,100V66.7H100V100ZM295,100V66.7H300V100Z"
    )
