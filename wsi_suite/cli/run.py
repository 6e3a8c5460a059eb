"""``run``, ``tile`` and ``detect``: from slides to scores, whole or in parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_suite.cli.options import (
    ClusterFile,
    ConfigFiles,
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
    Share,
    StageDir,
    StageGb,
    Workers,
    settings_from,
)
from wsi_suite.cli.outcomes import show_outcomes
from wsi_suite.commands.checks import check_out

if TYPE_CHECKING:
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.runs.entry import Entry
    from wsi_suite.runs.outcome import Outcome

_QUPATH = "QuPath projects"

TileFolders = Annotated[
    list[Path],
    typer.Argument(
        help="Folders that 'wsi-suite tile' left.", metavar="FOLDER...", show_default=False
    ),
]
_SLIDES = typer.Argument(
    help="Slide files, folders of slides, patterns such as 'slides/*.svs', or a manifest (CSV).",
    metavar="SLIDE...",
    show_default=False,
)
Slides = Annotated[list[str], _SLIDES]
SlidesOrProject = Annotated[list[str] | None, _SLIDES]
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
        "--project",
        help="Run on the images of this QuPath project and put the nuclei into it.",
        metavar="PATH",
        show_default=False,
        rich_help_panel=_QUPATH,
    ),
]
InClass = Annotated[
    str | None,
    typer.Option(
        "--in-class",
        help="Only inside annotations of this class, as Tumor, in images that have any.",
        metavar="NAME",
        show_default=False,
        rich_help_panel=_QUPATH,
    ),
]
RunEntries = Annotated[
    list[str] | None,
    typer.Option(
        "--entry",
        help="Only the image with this id in the project; can be given several times.",
        metavar="ID",
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

Report = Annotated[
    bool,
    typer.Option(
        "--report",
        help="Write report.html for each slide and for DIR, as 'wsi-suite report' does.",
    ),
]


def run(
    *,
    slides: SlidesOrProject = None,
    out: OutOrProject = None,
    project: RunProject = None,
    in_class: InClass = None,
    entry: RunEntries = None,
    force: RunForce = False,
    mpp: Mpp = None,
    roi: RoiFile = None,
    model: Model = None,
    config: ConfigFiles = None,
    set_: SetValue = None,
    device: Device = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    keep_tiles: KeepTiles = None,
    overwrite: Overwrite = False,
    share: Share = False,
    stage: StageDir = None,
    stage_gb: StageGb = None,
    report: Report = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find, classify and measure the nuclei of slides, and score them.

    Each slide gets a folder in DIR with [bold]overview.png[/bold] (look at this first),
    summary.json, nuclei.geojson (for QuPath), nuclei.parquet and tiles.ome.zarr; DIR/summary.csv
    has a line a slide. A run that was stopped goes on when the same command is given again.

    A manifest is a table with a column 'slide' (paths from its folder) and, as wanted, 'mpp', 'roi'
    and 'marker', which go over the options, and 'case', which goes into summary.csv.

    With --share, several processes, also on other machines that see DIR, do the slides together.
    Each takes slides that no other is at work on. If one ends or gives no sign of life for 2
    minutes, the others go on with its slides. All of them end when all slides are over.

    With --stage, slides of a slow share are copied to a local disk, one while the other is being
    done. Results are the same.

    With --project, the images of a QuPath project are run instead of SLIDE, and the nuclei are put
    into it at the end, as 'wsi-suite push' does.
    """
    from wsi_suite.cli.projects import run_on_project
    from wsi_suite.cli.terminal import note
    from wsi_suite.errors import ConfigError, InputError
    from wsi_suite.runs.manifest import expand_entries

    settings = settings_from(
        config,
        set_,
        mpp=mpp,
        detect__model=model,
        tiles__keep=keep_tiles,
        run__device=device,
        run__workers=workers,
        run__scheduler=scheduler,
        run__stage_dir=None if stage is None else str(stage),
        run__stage_gb=stage_gb,
        run__cluster=None if cluster is None else str(cluster),
    )
    if project is not None:
        if slides or roi:
            raise ConfigError("--project: takes the project's images; leave out SLIDE and --roi")
        if report:
            raise ConfigError(
                "--report: not with --project; run 'wsi-suite report' on its results afterwards"
            )
        if share:
            raise ConfigError(
                "--share: not with --project, which one process writes; share a 'run' on the "
                "slides, then 'wsi-suite push' its results"
            )
        run_on_project(
            project,
            out=out,
            settings=settings,
            in_class=in_class,
            entries=entry or (),
            overwrite=overwrite,
            force=force,
            as_json=as_json,
        )
        return
    if in_class is not None:
        raise ConfigError("--in-class: takes annotations from a project; give --project, or --roi")
    if entry:
        raise ConfigError("--entry: names an image of a project; give --project, too")
    if not slides:
        raise InputError(
            "Missing argument 'SLIDE...' or option '--project'. See 'wsi-suite run --help'."
        )
    if out is None:
        raise InputError("Missing option '--out'. See 'wsi-suite run --help'.")
    _batch(
        expand_entries(slides, tell=note),
        out=out,
        settings=settings,
        stage="run",
        rois=roi,
        overwrite=overwrite,
        share=share,
        report=report,
        as_json=as_json,
    )


