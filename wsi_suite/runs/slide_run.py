"""Run of one slide: plan, pending blocks, results.

A run lives in its folder. Each block that is done leaves a record there, whole or not at all, so
a run that was stopped continues, and ends in the same bytes.
"""

from __future__ import annotations

import itertools
import logging
import os
import platform
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from wsi_suite.analysis.blocks import SlideJob
from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.familiarity import find_familiarity
from wsi_suite.analysis.merging import merge_nuclei
from wsi_suite.analysis.provenance import TILE_SECTIONS, fingerprint_of, provenance_of
from wsi_suite.analysis.results import Results
from wsi_suite.analysis.slide_record import write_facts
from wsi_suite.analysis.summary import Summary, read_summary
from wsi_suite.analysis.unreadable import without_unreadable
from wsi_suite.errors import BusyError, OutputError, SlideError
from wsi_suite.files import FREE_SHARE, remove_leftovers
from wsi_suite.geometry import Box
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.patience import with_patience
from wsi_suite.runs.folder import (
    STORE_NAME,
    check_foreign,
    check_settings,
    check_versions,
    discard_results,
    library_versions,
    lock_folder,
    unlock_folder,
)
from wsi_suite.runs.outputs import write_results
from wsi_suite.runs.records import RecordedNuclei
from wsi_suite.runs.request import Request, keep_compute
from wsi_suite.runs.run_plan import SlideRun, facts_for, plan_run
from wsi_suite.runs.run_record import RunRecord, read_run, write_run
from wsi_suite.runs.staging import Staging
from wsi_suite.runs.state import State
from wsi_suite.slides.grid import Block
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.store import TileStore, estimated_bytes
from wsi_suite.slides.store_layout import partial_folder, read_attributes, reopen_store

log = logging.getLogger(__name__)


def prepare_run(request: Request, *, staging: Staging | None = None) -> SlideRun:
    """Claim the folder, survey the slide and plan its blocks.

    Parameters
    ----------
    request
        The request.
    staging
        Copies the slide, if it is to be read at all, before it is read.

    Raises
    ------
    BusyError
        Another process is at work on the slide.
    WsiSuiteError
        The slide, the blocks or the folder cannot be used; nothing was changed then.
    """
    folder = request.folder
    found = read_run(folder)
    if found is None:
        check_foreign(folder)
    discards = found is not None and (request.overwrite or found.state is State.DISCARDED)
    earlier = _tiles_only(found, request) if discards else found
    if earlier is not None:
        request = keep_compute(request, earlier.fingerprint.settings)
        fingerprint = fingerprint_of(request)
        has_tiles = request.stage == "detect"
        check_versions(folder, earlier, fingerprint=fingerprint, has_tiles=has_tiles)
        check_settings(folder, earlier, fingerprint=fingerprint, has_tiles=has_tiles)
        if earlier.state in (State.DONE, State.TILED):
            run = plan_run(request, facts_for(request, earlier), earlier)
            if run.done:
                _remove_rest(run)
                return run
    is_new = not folder.exists()
    lease = lock_folder(folder, from_stopped=request.share)
    try:
        # Before the survey: other processes see at once that this slide is taken.
        if read_run(folder) != found:
            raise BusyError(
                f"{folder}: another process has worked in it in the meantime; run again"
            )
        if staging is not None:
            request = staging.bring(request)
        run = plan_run(request, facts_for(request, earlier), earlier)
        run = replace(run, lease=lease)
        _check_disk(run)
        _claim(run, discards=discards)
    except BaseException:
        unlock_folder(folder, lease)
        if is_new:
            with suppress(OSError):  # something was written
                folder.rmdir()
        raise
    return run


