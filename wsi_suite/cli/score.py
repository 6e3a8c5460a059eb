"""``score``: scores from the tables of earlier runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

if TYPE_CHECKING:
    from wsi_suite.config import ScoreSettings
    from wsi_suite.outcome import Outcome

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
    if out is not None:
        check_out(out)
        _write_scores(out, outcomes)
        if geojson is not None:
            regions |= {"shape": geojson.value, "by_region": by_region}
            _write_nuclei(out, zip(results, outcomes, strict=True), settings=settings, **regions)
    show_outcomes(outcomes, as_json=as_json, table=out and out / "summary.csv")


def _rescored(result: Path, settings: ScoreSettings, **arguments: Any) -> Outcome:  # noqa: ANN401
    from wsi_suite.cli.terminal import show_error
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.outcome import Outcome
    from wsi_suite.rescore import rescore

    try:
        return rescore(result, settings, **arguments)
    except WsiSuiteError as error:
        show_error(error)
        return Outcome(result, None, state="failed", error=error)


def _write_scores(out: Path, outcomes: Sequence[Outcome]) -> None:
    from wsi_suite.outputs import write_json, write_summary_csv

    out.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        if outcome.summary is not None:
            folder = _scores_folder(out, outcome)
            folder.mkdir(exist_ok=True)
            write_json(folder / "summary.json", outcome.summary)
    write_summary_csv(out / "summary.csv", (outcome.row() for outcome in outcomes))


def _write_nuclei(
    out: Path,
    results: Iterable[tuple[Path, Outcome]],
    **arguments: Any,  # noqa: ANN401 - write_rescored's
) -> None:
    from wsi_suite.rescore import write_rescored

    for result, outcome in results:
        if outcome.summary is not None:
            write_rescored(result, _scores_folder(out, outcome), **arguments)


def _scores_folder(out: Path, outcome: Outcome) -> Path:
    return out / (outcome.folder or outcome.slide).name
