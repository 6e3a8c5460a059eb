"""``run``, ``tile``, ``detect``, ``score``: from slides to scores, whole or in parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    Shape,
    Slides,
    Workers,
    settings_from,
)
from wsi_suite.cli.outcomes import show_outcomes

if TYPE_CHECKING:
    from wsi_suite.config import ScoreSettings
    from wsi_suite.outcome import Outcome

_QUPATH = "QuPath projects"

Results = Annotated[
    list[Path],
    typer.Argument(
        help="Folders that a run left, or nuclei.parquet files.",
        metavar="RESULT...",
        show_default=False,
    ),
]
TileFolders = Annotated[
    list[Path],
    typer.Argument(
        help="Folders that 'wsi-suite tile' left.", metavar="FOLDER...", show_default=False
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
        help="Write the nuclei with their new classes there too, drawn so.",
        show_default=False,
    ),
]
ByRegion = Annotated[
    bool, typer.Option("--by-region", help="With --geojson: one file per region of interest.")
]


SlidesOrProject = Annotated[
    list[str] | None,
    typer.Argument(
        help="Slide files, folders of slides, or patterns such as 'slides/*.svs'.",
        metavar="SLIDE...",
        show_default=False,
    ),
]
OutOrProject = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for the results; with --project 'results' in its folder by default.",
        metavar="DIR",
        show_default=False,
    ),
]
RunProject = Annotated[
    Path | None,
    typer.Option(
        help="Run on the images of this QuPath project and put the nuclei into it.",
        metavar="PATH",
        show_default=False,
        rich_help_panel=_QUPATH,
    ),
]
InClass = Annotated[
    str | None,
    typer.Option(
        help="Only inside annotations of this class, as Tumor, in images that have any.",
        metavar="NAME",
        show_default=False,
        rich_help_panel=_QUPATH,
    ),
]
RunForce = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Write to the project even while QuPath is running; the program that saves last wins.",
        rich_help_panel=_QUPATH,
    ),
]


def run(
    *,
    slides: SlidesOrProject = None,
    out: OutOrProject = None,
    project: RunProject = None,
    in_class: InClass = None,
    force: RunForce = False,
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
    summary.json, nuclei.geojson (for QuPath), nuclei.parquet and tiles.ome.zarr; DIR/summary.csv
    has a line a slide. A run that was stopped goes on when the same command is given again.

    With --project, the images of a QuPath project are run instead of SLIDE, and the nuclei are put
    into it at the end, as 'wsi-suite push' does.
    """
    from wsi_suite.cli.projects import run_project
    from wsi_suite.errors import ConfigError
    from wsi_suite.sources import expand_slides

    settings = settings_from(
        config,
        set_,
        mpp=mpp,
        detect__model=model,
        tiles__keep=keep_tiles,
        run__device=device,
        run__workers=workers,
        run__scheduler=scheduler,
    )
    if project is not None:
        if slides or roi:
            raise ConfigError("--project: takes the project's images; leave out SLIDE and --roi")
        run_project(
            project,
            out=out,
            settings=settings,
            in_class=in_class,
            overwrite=overwrite,
            force=force,
            as_json=as_json,
        )
        return
    if in_class is not None or not slides or out is None:
        missing = "--project" if in_class is not None else "SLIDE or --project"
        raise ConfigError(f"missing {missing if in_class or not slides else '--out'}")
    outcomes = _batch(
        expand_slides(slides),
        out=out,
        settings=settings,
        stage="run",
        rois=roi,
        overwrite=overwrite,
    )
    show_outcomes(outcomes, as_json=as_json, table=out / "summary.csv")


def tile(
    *,
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
    """
    from wsi_suite.sources import expand_slides

    settings = settings_from(
        config,
        set_,
        mpp=mpp,
        detect__model=model,
        run__workers=workers,
        run__scheduler=scheduler,
    )
    outcomes = _batch(
        expand_slides(slides),
        out=out,
        settings=settings,
        stage="tile",
        rois=roi,
        overwrite=overwrite,
    )
    show_outcomes(outcomes, as_json=as_json)


def detect(
    *,
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
    """
    from wsi_suite.errors import InputError

    settings = settings_from(
        config,
        set_,
        detect__model=model,
        run__device=device,
        run__workers=workers,
        run__scheduler=scheduler,
    )
    there = [folder for folder in folders if folder.is_dir()]
    if not there:
        raise InputError(f"{folders[0]}: no such folder; make it with 'wsi-suite tile'")
    out = there[0].resolve().parent
    outcomes = _batch(
        folders, out=out, settings=settings, stage="detect", rois=roi, overwrite=overwrite
    )
    show_outcomes(outcomes, as_json=as_json, table=out / "summary.csv")


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
        _check_out(out)
        _write_scores(out, outcomes)
        if geojson is not None:
            regions |= {"shape": geojson.value, "by_region": by_region}
            _write_nuclei(out, zip(results, outcomes, strict=True), settings=settings, **regions)
    show_outcomes(outcomes, as_json=as_json, table=out and out / "summary.csv")


def _check_out(out: Path) -> None:
    """Refuse what can never become a folder."""
    from wsi_suite.errors import ConfigError

    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise ConfigError(
            f"--out {out}: '{there}' is a file; expected a folder, give another --out"
        )


def _batch(slides: Sequence[Path], **arguments: Any) -> list[Outcome]:  # noqa: ANN401 - run_batch's
    from wsi_suite.cli.progress import slide_progress

    _check_out(arguments["out"])
    with slide_progress() as progress:
        from wsi_suite.batch import run_batch  # takes seconds, so that something should move

        return run_batch(slides, progress=progress, **arguments)


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
