"""Agreement of two lists of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from wsi_suite.documents import Document, Part
from wsi_suite.errors import ConfigError, DataError
from wsi_suite.scoring.agreement import (
    Figure,
    Limits,
    Scores,
    category_table,
    concordance_correlation,
    cutoff_table,
    intraclass_correlation,
    limits_of_agreement,
    share,
    weighted_kappa,
    within_tolerance,
)
from wsi_suite.studies.score_lists import (
    H_SCORE,
    HIGHEST,
    POSITIVE_PERCENT,
    SCORES,
    ScoreList,
    is_regional,
    read_scores,
)

TOLERANCES: Mapping[str, float] = {H_SCORE: 20.0, POSITIVE_PERCENT: 10.0}
"""Tolerated difference of two scores, by default."""

GROUPS: Mapping[str, tuple[float, ...]] = {
    H_SCORE: (50.0, 100.0, 200.0),
    POSITIVE_PERCENT: (1.0, 10.0),
}
"""Where groups of scores begin, by default: of an H-score weak, moderate and strong; of a positive
percentage ASCO's and CAP's "low positive" and "positive" (Allison et al., J Clin Oncol 2020, 38,
1346)."""


class Pair(Part):
    """Two scores of a slide or region, and the first less the second."""

    slide: str
    first: float
    second: float
    difference: float


class Side(Part):
    """One of the two lists.

    Attributes
    ----------
    name, score
        Its name, and what was read: a score of results or a column.
    alone
        Slides that the other list lacks.
    without_score
        Slides of both lists that have no score in this one.
    mean
        Of the pairs.
    """

    name: str
    score: str
    alone: tuple[str, ...]
    without_score: tuple[str, ...]
    mean: float | None


class CutoffAgreement(Part):
    """Agreement on which scores reach a cut-off.

    Attributes
    ----------
    cutoff
        Scores from here are positive.
    both, only_first, only_second, neither
        Number of pairs.
    agreement
        Share of the pairs on one side of it.
    kappa
        Cohen's.
    """

    cutoff: float
    both: int
    only_first: int
    only_second: int
    neither: int
    agreement: Figure
    kappa: Figure


class Agreement(Document):
    """Agreement of two lists of scores.

    Attributes
    ----------
    score
        ``h_score`` or ``positive_percent``.
    first, second
        The lists.
    pairs
        Number of slides or regions with a score in both.
    icc, concordance
        ICC(2,1) and Lin's concordance correlation coefficient.
    limits
        Bland-Altman analysis of first less second.
    tolerance, within
        A difference, and the share of pairs that differ by at most that.
    groups, group_table, kappa
        Where groups of scores begin, pairs by group (the first's in rows), and their kappa with
        quadratic weights.
    at_cutoff
        Agreement at a cut-off, if one was given.
    scores
        The pairs, the largest difference first.
    """

    score: str
    first: Side
    second: Side
    pairs: int
    icc: Figure
    concordance: Figure
    limits: Limits
    tolerance: float
    within: Figure
    groups: tuple[float, ...]
    group_table: tuple[tuple[int, ...], ...]
    kappa: Figure
    at_cutoff: CutoffAgreement | None
    scores: tuple[Pair, ...]


def compare_files(
    first: Path,
    second: Path,
    *,
    score: str = H_SCORE,
    class_name: str | None = None,
    columns: tuple[str | None, str | None] = (None, None),
    tolerance: float | None = None,
    cutoff: float | None = None,
    groups: Sequence[float] | None = None,
) -> Agreement:
    """Read two lists of scores and compare them; see :func:`compare_scores`.

    Regions are compared if a table has a column of them, else whole slides.

    Parameters
    ----------
    first, second
        Results folders or tables.
    score, class_name, columns
        What to read; see :func:`~wsi_suite.studies.score_lists.read_scores`.
    tolerance, cutoff, groups
        As for :func:`compare_scores`.

    Raises
    ------
    ConfigError, DataError, OutputError
        An option or a list cannot be used.
    """
    if score not in SCORES:
        raise ConfigError(f"--score {score}: expected {' or '.join(SCORES)}")
    regions = any(map(is_regional, (first, second)))
    lists = [
        read_scores(
            source,
            score=score,
            class_name=class_name,
            column=column,
            option=f"--column-{side}",
            regions=regions,
        )
        for source, column, side in zip((first, second), columns, "ab", strict=True)
    ]
    return compare_scores(*lists, score=score, tolerance=tolerance, cutoff=cutoff, groups=groups)


def compare_scores(
    first: ScoreList,
    second: ScoreList,
    *,
    score: str = H_SCORE,
    tolerance: float | None = None,
    cutoff: float | None = None,
    groups: Sequence[float] | None = None,
) -> Agreement:
    """Compare the scores of the slides that are in both lists.

    Parameters
    ----------
    first, second
        The lists.
    score
        Which score it is, for the defaults of tolerance and groups.
    tolerance
        Tolerated difference.
    cutoff
        Scores from here are positive; ``None``: no agreement at a cut-off.
    groups
        Where groups of scores begin, rising.

    Raises
    ------
    ConfigError
        Tolerance or groups are not usable.
    DataError
        No slide has a score in both.
    """
    tolerance = TOLERANCES[score] if tolerance is None else tolerance
    groups = GROUPS[score] if groups is None else tuple(groups)
    _check_options(tolerance, groups, cutoff, highest=HIGHEST[score])
    keys = sorted(first.values.keys() & second.values.keys())
    if not keys:
        raise DataError(_nothing_in_common(first, second))
    a, b = (np.array([one.values[key] for key in keys]) for one in (first, second))
    pairs = [
        Pair(slide=first.labels[key], first=x, second=y, difference=x - y)
        for key, x, y in zip(keys, a.tolist(), b.tolist(), strict=True)
    ]
    table = category_table(a, b, borders=groups)
    return Agreement(
        score=score,
        first=_side(first, other=second, mean=float(a.mean()), name=_names(first, second)[0]),
        second=_side(second, other=first, mean=float(b.mean()), name=_names(first, second)[1]),
        pairs=len(keys),
        icc=intraclass_correlation(np.column_stack([a, b])),
        concordance=concordance_correlation(a, b),
        limits=limits_of_agreement(a, b),
        tolerance=tolerance,
        within=share(within_tolerance(a, b, tolerance=tolerance), len(keys)),
        groups=groups,
        group_table=tuple(map(tuple, table.tolist())),
        kappa=weighted_kappa(table),
        at_cutoff=None if cutoff is None else _at_cutoff(a, b, cutoff),
        scores=tuple(sorted(pairs, key=lambda pair: (-abs(pair.difference), pair.slide))),
    )


def _check_options(
    tolerance: float, groups: Sequence[float], cutoff: float | None, *, highest: float
) -> None:
    if not 0 <= tolerance < np.inf:
        raise ConfigError(f"--tolerance {tolerance:g}: expected a difference of 0 or more")
    rising = all(low < high for low, high in pairwise(groups))
    if not groups or not rising or not np.isfinite(groups).all():
        said = ",".join(f"{value:g}" for value in groups)
        raise ConfigError(f"--groups {said}: expected rising scores, as in 50,100,200")
    if not (groups[0] > 0 and groups[-1] <= highest):
        said = ",".join(f"{value:g}" for value in groups)
        raise ConfigError(f"--groups {said}: expected scores above 0, up to {highest:g}")
    if cutoff is not None and not 0 <= cutoff <= highest:
        raise ConfigError(f"--cutoff {cutoff:g}: expected a score from 0 to {highest:g}")


def _side(one: ScoreList, *, other: ScoreList, mean: float, name: str) -> Side:
    return Side(
        name=name,
        score=one.score,
        alone=tuple(one.labels[key] for key in sorted(one.labels.keys() - other.labels.keys())),
        without_score=tuple(one.labels[key] for key in one.missing if key in other.labels),
        mean=mean,
    )


def _names(first: ScoreList, second: ScoreList) -> tuple[str, str]:
    """Return names that tell two lists apart."""
    if first.name != second.name:
        return first.name, second.name
    if first.score != second.score:
        return f"{first.name}: {first.score}", f"{second.name}: {second.score}"
    return f"{first.name} (A)", f"{second.name} (B)"


def _at_cutoff(first: Scores, second: Scores, cutoff: float) -> CutoffAgreement:
    table = cutoff_table(first, second, cutoff=cutoff)
    return CutoffAgreement(
        cutoff=cutoff,
        both=table.both,
        only_first=table.only_first,
        only_second=table.only_second,
        neither=table.neither,
        agreement=share(table.both + table.neither, table.pairs),
        kappa=weighted_kappa([[table.neither, table.only_second], [table.only_first, table.both]]),
    )


def _nothing_in_common(first: ScoreList, second: ScoreList) -> str:
    common = first.labels.keys() & second.labels.keys()
    names = " and ".join(_names(first, second))
    if common:
        return f"{names}: none of the {len(common)} slides in both has a score in both"
    examples = [f"'{next(iter(one.labels.values()))}'" for one in (first, second)]
    return (
        f"{names} have no slide in common ({' there, '.join(examples)} here); slides are matched "
        "by name, without folder and ending"
    )
