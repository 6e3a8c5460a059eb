"""Many slides, one after another and yet without a gap: what the command line runs.

Regions of all slides flow through one bounded window, so that workers are busy while the next
slide is surveyed and the last one written, and memory does not grow with the batch. A slide that
fails is reported and never stops the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wsi_suite.cluster import Cluster, open_cluster, probe_workers, region_task
from wsi_suite.config import Settings
from wsi_suite.errors import InputError, OutputError, RegionError, WsiSuiteError
from wsi_suite.outputs import summary_row, write_summary_csv
from wsi_suite.pipeline import (
    Request,
    SlideRun,
    Stage,
    fail_run,
    finish_run,
    pending_regions,
    prepare_run,
    record_region,
)
from wsi_suite.qupath.rois import read_rois
from wsi_suite.run_folder import SlideIdentity, read_run, result_folders
from wsi_suite.slides.grid import Region

if TYPE_CHECKING:
    from distributed import Future

    from wsi_suite.engine import SlideJob
    from wsi_suite.nuclei.detector import Compute
    from wsi_suite.nuclei.weights import ModelFolder

log = logging.getLogger(__name__)


class Progress(Protocol):
    """What a batch tells of its course; keys name slides."""

    def begin(self, key: str, *, pixels: int, done: int) -> None:
        """A slide is planned: working pixels in all, and those done by an earlier start."""

    def advance(self, key: str, pixels: int) -> None:
        """Some pixels are done; from any thread."""

    def finish(self, outcome: Outcome) -> None:
        """A slide is over."""


class NoProgress:
    """Tells nobody."""

    def begin(self, key: str, *, pixels: int, done: int) -> None:
        """Do nothing."""

    def advance(self, key: str, pixels: int) -> None:
        """Do nothing."""

    def finish(self, outcome: Outcome) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Outcome:
    """How a slide ended.

    Attributes
    ----------
    slide
        Its file.
    folder
        Where its results are.
    state
        ``done``, ``tiled`` or ``failed``.
    summary
        What ``summary.json`` holds, where it was scored.
    error
        Why it failed.
    """

    slide: Path
    folder: Path | None
    state: str
    summary: dict[str, Any] | None = None
    error: WsiSuiteError | None = None

    def row(self) -> dict[str, Any]:
        """Return its line of ``summary.csv``."""
        return {
            "slide": self.slide.name,
            "folder": self.folder.name if self.folder else None,
            "state": self.state,
            "error": str(self.error) if self.error else None,
            **(summary_row(self.summary) if self.summary else {}),
        }


@dataclass
class _Flight:
    """A slide whose regions are under way."""

    run: SlideRun
    left: int = 0
    failed: bool = False


@dataclass
class _Batch:
    """The state of a batch while it runs."""

    cluster: Cluster
    progress: Progress
    outcomes: dict[Path, Outcome] = field(default_factory=dict)

    def end(self, slide: Path, folder: Path | None, **fields: Any) -> None:  # noqa: ANN401
        """Note how a slide ended."""
        self.outcomes[slide] = Outcome(slide, folder, **fields)
        self.progress.finish(self.outcomes[slide])


def run_batch(
    slides: Sequence[Path],
    *,
    out: Path,
    settings: Settings,
    stage: Stage = "run",
    rois: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Run one or many slides and write ``summary.csv``.

    Parameters
    ----------
    slides
        Slide files; for ``detect`` folders that ``tile`` left.
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
    progress
        Hears of what happens.

    Returns
    -------
    list of Outcome
        One per slide, in their order.

    Raises
    ------
    WsiSuiteError
        Model, device, scheduler or output folder cannot be used at all.
    """
    from wsi_suite.nuclei.detector import choose_compute
    from wsi_suite.nuclei.weights import find_model

    progress = progress or NoProgress()
    model = find_model(settings.detect.model)
    compute = None
    if stage != "tile":
        compute = choose_compute(settings.run.device, settings.detect.precision)
    _make_folder(out)
    device = compute.device if compute else "cpu"
    with open_cluster(settings.run, device=device, progress=progress.advance) as cluster:
        batch = _Batch(cluster, progress)
        requests = _requests(batch, slides, out=out, settings=settings, stage=stage, rois=rois,
                             overwrite=overwrite, model=model, compute=compute)
        _fly(batch, requests)
    outcomes = [batch.outcomes[slide] for slide in slides]
    if stage != "tile":
        write_summary_csv(out / "summary.csv", (outcome.row() for outcome in outcomes))
    return outcomes


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out {out}: cannot be made ({error.strerror})") from None


