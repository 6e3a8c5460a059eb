"""Many slides, one after another and yet without a gap: what the command line runs.

Regions of all slides flow through one bounded window, so that workers are busy while the next
slide is surveyed and the last one written, and memory does not grow with the batch. A slide that
fails is reported and never stops the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wsi_suite.analysis import complete_settings
from wsi_suite.cluster import Cluster, open_cluster, probe_workers
from wsi_suite.config import Settings
from wsi_suite.engine import pixels_to_do
from wsi_suite.errors import OutputError, WorkerError, WsiSuiteError
from wsi_suite.outcome import NoProgress, Outcome, Progress, write_table
from wsi_suite.pipeline import (
    SlideRun,
    fail_run,
    finish_run,
    pending_regions,
    prepare_run,
    record_region,
)
from wsi_suite.request import Refused, Request, Stage, ask_for_slides
from wsi_suite.slides.grid import Region
from wsi_suite.slides.store_layout import long_path, writing
from wsi_suite.sources import check_roi_source

if TYPE_CHECKING:
    from distributed import Future, as_completed

    from wsi_suite.engine import SlideJob
    from wsi_suite.nuclei.table import Nuclei

__all__ = ["NoProgress", "Outcome", "Progress", "run_batch", "run_slide"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_LONG_PATH = 120  # characters; what a run adds must stay below the 260 of Windows


@dataclass(eq=False)
class _Flight:
    """A slide whose regions are under way."""

    run: SlideRun
    pending: list[tuple[SlideJob, Region]]
    left: int = 0
    failed: bool = False


@dataclass(frozen=True)
class _Item:
    """A region on its way; `alone` where it once fell with its worker."""

    flight: _Flight
    job: SlideJob
    region: Region
    alone: bool = False


@dataclass
class _Batch:
    """The state of a batch while it runs."""

    cluster: Cluster
    desk: ThreadPoolExecutor  # where slides are finished while others are under way
    locks: ExitStack  # takes the locks off the folders, whatever happens
    progress: Progress
    outcomes: dict[Path, Outcome] = field(default_factory=dict)

    def end(self, slide: Path, folder: Path | None, **fields: Any) -> None:  # noqa: ANN401
        """Note how a slide ended."""
        self.outcomes[slide] = Outcome(slide, folder, **fields)
        self.progress.finish(self.outcomes[slide])


def run_slide(
    slide: str | Path,
    *,
    out: str | Path,
    settings: Settings | None = None,
    rois: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
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

    With several workers, call it under ``if __name__ == "__main__"``: their processes import the
    main module.

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
        Model, device, scheduler, regions or output folder cannot be used at all.
    """
    from wsi_suite.nuclei.weights import find_model, load_network

    model = find_model(settings.detect.model)
    if stage != "tile":
        load_network(model)  # damaged weights are refused before anything is begun
    settings = complete_settings(settings, model)
    several = len(slides) > 1
    check_roi_source(rois, several=several)
    progress = progress or NoProgress()
    device = "cpu" if stage == "tile" else settings.run.device
    with (
        ExitStack() as locks,  # let go last: until then workers may write
        open_cluster(settings.run, device=device, progress=progress.advance) as cluster,
    ):
        compute = None
        if stage != "tile":
            compute = cluster.choose_compute(device, settings.detect.precision)
        out = _make_folder(out)
        ask = partial(
            Request,
            stage=stage,
            settings=settings,
            model=model,
            compute=compute,
            threads=cluster.threads,
            overwrite=overwrite,
        )
        with ThreadPoolExecutor(1, "wsi-finish") as desk:
            batch = _Batch(cluster, desk, locks, progress)
            _fly(batch, ask_for_slides(slides, ask=ask, out=out, rois=rois))
    outcomes = [batch.outcomes[slide] for slide in slides]
    if stage != "tile" and not all(isinstance(end.error, OutputError) for end in outcomes):
        write_table(out, outcomes)  # else the same would be said twice: nothing can be written
    return outcomes


