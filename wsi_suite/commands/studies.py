"""``compare``: agreement of two lists of scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsi_suite.commands.checks import check_page
from wsi_suite.given_values import number_of, numbers_of, path_of
from wsi_suite.studies import comparison
from wsi_suite.studies.comparison import Agreement
from wsi_suite.studies.score_lists import H_SCORE

_GROUPS = "rising scores, as in 50,100,200"


def compare(
    first: str | Path,
    second: str | Path,
    *,
    score: str = H_SCORE,
    class_name: str | None = None,
    column_a: str | None = None,
    column_b: str | None = None,
    tolerance: float | None = None,
    cutoff: float | None = None,
    groups: Sequence[float] | None = None,
    out: str | Path | None = None,
) -> Agreement:
    """Compare scores of the same slides: readers, the suite and a reader, or two runs.

    Slides are matched by their names, without folder and ending. Regions are compared if a table
    has a column of them, else whole slides.

    Parameters
    ----------
    first, second
        Results folders, or tables (CSV, XLSX) with a slide and its score in each row.
    score
        ``h_score`` or ``positive_percent``.
    class_name
        Class of nuclei whose score is taken; by default the headline's.
    column_a, column_b
        Columns of the two tables with the score; by default found by their names.
    tolerance
        Difference of two scores that is tolerated; by default 20 of an H-score, 10 percent.
    cutoff
        Score from which a slide is positive; adds the agreement on that.
    groups
        Scores at which groups begin, rising, for kappa; by default 50, 100 and 200 of an H-score, 1
        and 10 percent.
    out
        Becomes an HTML page with plots and all scores.

    Returns
    -------
    Agreement
        ICC, concordance, limits of agreement, kappa, and the pairs of scores.

    Raises
    ------
    WsiSuiteError
        An argument or a list cannot be used, no slide has a score in both, or the page cannot be
        written.

    Examples
    --------
    >>> agreement = compare("results", "readers.xlsx", out="agreement.html")
    >>> agreement.icc.value, agreement.limits.bias.value
    """
    page = path_of(out, option="--out", optional=True)
    check_page(page, option="--out")
    agreement = comparison.compare_files(
        path_of(first, option="first"),
        path_of(second, option="second"),
        score=score,
        class_name=class_name,
        columns=(column_a, column_b),
        tolerance=None if tolerance is None else number_of(tolerance, option="--tolerance"),
        cutoff=None if cutoff is None else number_of(cutoff, option="--cutoff"),
        groups=None if groups is None else numbers_of(groups, option="--groups", example=_GROUPS),
    )
    if page is not None:
        from wsi_suite.studies.comparison_page import write_comparison_page

        write_comparison_page(page, agreement)
    return agreement
