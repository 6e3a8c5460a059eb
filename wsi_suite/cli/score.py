"""``score``: scores from the tables of earlier runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import (
    ConfigFiles,
    Debug,
    Json,
    RoiFile,
    SetValue,
    Shape,
    settings_from,
)
from wsi_suite.cli.outcomes import show_outcomes

if TYPE_CHECKING:
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
    config: ConfigFiles = None,
    set_: SetValue = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score nuclei again with other thresholds or regions; needs neither slide nor model.

    What is not set is as the run had it. Takes seconds for a million nuclei.
    """
    from wsi_suite.cli.terminal import note, show_error
    from wsi_suite.commands import scores
    from wsi_suite.errors import ConfigError, WsiSuiteError

    for override in set_ or []:
        if not override.startswith("score."):
            raise ConfigError(
                f"--set {override}: 'wsi-suite score' sets score.* alone; the rest needs"
                " 'wsi-suite run'"
            )
    failed: list[WsiSuiteError] = []

    def tell(news: Outcome | WsiSuiteError | str) -> None:
        if isinstance(news, str):
            note(news)
            return
        if isinstance(news, WsiSuiteError):
            failed.append(news)
        error = news if isinstance(news, WsiSuiteError) else news.error
        if error is not None:
            show_error(error)

    outcomes = scores.rescore_batch(
        results,
        settings=settings_from(config, set_),
        rois=roi,
        out=out,
        geojson=None if geojson is None else geojson.value,
        by_region=by_region,
        tell=tell,
    )
    table = None if out is None or failed else out / "summary.csv"
    show_outcomes(outcomes, as_json=as_json, table=table, beside=failed)
