"""``score``: scores from the tables of earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_suite.cli.options import (
    ConfigFile,
    Debug,
    Json,
    RoiFile,
    SetValue,
    Shape,
    check_out,
    settings_from,
)
from wsi_suite.cli.outcomes import show_outcomes
from wsi_suite.runs.state import State

if TYPE_CHECKING:
    from wsi_suite.config import ScoreSettings
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.runs.outcome import Outcome

Results = Annotated[
    list[Path],
    typer.Argument(
        help="Folders that a run left, or nuclei.parquet files.",
        metavar="RESULT...",
        show_default=False,
    ),
]
ScoresOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Write summary.json per slide and summary.csv there; else only print.",
    ),
]
NewGeoJson = Annotated[
    Shape | None,
    typer.Option(
        "--geojson",
        help="Write the nuclei with their new classes there too, as polygon, ellipse or point.",
        metavar="SHAPE",
        show_default=False,
    ),
]
ByRegion = Annotated[
    bool, typer.Option("--by-region", help="With --geojson: one file per region of interest.")
]


def score(
    *,
    results: Results,
    roi: RoiFile = None,
    out: ScoresOut = None,
    geojson: NewGeoJson = None,
    by_region: ByRegion = False,
    config: ConfigFile = None,
    set_: SetValue = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score nuclei again with other thresholds or regions; needs neither slide nor model.

    What is not set is as the run had it. Takes about a second for a million nuclei.
    """
    from wsi_suite.errors import ConfigError

    for override in set_ or []:
        if not override.startswith("score."):
            raise ConfigError(
                f"--set {override}: 'wsi-suite score' sets score.* alone; the rest needs"
                " 'wsi-suite run'"
            )
    if geojson is not None and out is None:
        raise ConfigError("--geojson: give --out too, the folder for the files")
    if by_region and geojson is None:
        raise ConfigError("--by-region: give --geojson too, such as --geojson polygon")
    settings = settings_from(config, set_).score
    regions: dict[str, Any] = {"rois": roi, "several": len(results) > 1}
    outcomes = [_rescored(result, settings, **regions) for result in results]
    table, failed = None, []
    if out is not None:
        check_out(out)
        _refuse_same_folders(out, results, outcomes)
        nuclei = None
        if geojson is not None:
            nuclei = {**regions, "settings": settings, "shape": geojson.value}
            nuclei["by_region"] = by_region
        outcomes = [
            _written(outcome, result, folder=_scores_folder(out, outcome), nuclei=nuclei)
            for result, outcome in zip(results, outcomes, strict=True)
        ]
        failed = _write_table(out, outcomes)
        table = None if failed else out / "summary.csv"
    show_outcomes(outcomes, as_json=as_json, table=table, beside=failed)


def _rescored(result: Path, settings: ScoreSettings, **arguments: Any) -> Outcome:  # noqa: ANN401
    from wsi_suite.cli.terminal import show_error
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.runs.outcome import Outcome
    from wsi_suite.runs.rescore import rescore

    try:
        return rescore(result, settings, **arguments)
    except WsiSuiteError as error:
        show_error(error)
        return Outcome(result, None, state=State.FAILED, error=error)


def _refuse_same_folders(out: Path, results: Sequence[Path], outcomes: Sequence[Outcome]) -> None:
    """Refuse an output folder in which scores would take the place of others."""
    from wsi_suite.errors import ConfigError

    taken: dict[Path, Path] = {}
    for result, outcome in zip(results, outcomes, strict=True):
        if outcome.summary is None:
            continue
        folder = _scores_folder(out, outcome).resolve()
        if outcome.folder is not None and outcome.folder.resolve() == folder:
            raise ConfigError(f"--out {out}: {result} itself is there; give another folder")
        if taken.setdefault(folder, result) != result:
            raise ConfigError(
                f"--out {out}: {result} and {taken[folder]} would both go to {folder.name}; score "
                "them one by one, each to a folder of its own"
            )


def _written(
    outcome: Outcome, result: Path, *, folder: Path, nuclei: dict[str, Any] | None
) -> Outcome:
    """Write the scores of a result and, where `nuclei` says how, its nuclei; a failure is told."""
    from wsi_suite.analysis.summary import write_summary
    from wsi_suite.cli.terminal import show_error
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.runs.rescore import write_rescored
    from wsi_suite.slides.store_layout import writing

    if outcome.summary is None:
        return outcome
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_summary(folder, outcome.summary)
        if nuclei is not None:
            write_rescored(result, folder, **nuclei)
    except WsiSuiteError as error:
        show_error(error)
        return replace(outcome, state=State.FAILED, error=error)
    return outcome


def _write_table(out: Path, outcomes: Sequence[Outcome]) -> list[WsiSuiteError]:
    """Write ``summary.csv``; return the error, already shown, if it cannot be written."""
    from wsi_suite.cli.terminal import show_error
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.runs.summary_csv import write_table
    from wsi_suite.slides.store_layout import writing

    try:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        scored = [
            replace(outcome, folder=_scores_folder(out, outcome)) if outcome.summary else outcome
            for outcome in outcomes
        ]
        write_table(out, scored)
    except WsiSuiteError as error:
        show_error(error)
        return [error]
    return []


def _scores_folder(out: Path, outcome: Outcome) -> Path:
    return out / (outcome.folder or outcome.slide).name
