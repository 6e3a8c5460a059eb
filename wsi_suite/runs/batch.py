"""Batches of slides: the entry point of the command line and of Python users."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from wsi_suite.analysis.given_regions import RegionsLike, check_regions
from wsi_suite.analysis.request import complete_settings
from wsi_suite.config import Settings
from wsi_suite.errors import ConfigError, DiskError, InputError, OutputError, WsiSuiteError
from wsi_suite.files import long_path
from wsi_suite.given_settings import SettingsLike, settings_of
from wsi_suite.given_values import check_choice, path_of
from wsi_suite.progress import Meter, Progress, no_progress
from wsi_suite.runs.batch_record import note_slides
from wsi_suite.runs.batch_state import Batch
from wsi_suite.runs.cluster import Cluster, open_cluster
from wsi_suite.runs.entry import Entry
from wsi_suite.runs.given_slides import SlideLike, entries_of
from wsi_suite.runs.outcome import Outcome, Outcomes, Tell, log_errors
from wsi_suite.runs.request import BatchRequest, Stage, ask_for_slides
from wsi_suite.runs.scheduling import schedule
from wsi_suite.runs.sharing import Sharing
from wsi_suite.runs.staging import begin_staging, check_staging
from wsi_suite.runs.summary_csv import write_table
from wsi_suite.slides.store_layout import writing

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Compute
    from wsi_suite.detector.model_folder import ModelFolder

_LONG_PATH = 120  # characters; what a run adds must stay below the 260 of Windows


def run_slide(
    slide: SlideLike,
    *,
    out: str | Path,
    mpp: float | None = None,
    model: str | Path | None = None,
    rois: RegionsLike = None,
    settings: SettingsLike = None,
    device: str | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Outcome:
    """Run one slide and write its results into a folder.

    The nuclei and scores are those of :func:`~wsi_suite.analysis.analysed.analyse`, which takes the
    same arguments and writes nothing.

    Parameters
    ----------
    slide
        The slide: its file, or as it was opened.
    out, overwrite, progress
        As for :func:`run_batch`.
    mpp, model, device
        Go over those of `settings`, as for :func:`run_batch`.
    rois
        Regions of interest, level-0 pixels, or a GeoJSON file or a folder of them; without them all
        tissue is scored.
    settings
        As for :func:`run_batch`.

    Raises
    ------
    WsiSuiteError
        It failed.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> outcome = ws.run_slide("slides/B12_ER.svs", out="results", settings={"score.marker": "ER"})
    >>> outcome
    <Outcome: B12_ER.svs, done, H-score 243 of Epithelium>
    >>> outcome.summary.scores["Epithelium"].nuclei
    51
    """
    wanted = settings_of(settings, mpp=mpp, model=model, device=device)
    entries = entries_of(slide, mpp=wanted.mpp, tell=log_errors)
    if len(entries) > 1:
        raise InputError(f"{slide}: names {len(entries)} slides; use run_batch for several")
    (outcome,) = run_batch(
        entries, out=out, settings=wanted, rois=rois, overwrite=overwrite, progress=progress
    )
    if outcome.error is not None:
        raise outcome.error
    return outcome


def run_batch(
    slides: SlideLike | Iterable[SlideLike],
    *,
    out: str | Path,
    mpp: float | None = None,
    model: str | Path | None = None,
    rois: RegionsLike = None,
    settings: SettingsLike = None,
    device: str | None = None,
    stage: Stage = "run",
    overwrite: bool = False,
    share: bool = False,
    progress: Progress = no_progress,
    tell: Tell = log_errors,
) -> Outcomes:
    """Run one or many slides and write ``summary.csv``.

    With several workers, call it under ``if __name__ == "__main__"``: their processes import the
    main module.

    Parameters
    ----------
    slides
        Slides: files, or as they were opened; folders, patterns such as ``slides/*.svs``, and
        manifests (CSV) stand for the slides that they name. For ``detect`` the folders that
        ``tile`` left.
    out
        Gets a folder for each slide.
    mpp
        um per pixel of level 0, for all slides; goes over what files state.
    model
        Name or folder of a model; by default that of `settings`.
    rois
        Regions of interest: a folder of ``<stem>.geojson``; for one slide also a GeoJSON file, or
        regions themselves. Without them all tissue is scored.
    settings
        All settings: :class:`~wsi_suite.config.Settings`, values by name as in
        ``{"score.marker": "ER"}``, or the path of a YAML file. `mpp`, `model` and `device` go over
        them.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    stage
        ``run``, or a part of it: ``tile`` stores tiles, ``detect`` reads them.
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
    Outcomes
        A list with an :class:`Outcome` per slide, in their order.

    Raises
    ------
    WsiSuiteError
        Model, device, scheduler, regions or output folder cannot be used at all, or a folder,
        pattern or manifest names no slides.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> outcomes = ws.run_batch("slides/", out="results", settings="lab.yaml")
    >>> len(outcomes), outcomes[0]
    (3, <Outcome: B12_ER.svs, done, H-score 243 of Epithelium>)
    >>> [outcome.slide.name for outcome in outcomes if outcome.error]
    []
    """
    from wsi_suite.detector.model_folder import find_model

    if share and overwrite:
        raise ConfigError(
            "--share: not with --overwrite, as each process would throw away what the others did; "
            "remove the earlier results, or give another --out"
        )
    check_choice(stage, get_args(Stage), option="stage")
    out = path_of(out, option="--out")
    wanted = settings_of(settings, mpp=mpp, model=model, device=device)
    check_staging(wanted.run)
    found = find_model(wanted.detect.model)
    wanted = complete_settings(wanted, found)
    entries = entries_of(slides, mpp=wanted.mpp, expand=stage != "detect", tell=tell)
    regions = check_regions(rois, several=len(entries) > 1)
    meter = Meter(progress)
    device = "cpu" if stage == "tile" else wanted.run.device
    with (
        ExitStack() as locks,  # let go last: until then workers may write
        open_cluster(wanted.run, device=device, progress=meter.advance, tell=tell) as cluster,
    ):
        asked = BatchRequest(
            stage=stage,
            settings=wanted,
            model=found,
            compute=_settle_compute(cluster, found, wanted, stage=stage),
            threads=cluster.threads,
            overwrite=overwrite,
            share=share,
        )
        out = _make_folder(out)
        if stage != "detect":  # whose slides were begun by 'tile'
            note_slides(out, [entry.slide for entry in entries])
        with ThreadPoolExecutor(1, "wsi-finish") as finisher:
            batch = Batch(cluster, finisher, locks, meter, tell)
            _begin_helpers(batch, asked, out=out)
            schedule(batch, ask_for_slides(entries, batch=asked, out=out, rois=regions))
    outcomes = _outcomes_of(batch, entries)
    if stage != "tile" and not all(isinstance(end.error, OutputError) for end in outcomes):
        _write_table(out, outcomes, tell=tell)
    return outcomes


def _settle_compute(
    cluster: Cluster, model: ModelFolder, settings: Settings, *, stage: Stage
) -> Compute | None:
    """Settle how workers compute, and load the model; ``None`` if nothing is detected."""
    if stage == "tile":
        return None
    from wsi_suite.detector.detector import for_model

    detect = settings.detect
    compute = cluster.choose_compute(settings.run.device, detect.precision, flips=detect.flips)
    compute = for_model(compute, model)
    cluster.load_model(model, compute)
    return compute


def _begin_helpers(batch: Batch, asked: BatchRequest, *, out: Path) -> None:
    """Meet other processes of the batch, and have slides copied, if the user wants it."""
    if asked.share:
        with writing(out):
            batch.sharing = Sharing.begin(out, tell=batch.tell)
    if asked.stage != "detect":  # which reads tiles
        batch.staging = begin_staging(asked.settings.run, tell=batch.tell)
    if batch.staging is not None:
        batch.locks.callback(batch.staging.close)


def _outcomes_of(batch: Batch, entries: Sequence[Entry]) -> Outcomes:
    """Return how the slides ended, in their order, with what other processes did since."""
    ended = batch.outcomes
    if batch.sharing is not None:
        ended = {slide: batch.sharing.latest(end) for slide, end in ended.items()}
    return Outcomes(replace(ended[entry.slide], case=entry.case) for entry in entries)


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
