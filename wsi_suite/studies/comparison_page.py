"""The page of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from wsi_suite.pages import inline, write_page
from wsi_suite.studies.comparison import Agreement
from wsi_suite.studies.pictures import draw_difference, draw_scatter
from wsi_suite.studies.score_lists import H_SCORE, POSITIVE_PERCENT


def group_names(groups: Sequence[float]) -> list[str]:
    """Return names of groups of scores, such as ``50 to < 100``."""
    marks = [f"{value:g}" for value in groups]
    middle = [f"{low} to < {high}" for low, high in pairwise(marks)]
    return [f"< {marks[0]}", *middle, f">= {marks[-1]}"]


def write_comparison_page(path: Path, agreement: Agreement) -> None:
    """Write a comparison as one HTML file that needs no other."""
    first = np.array([pair.first for pair in agreement.scores])
    second = np.array([pair.second for pair in agreement.scores])
    names = agreement.first.name, agreement.second.name
    write_page(
        path,
        "comparison_page.html",
        package="wsi_suite.studies",
        agreement=agreement,
        title=score_title(agreement.score),
        groups=group_names(agreement.groups),
        scatter=inline(draw_scatter(first, second, names=names, tolerance=agreement.tolerance)),
        difference=inline(draw_difference(first, second, names=names, limits=agreement.limits)),
    )


def score_title(score: str) -> str:
    """Return the common name of a score."""
    return {H_SCORE: "H-score", POSITIVE_PERCENT: "positive %"}[score]
