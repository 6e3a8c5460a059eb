"""Batches of slides: the entry point of the command line and of Python users."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from wsi_suite.analysis.request import complete_settings
from wsi_suite.config import Settings
from wsi_suite.errors import ConfigError, DiskError, OutputError, WsiSuiteError
from wsi_suite.files import long_path
from wsi_suite.progress import Meter, Progress, no_progress
from wsi_suite.runs.batch_record import note_slides
from wsi_suite.runs.cluster import open_cluster
from wsi_suite.runs.entry import Entry
from wsi_suite.runs.outcome import Outcome, Tell, log_errors
from wsi_suite.runs.request import BatchRequest, Stage, ask_for_slides
from wsi_suite.runs.scheduling import Batch, schedule
from wsi_suite.runs.sharing import Sharing
from wsi_suite.runs.staging import begin_staging, check_staging
from wsi_suite.runs.summary_csv import write_table
from wsi_suite.slides.sources import check_roi_source
from wsi_suite.slides.store_layout import writing

_LONG_PATH = 120  # characters; what a run adds must stay below the 260 of Windows


def run_slide(
    slide: str | Path,
    *,
    out: str | Path,
    settings: Settings | None = None,
    rois: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Outcome:
    """Run one slide; the parameters are those of :func:`run_batch`.

    Raises
    ------
    WsiSuiteError
        It failed.
    """
    (outcome,) = run_batch(
        [Path(slide)],
        out=Path(out),
        settings=settings or Settings(),
        rois=None if rois is None else Path(rois),
        overwrite=overwrite,
        progress=progress,
    )
    if outcome.error is not None:
        raise outcome.error
    return outcome


def run_batch(
    slides: Sequence[Path | Entry],
    *,
    out: Path,
    settings: Settings,
    stage: Stage = "run",
    rois: Path | None = None,
    overwrite: bool = False,
    share: bool = False,
    progress: Progress = no_progress,
    tell: Tell = log_errors,
) -> list[Outcome]:
    """Run one or many slides and write ``summary.csv``.

    With several workers, call it under ``if __name__ == "__main__"``: their processes import the
    main module.

    Parameters
    ----------
    slides
        Slide files; for ``detect`` folders that ``tile`` left. Entries, as
        :func:`~wsi_suite.runs.manifest.read_manifest` returns them, have settings of their own.
    out
        Gets a folder for each slide.
    settings
        All settings.
    stage
        ``run``, or a part of it.
    rois
        A GeoJSON file of regions of interest, or a folder of ``<stem>.geojson``.
    overwrite
        Throw away what an earlier run left.
    share
        Share the slides with other processes that were started in the same way on the same `out`,
        here or on machines that see it. Slides that one of them is at work on are left to it, and
        taken over if it ends or stops; each process returns when all slides are over.
    progress
        Receives working pixels done and in all, by slide.
    tell
        Receives outcomes as slides end, and errors of the batch as a whole.

    Returns
    -------
    list of Outcome
        One per slide, in their order.

    Raises
    ------
    WsiSuiteError
        Model, device, scheduler, regions or output folder cannot be used at all.
    """
    from wsi_suite.detector.model_folder import find_model

    if share and overwrite:
        raise ConfigError(
            "--share: not with --overwrite, as each process would throw away what the others did; "
            "remove the earlier results, or give another --out"
        )
    check_staging(settings.run)
    model = find_model(settings.detect.model)
    settings = complete_settings(settings, model)
    entries = [slide if isinstance(slide, Entry) else Entry(slide) for slide in slides]
    check_roi_source(rois, several=len(entries) > 1)
    meter = Meter(progress)
    device = "cpu" if stage == "tile" else settings.run.device
    with (
        ExitStack() as locks,  # let go last: until then workers may write
        open_cluster(settings.run, device=device, progress=meter.advance, tell=tell) as cluster,
    ):
        compute = None
        if stage != "tile":
            compute = cluster.choose_compute(
                device, settings.detect.precision, flips=settings.detect.flips
            )
            cluster.load_model(model, compute)
        out = _make_folder(out)
        if stage != "detect":  # whose slides were begun by 'tile'
            note_slides(out, [entry.slide for entry in entries])
        asked = BatchRequest(
            stage=stage,
            settings=settings,
            model=model,
            compute=compute,
            threads=cluster.threads,
            overwrite=overwrite,
            share=share,
        )
        with ThreadPoolExecutor(1, "wsi-finish") as finisher:
            batch = Batch(cluster, finisher, locks, meter, tell)
            if share:
                with writing(out):
                    batch.sharing = Sharing.begin(out, tell=tell)
            if stage != "detect":  # which reads tiles
                batch.staging = begin_staging(settings.run, tell=tell)
            if batch.staging is not None:
                locks.callback(batch.staging.close)
            schedule(batch, ask_for_slides(entries, batch=asked, out=out, rois=rois))
    ended = batch.outcomes
    if batch.sharing is not None:
        ended = {slide: batch.sharing.latest(end) for slide, end in ended.items()}
    outcomes = [replace(ended[entry.slide], case=entry.case) for entry in entries]
    if stage != "tile" and not all(isinstance(end.error, OutputError) for end in outcomes):
        _write_table(out, outcomes, tell=tell)
    return outcomes


def _write_table(out: Path, outcomes: Sequence[Outcome], *, tell: Tell) -> None:
    """Write ``summary.csv``; a failure is told, and the outcomes of the night are kept."""
    try:
        write_table(out, outcomes)
    except WsiSuiteError as error:
        told = any(isinstance(outcome.error, DiskError) for outcome in outcomes)
        if not (told and isinstance(error, DiskError)):
            tell(error)


def _make_folder(out: Path) -> Path:
    """Make a folder, and return its path in a form that may grow long on Windows too."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    return long_path(out, limit=_LONG_PATH)
