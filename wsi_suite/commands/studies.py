"""``compare``, ``calibrate`` and ``corrections``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from wsi_suite.commands.checks import check_new, check_page
from wsi_suite.commands.results import ResultLike, folders_of
from wsi_suite.errors import ConfigError
from wsi_suite.given_values import number_of, numbers_of, path_of
from wsi_suite.studies import calibration, comparison
from wsi_suite.studies.calibration_document import Calibration, write_config
from wsi_suite.studies.comparison import Agreement
from wsi_suite.studies.corrections import Corrections, read_corrections
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
    >>> import wsi_suite as ws
    >>> agreement = ws.compare("results", "readers.csv", out="agreement.html")
    >>> agreement.pairs, round(agreement.limits.bias.value, 1)
    (3, 4.7)
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


def calibrate(
    results: ResultLike | Iterable[ResultLike],
    *,
    grades: str | Path | None = None,
    scores: str | Path | None = None,
    reviewed: str | None = None,
    score: str | None = None,
    column: str | None = None,
    class_name: str | None = None,
    out: str | Path | None = None,
    report: str | Path | None = None,
    overwrite: bool = False,
) -> Calibration:
    """Fit the intensity thresholds to labels: graded nuclei, or scores of slides.

    The fit is an exact search. Each slide is left out in turn, for an error on slides that the
    thresholds were not fitted to. Needs 10 nuclei of each grade, or 5 slides with scores.

    Parameters
    ----------
    results
        Results folders of the labelled slides, or what runs returned.
    grades
        Graded nuclei: the folder that a pull wrote, or a table with slide, x, y and grade.
    scores
        Scores by pathologists, in place of `grades`: a table with slide, maybe region, and
        ``h_score`` or ``positive_percent``.
    reviewed
        With a pulled folder: only nuclei in annotations of this name or class.
    score
        With `scores`: ``h_score``, which is the default, or ``positive_percent``.
    column
        With `scores`: the column with the score; by default found by its name.
    class_name
        With `scores`: class of nuclei whose score is taken; by default the headline's.
    out
        Becomes a YAML file with the thresholds and their origin, as `settings` arguments take it.
    report
        Becomes an HTML page with errors, plots and slides.
    overwrite
        Replace the file `out`.

    Returns
    -------
    Calibration
        The thresholds, their intervals and errors, and in `warnings` what to know of them.

    Raises
    ------
    WsiSuiteError
        An argument, a result or the labels cannot be used, or a file cannot be written.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> fitted = ws.calibrate("results", scores="readers.csv", out="thresholds.yaml")
    >>> fitted.thresholds_od, fitted.held_out.error
    >>> again = ws.rescore_batch("results", settings="thresholds.yaml")
    """
    config, page = (
        path_of(out, option="--out", optional=True),
        path_of(report, option="--report", optional=True),
    )
    check_new(config, overwrite=overwrite)
    check_page(page, option="--report")
    of_scores = {"--score": score, "--column": column, "--class": class_name}
    if (grades is None) == (scores is None):
        raise ConfigError("give --grades or --scores, one of them")
    if grades is not None and any(of_scores.values()):
        named = next(name for name, value in of_scores.items() if value)
        raise ConfigError(f"{named}: goes with --scores")
    if scores is not None and reviewed is not None:
        raise ConfigError("--reviewed: goes with --grades")
    folders = folders_of(results)
    if grades is not None:
        labels = path_of(grades, option="--grades")
        found = calibration.calibrate_on_grades(folders, labels, reviewed=reviewed)
    else:
        found = calibration.calibrate_on_scores(
            folders,
            path_of(scores or "", option="--scores"),
            score=score or H_SCORE,
            column=column,
            class_name=class_name,
        )
    if config is not None:
        write_config(config, found, overwrite=overwrite)
    if page is not None:
        from wsi_suite.studies.calibration_page import write_calibration_page

        write_calibration_page(page, found)
    return found


def corrections(pulled: str | Path, *, results: str | Path | None = None) -> list[Corrections]:
    """Tell from corrections in QuPath how good the detections were: missed, false, wrong class.

    Parameters
    ----------
    pulled
        Folder that :func:`~wsi_suite.commands.projects.pull` wrote.
    results
        Results folder that was pushed; it tells the classes of deleted nuclei that a project of an
        earlier version does not tell.

    Returns
    -------
    list of Corrections
        One per image. Images in which nothing was corrected (``is_corrected``) tell nothing: nobody
        may have looked at them.

    Raises
    ------
    WsiSuiteError
        The folder has no tables of a pull, or they are damaged.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> (image,) = ws.corrections("corrected")
    >>> image.precision, image.recall
    """
    return read_corrections(
        path_of(pulled, option="pulled"),
        results=path_of(results, option="--results", optional=True),
    )
