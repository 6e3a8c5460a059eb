"""``run``, ``tile``, ``detect``, ``score``: from slides to scores, whole or in parts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_suite.cli.options import (
    ConfigFile,
    Debug,
    Device,
    Json,
    KeepTiles,
    Model,
    Mpp,
    Out,
    Overwrite,
    RoiFile,
    Scheduler,
    SetValue,
    Slides,
    Workers,
    settings_from,
)

if TYPE_CHECKING:
    from wsi_suite.batch import Outcome

Results = Annotated[
    list[Path],
    typer.Argument(help="Folders that a run left, or nuclei.parquet files.", metavar="RESULT..."),
]
TileFolders = Annotated[
    list[Path],
    typer.Argument(help="Folders that 'wsi-suite tile' left.", metavar="FOLDER..."),
]


def run(
    slides: Slides,
    out: Out,
    mpp: Mpp = None,
    roi: RoiFile = None,
    model: Model = None,
    config: ConfigFile = None,
    set_: SetValue = None,
    device: Device = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    keep_tiles: KeepTiles = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find, classify and measure the nuclei of slides, and score them.

    Each slide gets a folder in DIR with [bold]overview.png[/bold] (look at this first),
    nuclei.parquet, nuclei.geojson (for QuPath), summary.json and tiles.ome.zarr; DIR/summary.csv
    has a line a slide. The same command again goes on where it was stopped.

    wsi-suite run B12_ER.svs --out results --set score.marker=ER
    """
    from wsi_suite.sources import expand_slides

    settings = settings_from(
        config, set_, mpp=mpp, detect__model=model, tiles__keep=keep_tiles, run__device=device,
        run__workers=workers, run__scheduler=scheduler,
    )
    _finish(
        _batch(expand_slides(slides), as_json=as_json, out=out, settings=settings, stage="run",
               rois=roi, overwrite=overwrite),
        out=out, as_json=as_json,
    )


def tile(
    slides: Slides,
    out: Out,
    mpp: Mpp = None,
    roi: RoiFile = None,
    model: Model = None,
    config: ConfigFile = None,
    set_: SetValue = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Store the tissue of slides as OME-Zarr, at the resolution that the model reads.

    The first half of [bold]run[/bold]; 'wsi-suite detect' does the second, without the slides.

    wsi-suite tile slides/*.svs --out results
    """
    from wsi_suite.sources import expand_slides

    settings = settings_from(config, set_, mpp=mpp, detect__model=model, run__workers=workers,
                             run__scheduler=scheduler)
    _finish(
        _batch(expand_slides(slides), as_json=as_json, out=out, settings=settings, stage="tile",
               rois=roi, overwrite=overwrite),
        out=out, as_json=as_json,
    )


def detect(
    folders: TileFolders,
    roi: RoiFile = None,
    model: Model = None,
    config: ConfigFile = None,
    set_: SetValue = None,
    device: Device = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find, measure and score nuclei in stored tiles; results go beside the tiles.

    Gives the same bytes as [bold]run[/bold] does. Give the same --roi, if any, as for 'tile'.

    wsi-suite detect results/B12_ER --set score.marker=ER
    """
    settings = settings_from(config, set_, detect__model=model, run__device=device,
                             run__workers=workers, run__scheduler=scheduler)
    out = folders[0].resolve().parent
    _finish(
        _batch(folders, as_json=as_json, out=out, settings=settings, stage="detect", rois=roi,
               overwrite=overwrite),
        out=out, as_json=as_json,
    )


def score(
    results: Results,
    roi: RoiFile = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR",
                     help="Write summary.json per slide and summary.csv there."),
    ] = None,
    config: ConfigFile = None,
    set_: SetValue = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score nuclei again with other thresholds or regions; needs neither slide nor model.

    wsi-suite score results/B12_ER --set score.thresholds_od=[0.1,0.3,0.5]
    """
    from wsi_suite.rescore import rescore

    settings = settings_from(config, set_).score
    given = settings.model_fields_set
    outcomes = [rescore(result, settings, given=given, rois=roi, several=len(results) > 1)
                for result in results]
    if out is not None:
        _write_scores(out, outcomes)
    _finish(outcomes, out=out, as_json=as_json)


def _batch(slides: Sequence[Path], *, as_json: bool, **arguments: Any) -> list[Outcome]:  # noqa: ANN401
    from wsi_suite.batch import run_batch
    from wsi_suite.cli.terminal import SlideProgress

    with SlideProgress() as progress:
        return run_batch(slides, progress=progress, **arguments)


def _write_scores(out: Path, outcomes: Sequence[Outcome]) -> None:
    from wsi_suite.outputs import write_json, write_summary_csv

    for outcome in outcomes:
        if outcome.summary is not None:
            folder = out / (outcome.folder or outcome.slide).name
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "summary.json", outcome.summary)
    write_summary_csv(out / "summary.csv", (outcome.row() for outcome in outcomes))


def _finish(outcomes: Sequence[Outcome], *, out: Path | None, as_json: bool) -> None:
    """Print the results, and leave with the right exit code."""
    from wsi_suite.cli.terminal import show_table, stderr, stdout

    if as_json:
        stdout.file.write(json.dumps([_as_json(outcome) for outcome in outcomes], indent=2) + "\n")
    else:
        scored = [outcome for outcome in outcomes if outcome.summary is not None]
        if scored:
            rows = [outcome.row() for outcome in scored]
            show_table(
                "",
                ("slide", "nuclei", "mm2", "H-score", "positive %", "of"),
                [(row["slide"], row["nuclei"], row["tissue_area_mm2"], row["h_score"],
                  row["positive_percent"], row["headline"].removesuffix(": H-score"))
                 for row in rows],
            )
        for warning in dict.fromkeys(w for o in scored for w in (o.summary or {})["warnings"]):
            stderr.print(f"[yellow]note:[/yellow] {warning}")
        if out is not None and scored:
            stderr.print(f"One line a slide: {out / 'summary.csv'}", markup=False, soft_wrap=True)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed:
        if len(outcomes) > 1:
            stderr.print(f"{len(failed)} of {len(outcomes)} slides failed; run again to go on")
        only = failed[0].error if len(outcomes) == 1 else None
        sys.exit(only.exit_code if only else 1)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "slide": str(outcome.slide),
        "folder": str(outcome.folder) if outcome.folder else None,
        "state": outcome.state,
        "error": str(outcome.error) if outcome.error else None,
        "summary": outcome.summary,
    }