def _make_folder(out: Path) -> Path:
    """Make a folder, and return its path in a form that may grow long on Windows too."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    return long_path(out) if len(str(out.resolve())) > _LONG_PATH else out


def _fly(batch: _Batch, requests: Iterator[Request | Refused]) -> None:
    """Keep the window of regions full until all slides are over.

    A worker that dies takes all its regions with it, and nobody knows which one it was. They are
    sent again one at a time, with nothing else in flight: the one that kills again is to blame.
    """
    import distributed

    work = _work(batch, requests)
    completed = distributed.as_completed(loop=batch.cluster.client.loop, raise_errors=False)
    flying: dict[object, _Item] = {}
    fallen: list[_Item] = []
    while True:
        if fallen and not flying:
            _send(batch, replace(fallen.pop(0), alone=True), flying, completed)
        elif not fallen:
            while len(flying) < batch.cluster.window and (item := next(work, None)) is not None:
                _send(batch, item, flying, completed)
            if not flying:
                return
        if flying:
            future = next(completed)
            fallen += _land(batch, future, flying.pop(future.key))


def _send(batch: _Batch, item: _Item, flying: dict[object, _Item], completed: as_completed) -> None:
    """Send a region off, unless its slide has failed in the meantime."""
    if item.flight.failed:
        return
    key = str(item.flight.run.request.slide)
    try:
        future = batch.cluster.submit(key, item.job, item.region)
    except Exception as error:
        _fail(batch, item.flight, error)
        return
    flying[future.key] = item
    completed.add(future)


def _work(batch: _Batch, requests: Iterator[Request | Refused]) -> Iterator[_Item]:
    """Yield the regions of slide after slide, each planned while the one before is under way."""
    for flight in _ahead(_flights(batch, requests)):
        all_pixels = sum(map(pixels_to_do, flight.run.grid.regions))
        left = sum(pixels_to_do(region) for _, region in flight.pending)
        key = str(flight.run.request.slide)
        batch.progress.begin(key, pixels=all_pixels, done=all_pixels - left)
        if not flight.pending:
            batch.desk.submit(_finish, batch, flight)
        for job, region in flight.pending:
            if flight.failed:
                break
            yield _Item(flight, job, region)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield items while a thread makes the next one."""
    with ThreadPoolExecutor(1, "wsi-prepare") as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _flights(batch: _Batch, requests: Iterator[Request | Refused]) -> Iterator[_Flight]:
    """Plan slide after slide; one where that fails ends here."""
    for request in requests:
        if isinstance(request, Refused):
            batch.end(request.slide, request.folder, state="failed", error=request.error)
            continue
        run = None
        try:
            run = prepare_run(request)
            if run.lock is not None:
                batch.locks.callback(run.lock.release)
            if batch.cluster.remote and not run.done:
                probe_workers(
                    batch.cluster.client,
                    slide=run.job.slide,
                    identity=request.identity,
                    folder=request.folder.resolve(),
                    model=request.model,
                )
            pending = pending_regions(run)
        except Exception as error:
            _end_failed(batch, request, error, run=run)
            continue
        yield _Flight(run, pending, left=len(pending))


def _land(batch: _Batch, future: Future[Nuclei | None], item: _Item) -> list[_Item]:
    """Keep what a region brought, and finish its slide with the last one.

    Returns
    -------
    list of _Item
        The region, where it is to be sent again.
    """
    from distributed import KilledWorker

    flight = item.flight
    if flight.failed:
        return []
    try:
        record_region(flight.run, item.job, item.region, future.result())
    except KilledWorker:
        if not item.alone:
            return [item]
        _fail(batch, flight, _deadly(flight.run.request))
    except Exception as error:
        _fail(batch, flight, error)
    else:
        flight.left -= 1
        if flight.left == 0:
            batch.desk.submit(_finish, batch, flight)
    return []


def _finish(batch: _Batch, flight: _Flight) -> None:
    request = flight.run.request
    try:
        summary = finish_run(flight.run)
    except Exception as error:
        _fail(batch, flight, error)
        return
    state = "tiled" if summary is None else "done"
    batch.end(request.slide, request.folder, state=state, summary=summary)


def _fail(batch: _Batch, flight: _Flight, error: Exception) -> None:
    flight.failed = True
    _end_failed(batch, flight.run.request, error, run=flight.run)


def _end_failed(batch: _Batch, request: Request, error: Exception, *, run: SlideRun | None) -> None:
    told = _told(error, request)
    if run is not None:
        fail_run(run, str(told))
    batch.end(request.slide, request.folder, state="failed", error=told)


def _deadly(request: Request) -> WorkerError:
    return WorkerError(
        f"{request.slide}: a worker process died on it twice, the second time on one region alone; "
        "the file is damaged, or memory too small: give fewer --workers"
    )


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
