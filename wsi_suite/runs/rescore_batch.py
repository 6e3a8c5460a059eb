"""New scores of many results: the work of ``wsi-suite score``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from wsi_suite.analysis.given_regions import RegionsLike
from wsi_suite.analysis.summary import write_summary
from wsi_suite.config import MeasureSettings, ScoreSettings, StainSettings
from wsi_suite.errors import ConfigError, WsiSuiteError
from wsi_suite.nuclei.parquet import read_provenance
from wsi_suite.qupath.objects import Shape
from wsi_suite.runs.folder import lock_folder, unlock_folder
from wsi_suite.runs.hot_spot_file import write_hot_spots
from wsi_suite.runs.outcome import Outcome, Outcomes, Tell, log_errors
from wsi_suite.runs.rescore import rescore, table_of, write_rescored
from wsi_suite.runs.state import State
from wsi_suite.runs.summary_csv import write_table
from wsi_suite.slides.store_layout import writing


def rescore_batch(
    results: Sequence[Path],
    settings: ScoreSettings,
    *,
    measure: MeasureSettings | None = None,
    stain: StainSettings | None = None,
    rois: RegionsLike = None,
    out: Path | None = None,
    geojson: Shape | None = None,
    by_region: bool = False,
    tell: Tell = log_errors,
) -> Outcomes:
    """Score results again and, if `out` is given, write the scores and ``summary.csv`` there.

    Parameters
    ----------
    results
        Results folders, or their ``nuclei.parquet``.
    settings, measure, stain, rois
        As for :func:`~wsi_suite.runs.rescore.rescore`.
    out
        Gets a folder for each result; nothing is written without it.
    geojson
        Write the nuclei in this shape too.
    by_region
        One file of nuclei per region.
    tell
        Receives the outcome of each result, and errors of the batch as a whole.

    Returns
    -------
    Outcomes
        A list with an :class:`Outcome` per result, in their order; a result that cannot be scored
        has an error.

    Raises
    ------
    ConfigError
        Scores would take the place of others in `out`.
    BusyError
        Another process writes scores to `out`.
    """
    several = len(results) > 1
    scored = partial(
        rescore, settings=settings, measure=measure, stain=stain, rois=rois, several=several
    )
    if out is None:
        outcomes = Outcomes(_rescored(result, scored) for result in results)
        for outcome in outcomes:
            tell(outcome)
        return outcomes
    nuclei = None
    if geojson is not None:
        nuclei = partial(
            write_rescored,
            settings=settings,
            shape=geojson,
            by_region=by_region,
            rois=rois,
            several=several,
        )
    with _alone_in(out):
        outcomes = Outcomes(_rescored(result, scored) for result in results)
        _refuse_same_folders(out, results, outcomes)
        outcomes = Outcomes(
            _written(outcome, result, folder=_folder_of(outcome, out), nuclei=nuclei)
            for outcome, result in zip(outcomes, results, strict=True)
        )
        for outcome in outcomes:
            tell(outcome)
        _write_table(out, outcomes, tell=tell)
    return outcomes


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Keep other processes from writing scores there: of two, each would keep a part."""
    lease = lock_folder(out, remedy="wait for it, or give another --out")
    try:
        yield
    finally:
        unlock_folder(out, lease)


def _rescored(result: Path, scored: Callable[[Path], Outcome]) -> Outcome:
    try:
        return scored(result)
    except WsiSuiteError as error:
        return Outcome(result, None, state=State.FAILED, error=error)


def _written(
    outcome: Outcome, result: Path, *, folder: Path, nuclei: Callable[[Path, Path], object] | None
) -> Outcome:
    """Write the scores of a result and, with `nuclei`, its nuclei; return how it ended."""
    if outcome.summary is None:
        return outcome
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_summary(folder, outcome.summary)
        provenance = read_provenance(table_of(result))
        write_hot_spots(folder, outcome.summary, provenance=provenance)
        if nuclei is not None:
            nuclei(result, folder)
    except WsiSuiteError as error:
        return replace(outcome, state=State.FAILED, error=error)
    return outcome


def _refuse_same_folders(out: Path, results: Sequence[Path], outcomes: Sequence[Outcome]) -> None:
    """Refuse an output folder in which scores would take the place of others."""
    taken: dict[Path, Path] = {}
    for result, outcome in zip(results, outcomes, strict=True):
        if outcome.summary is None:
            continue
        folder = _folder_of(outcome, out).resolve()
        if outcome.folder is not None and outcome.folder.resolve() == folder:
            raise ConfigError(f"--out {out}: {result} itself is there; give another folder")
        if taken.setdefault(folder, result) != result:
            raise ConfigError(
                f"--out {out}: {result} and {taken[folder]} would both go to {folder.name}; score "
                "them one by one, each to a folder of its own"
            )


def _write_table(out: Path, outcomes: Sequence[Outcome], *, tell: Tell) -> None:
    scored = [
        replace(outcome, folder=_folder_of(outcome, out)) if outcome.summary else outcome
        for outcome in outcomes
    ]
    try:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        write_table(out, scored)
    except WsiSuiteError as error:
        tell(error)


def _folder_of(outcome: Outcome, out: Path) -> Path:
    return out / (outcome.folder or outcome.slide).name