def pending_blocks(run: SlideRun) -> list[tuple[SlideJob, Block]]:
    """List the blocks that are not done, as jobs for workers."""
    pending = []
    for block in run.grid.blocks:
        again = run.retries and bool(run.records.lost(block))
        detects = run.detects and bool(block.tiles) and (again or not run.records.has_nuclei(block))
        stores = run.stores and (again or not run.records.has_tiles(block))
        if detects or stores:
            reads_store = run.job.slide is None
            job = replace(
                run.job,
                detect=run.job.detect if detects else None,
                store=run.job.store if stores or reads_store else None,
            )
            pending.append((job, block))
    return pending


def record_block(
    run: SlideRun,
    job: SlideJob,
    block: Block,
    nuclei: Nuclei | None,
    *,
    lost: Sequence[Box] = (),
) -> None:
    """Keep the nuclei and the unreadable area that a worker sent back; the block is done then.

    What is lost is kept first: no other record may stand for a block that was not read whole.
    """
    if job.slide is not None:
        if run.retries and nuclei is None:
            run.records.forget_nuclei(block)  # found in the pixels before
        run.records.keep_lost(block, lost)
    if job.writes_tiles:
        run.records.mark_tiles(block)
    if nuclei is not None:
        run.records.keep_nuclei(block, nuclei)


def finish_run(run: SlideRun) -> Summary | None:
    """Merge the records, write all results and return the summary (``None`` for ``tile``).

    Raises
    ------
    SlideError
        The slide was changed since the run began, so that its blocks may not fit together.
    OutputError
        Something cannot be written.
    """
    if not run.done and run.job.slide is not None:
        _refuse_changed(run)
    lost = [run.records.lost(block) for block in run.grid.blocks]
    facts = without_unreadable(run.facts, itertools.chain.from_iterable(lost))
    store = _finished_store(run)
    summary: Summary | None = None
    if run.detects:
        slide = run.request.source if run.job.slide is not None else None
        familiarity = find_familiarity(run.request.model, facts, run.job)
        results = Results(
            facts=facts,
            nuclei=_all_nuclei(run, facts),
            rois=run.request.rois,
            settings=run.request.settings,
            provenance=provenance_of(run.request, facts, familiarity=familiarity),
        )
        assert run.staging is not None
        staging = run.staging / "results"
        summary = write_results(results, run.folder, slide=slide, store=store, staging=staging)
    elif run.request.stage != "tile":
        summary = read_summary(run.folder)
    if not run.done:
        state = State.DONE if run.detects else State.TILED
        unreadable = sum(map(bool, lost))
        record = _describe(run, state).model_copy(update={"unreadable_blocks": unreadable})
        write_run(run.folder, record, staging=run.staging)
        # While the lease is held: afterwards the folder may be another process's.
        if not unreadable:
            run.records.remove()
        shutil.rmtree(partial_folder(run.folder / STORE_NAME), ignore_errors=True)
        release_run(run)
    return summary


def fail_run(run: SlideRun, reason: str) -> None:
    """Note the failure in ``run.json``; finished blocks and the lease are kept."""
    failed = _describe(run, State.FAILED).model_copy(update={"error": reason})
    try:
        write_run(run.folder, failed, staging=run.staging)
    except OutputError as error:
        log.debug("%s: the failure cannot be noted (%s)", run.folder, error)


def release_run(run: SlideRun) -> None:
    """Unlock the folder once none of the run's blocks is under way."""
    if run.lease is not None:
        unlock_folder(run.folder, run.lease)


def _refuse_changed(run: SlideRun) -> None:
    slide, before = run.request.slide, run.request.identity
    identify = partial(SlideIdentity.of, slide)
    if with_patience(identify, path=slide, timeout_s=run.request.read_timeout_s) != before:
        raise SlideError(
            f"{slide}: was changed while it was read, as while copied; run again once it is whole"
        )


def _all_nuclei(run: SlideRun, facts: SlideFacts) -> Nuclei:
    blocks = tuple(block for block in run.grid.blocks if block.tiles)
    return merge_nuclei(RecordedNuclei(run.records, blocks), run.request, facts=facts)