def tile(
    *,
    slides: Slides,
    out: Out,
    mpp: Mpp = None,
    roi: RoiFile = None,
    model: Model = None,
    config: ConfigFiles = None,
    set_: SetValue = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    overwrite: Overwrite = False,
    share: Share = False,
    stage: StageDir = None,
    stage_gb: StageGb = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Store the tissue of slides as OME-Zarr, at the resolution that the model reads.

    The first half of [bold]run[/bold]; 'wsi-suite detect' does the second, without the slides.
    """
    from wsi_suite.cli.terminal import note
    from wsi_suite.runs.manifest import expand_entries

    settings = settings_from(
        config,
        set_,
        mpp=mpp,
        detect__model=model,
        run__workers=workers,
        run__scheduler=scheduler,
        run__stage_dir=None if stage is None else str(stage),
        run__stage_gb=stage_gb,
        run__cluster=None if cluster is None else str(cluster),
    )
    _batch(
        expand_entries(slides, tell=note),
        out=out,
        settings=settings,
        stage="tile",
        rois=roi,
        overwrite=overwrite,
        share=share,
        as_json=as_json,
    )


def detect(
    *,
    folders: TileFolders,
    roi: RoiFile = None,
    model: Model = None,
    config: ConfigFiles = None,
    set_: SetValue = None,
    device: Device = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    overwrite: Overwrite = False,
    share: Share = False,
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
        run__cluster=None if cluster is None else str(cluster),
    )
    there = [folder for folder in folders if folder.is_dir()]
    if not there:
        raise InputError(f"{folders[0]}: no such folder; make it with 'wsi-suite tile'")
    out = there[0].resolve().parent
    _batch(
        folders,
        out=out,
        settings=settings,
        stage="detect",
        rois=roi,
        overwrite=overwrite,
        share=share,
        as_json=as_json,
    )


def _batch(
    slides: Sequence[Path | Entry],
    *,
    as_json: bool,
    report: bool = False,
    **arguments: Any,  # noqa: ANN401 - run_batch's
) -> None:
    """Run slides, print the outcomes and exit with the right code."""
    from wsi_suite.cli.batch_totals import BatchTotals
    from wsi_suite.cli.progress import slide_progress
    from wsi_suite.cli.terminal import INTERRUPTED, INTERRUPTED_OVERWRITING, INTERRUPTED_SHARING

    out: Path = arguments["out"]
    check_out(out)
    interrupted = INTERRUPTED_SHARING if arguments["share"] else INTERRUPTED
    if arguments["overwrite"]:
        interrupted = INTERRUPTED_OVERWRITING
    totals = BatchTotals(len(slides), shared=arguments["share"]) if len(slides) > 1 else None
    with slide_progress(interrupted=interrupted, totals=totals) as shown:
        from wsi_suite.runs.batch import run_batch  # takes seconds, so that something should move

        outcomes = run_batch(slides, progress=shown.step, tell=shown.tell, **arguments)
    written = arguments["stage"] != "tile" and not shown.complaints
    table = out / "summary.csv" if written else None
    failed = _report(outcomes, out=out) if report else []
    show_outcomes(
        outcomes,
        as_json=as_json,
        table=table,
        beside=[*shown.complaints, *failed],
    )


def _report(outcomes: Sequence[Outcome], *, out: Path) -> list[WsiSuiteError]:
    """Write the reports of finished slides; return the errors, which were shown."""
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.report import ToldReports

    told = ToldReports()
    with working("writing reports"):
        from wsi_suite.runs.reports import report_batch

        report_batch(out, outcomes, tell=told.tell)
    return told.failed
