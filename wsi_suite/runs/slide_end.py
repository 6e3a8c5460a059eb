"""End of a slide of a batch: its results are written, or it fails and nobody else does."""

from __future__ import annotations

from wsi_suite.errors import BusyError, DiskError, OutputError, WsiSuiteError
from wsi_suite.runs.batch_state import ActiveSlide, Batch
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.request import Request
from wsi_suite.runs.run_plan import SlideRun
from wsi_suite.runs.sharing import taken_over
from wsi_suite.runs.slide_errors import SchedulerLostError, told, without_disk, without_scheduler
from wsi_suite.runs.slide_run import fail_run, finish_run, release_run
from wsi_suite.runs.state import State


def finish_slide(batch: Batch, slide: ActiveSlide) -> None:
    """Write the results of a slide whose blocks are done."""
    request = slide.run.request
    try:
        summary = finish_run(slide.run)
    except Exception as error:
        fail_slide(batch, slide, error)
        return
    batch.drop_copy(request)
    state = State.TILED if summary is None else State.DONE
    batch.end(Outcome(request.slide, request.folder, state, summary))


def fail_slide(batch: Batch, slide: ActiveSlide, error: Exception) -> None:
    """Send no more blocks of a slide, and note why."""
    slide.failed = True
    end_failed(batch, slide.run.request, error, run=slide.run)
    release_slide(batch, slide)


def release_slide(batch: Batch, slide: ActiveSlide) -> None:
    """Unlock the folder of a slide that failed, once no worker writes there any more."""
    if slide.sent == 0:
        release_run(slide.run)
        batch.drop_copy(slide.run.request)


def end_failed(batch: Batch, request: Request, error: Exception, *, run: SlideRun | None) -> None:
    """Note and tell the error of a slide, which may be that of the whole batch."""
    if run is not None and run.lost and request.folder.exists():
        error = taken_over(request)
    if batch.sharing is not None and isinstance(error, BusyError):
        batch.sharing.put_off(request)
        return
    if batch.cluster.lost and not isinstance(error, WsiSuiteError):
        error = without_scheduler(request, "stopped")
    shown = told(error, request)
    if run is not None and run.lease is not None and not request.folder.exists():
        shown = OutputError(
            f"{request.slide.name}: {request.folder} was removed or renamed meanwhile; run again"
        )
    # Folders that are given one by one may be on different disks.
    if isinstance(shown, DiskError) and request.stage != "detect" and batch.stopped is None:
        batch.stopped = without_disk
        shown = DiskError(
            f"{shown}; no other slide is begun, the same command goes on once it can be written"
        )
    if run is not None:
        fail_run(run, str(shown))
    known = isinstance(shown, SchedulerLostError)
    batch.end(Outcome(request.slide, request.folder, State.FAILED, error=shown), told=known)


def stop_without_scheduler(batch: Batch) -> bool:
    """Return whether no block can be done any more; tell it, once for all slides that are left."""
    if batch.cluster.lost and batch.stopped is None:
        batch.stopped = without_scheduler
        batch.tell(
            "the connection to the Dask scheduler was lost; what is done is kept, and the same "
            "command goes on once there is a scheduler"
        )
    return batch.cluster.lost