def _tiles_only(found: RunRecord | None, request: Request) -> RunRecord | None:
    """Return the part of an earlier start that is kept if its results are discarded."""
    if found is None or request.stage != "detect":
        return None
    settings = found.fingerprint.settings
    kept = {key: settings[key] for key in TILE_SECTIONS if key in settings}
    tiled = {"state": State.TILED, "fingerprint": replace(found.fingerprint, settings=kept)}
    return found.model_copy(update=tiled)


def _remove_rest(run: SlideRun) -> None:
    """Remove the records of a start that was killed once it had written that all is done."""
    if not run.records.folder.exists() or (run.earlier and run.earlier.unreadable_blocks):
        return
    try:
        lease = lock_folder(run.folder)
    except OutputError:  # its process is alive, or the folder is archived
        return
    try:
        if read_run(run.folder) == run.earlier:
            run.records.remove()
            shutil.rmtree(partial_folder(run.folder / STORE_NAME), ignore_errors=True)
    finally:
        unlock_folder(run.folder, lease)


def _claim(run: SlideRun, *, discards: bool) -> None:
    """Begin or continue the run in its folder; from here on things are written."""
    folder = run.folder
    remove_leftovers(folder)
    remove_leftovers(run.records.folder)
    if discards:
        keep_tiles = run.request.stage == "detect"
        discard_results(folder, keep_tiles=keep_tiles, staging=run.staging)
    write_facts(folder, run.facts, staging=run.staging)
    write_run(folder, _describe(run, State.RUNNING), staging=run.staging)
    if run.stores:
        _begin_store(run)


def _begin_store(run: SlideRun) -> None:
    assert run.job.store is not None
    if run.retries:
        reopen_store(run.job.store)
    if read_attributes(partial_folder(run.job.store)) is None:
        run.records.forget_tiles()
    TileStore.create(
        run.job.store,
        width=run.facts.raster[0],
        height=run.facts.raster[1],
        mpp=run.facts.working_mpp,
        name=run.facts.name,
        version=run.request.settings.tiles.ome_zarr_version,
        chunk_px=run.facts.chunk_px,
        block_px=run.facts.block_px,
        writer=run.job.run,
    )


def _finished_store(run: SlideRun) -> TileStore | None:
    """Finish the store if that is still to do, and open it."""
    if run.job.store is None:
        return None
    if run.stores:
        TileStore.open(run.job.store, writer=run.job.run).finish()
    return TileStore.open(run.job.store)


def _check_disk(run: SlideRun) -> None:
    """Refuse a run whose tiles would fill the disk."""
    pixels = sum(block.stored_px for job, block in pending_blocks(run) if job.writes_tiles)
    parent = next(path for path in (run.folder, *run.folder.parents) if path.exists())
    usage = shutil.disk_usage(parent)
    needed = estimated_bytes(pixels)
    if pixels and usage.free - needed < FREE_SHARE * usage.total:
        remedy = "free some"
        if run.request.stage == "run":
            remedy += ", or give --no-keep-tiles"
        raise OutputError(
            f"{run.folder}: tiles of {needed / 1e9:.1f} GB would leave less than 5 % of the disk "
            f"free ({usage.free / 1e9:.1f} GB are); {remedy}"
        )


def _describe(run: SlideRun, state: State) -> RunRecord:
    """Return the record of a run; existing results stay ``DONE`` while tiles are stored."""
    request = run.request
    slide = str(request.slide.resolve())
    fingerprint = fingerprint_of(request)
    if run.earlier is not None:
        both = {**run.earlier.fingerprint.settings, **fingerprint.settings}
        fingerprint = replace(fingerprint, settings=both)
        if request.stage == "detect":  # which has the tiles only
            slide = run.earlier.slide_path
    return RunRecord(
        state=State.DONE if run.scored else state,
        slide_path=slide,
        fingerprint=fingerprint,
        reader=run.facts.reader,
        notes=run.facts.notes,
        threads=request.threads,
        seconds=round(time.time() - run.started, 1),
        host=platform.node(),
        process=os.getpid(),
        versions=library_versions(),
    )