def _requests(
    batch: _Batch,
    slides: Sequence[Path],
    *,
    out: Path,
    settings: Settings,
    stage: Stage,
    rois: Path | None,
    overwrite: bool,
    model: ModelFolder,
    compute: Compute | None,
) -> Iterator[Request]:
    """Yield what is asked for each slide; one that cannot be read ends here."""
    identities: dict[Path, SlideIdentity] = {}
    for slide in slides:
        try:
            identities[slide] = _stored_identity(slide) if stage == "detect" else (
                SlideIdentity.of(slide))
        except WsiSuiteError as error:
            batch.end(slide, None, state="failed", error=error)
    if stage == "detect":
        folders = {slide: slide for slide in identities}
    else:
        folders = result_folders(out, identities.items())
    taken: dict[Path, Path] = {}
    for slide, identity in identities.items():
        folder = folders[slide]
        first = taken.setdefault(folder, slide)
        try:
            if first != slide:
                raise InputError(f"{slide}: is the same slide as {first}; give it once")
            roi_file = roi_file_of(slide, rois, several=len(slides) > 1)
            yield Request(
                stage=stage, slide=slide, identity=identity, folder=folder, settings=settings,
                model=model, compute=compute, threads=batch.cluster.threads, overwrite=overwrite,
                rois=None if roi_file is None else read_rois(roi_file), roi_file=roi_file,
            )
        except WsiSuiteError as error:
            batch.end(slide, folder, state="failed", error=error)


def _stored_identity(folder: Path) -> SlideIdentity:
    run = read_run(folder)
    if run is None:
        raise InputError(f"{folder}: no tiles here; make them with 'wsi-suite tile'")
    return SlideIdentity(**run["fingerprint"]["slide"])


def roi_file_of(slide: Path, rois: Path | None, *, several: bool) -> Path | None:
    """Return the file with the regions of interest of one slide."""
    if rois is None:
        return None
    if rois.is_dir():
        return next(
            (path for end in (".geojson", ".geojson.gz")
             if (path := rois / f"{slide.stem}{end}").exists()),
            rois / f"{slide.stem}.geojson",
        )
    if several:
        raise RegionError(f"--roi {rois}: one file for several slides; give a folder with "
                          "<slide's stem>.geojson for each")
    return rois


def _fly(batch: _Batch, requests: Iterator[Request]) -> None:
    """Keep the window of regions full until all slides are over."""
    from distributed import as_completed

    flights: dict[str, tuple[_Flight, SlideJob, Region]] = {}
    completed = as_completed(raise_errors=False)
    work = _work(batch, requests)
    while True:
        while len(flights) < batch.cluster.window:
            item = next(work, None)
            if item is None:
                break
            flight, job, region = item
            future = batch.cluster.client.submit(
                region_task, str(flight.run.request.slide), job, region, pure=False
            )
            flights[future.key] = item
            completed.add(future)
        if not flights:
            return
        future = next(completed)
        _land(batch, future, *flights.pop(future.key))


def _work(
    batch: _Batch, requests: Iterator[Request]
) -> Iterator[tuple[_Flight, SlideJob, Region]]:
    """Yield the regions of slide after slide, planning each when its turn comes."""
    for request in requests:
        flight = _begin(batch, request)
        if flight is None:
            continue
        pending = pending_regions(flight.run)
        flight.left = len(pending)
        in_all = sum(region.box.area for region in flight.run.job.grid.regions)
        left = sum(region.box.area for _, region in pending)
        batch.progress.begin(str(request.slide), pixels=in_all, done=in_all - left)
        if not pending:
            _finish(batch, flight)
        for job, region in pending:
            if flight.failed:
                break
            yield flight, job, region


def _begin(batch: _Batch, request: Request) -> _Flight | None:
    """Plan a slide, or end it where that fails."""
    try:
        run = prepare_run(request)
        if batch.cluster.remote and not run.done:
            probe_workers(
                batch.cluster.client,
                slide=request.slide.resolve(),
                folder=request.folder.resolve(),
                model=request.model.path.resolve(),
                model_hash=request.model.hash,
            )
    except Exception as error:  # noqa: BLE001 - one bad slide never stops a batch
        batch.end(request.slide, request.folder, state="failed", error=_told(error, request))
        return None
    return _Flight(run)


def _land(
    batch: _Batch, future: Future, flight: _Flight, job: SlideJob, region: Region
) -> None:
    """Keep what a region brought, and finish its slide with the last one."""
    if flight.failed:
        return
    try:
        record_region(flight.run, job, region, future.result())
    except Exception as error:  # noqa: BLE001 - one bad slide never stops a batch
        _fail(batch, flight, error)
        return
    flight.left -= 1
    if flight.left == 0:
        _finish(batch, flight)


def _finish(batch: _Batch, flight: _Flight) -> None:
    request = flight.run.request
    try:
        summary = finish_run(flight.run)
    except Exception as error:  # noqa: BLE001 - one bad slide never stops a batch
        _fail(batch, flight, error)
        return
    state = "tiled" if summary is None else "done"
    batch.end(request.slide, request.folder, state=state, summary=summary)


def _fail(batch: _Batch, flight: _Flight, error: Exception) -> None:
    flight.failed = True
    request = flight.run.request
    told = _told(error, request)
    with suppress(WsiSuiteError):
        fail_run(flight.run, str(told))
    batch.end(request.slide, request.folder, state="failed", error=told)


def _told(error: Exception, request: Request) -> WsiSuiteError:
    """Return an error that can be shown: ours as it is, another with the slide's name."""
    log.debug("%s failed", request.slide, exc_info=error)
    if isinstance(error, WsiSuiteError):
        return error
    reason = " ".join(str(error).split())[:300]
    told = WsiSuiteError(
        f"{request.slide}: {type(error).__name__}: {reason}; run again to go on, with --debug "
        "for the traceback"
    )
    told.__cause__ = error
    return told
