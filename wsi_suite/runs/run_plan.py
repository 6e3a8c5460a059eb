"""Plan of a run: its folder, the facts of the slide, its blocks and the job of the workers."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wsi_suite.analysis.blocks import SlideJob
from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.request import plan_analysis
from wsi_suite.analysis.slide_record import read_facts
from wsi_suite.analysis.summary import SUMMARY_FILE
from wsi_suite.analysis.survey import survey_slide
from wsi_suite.errors import InputError, WsiSuiteError
from wsi_suite.leases import Lease
from wsi_suite.patience import with_patience
from wsi_suite.qupath.rois import check_rois_inside
from wsi_suite.runs.folder import STORE_NAME, TABLE_NAME
from wsi_suite.runs.folder_names import RECORDS_NAME
from wsi_suite.runs.records import Records
from wsi_suite.runs.request import Request
from wsi_suite.runs.run_record import RunRecord
from wsi_suite.runs.state import State
from wsi_suite.slides.grid import TileGrid


@dataclass(frozen=True, eq=False)
class SlideRun:
    """A run that has its folder and its plan.

    Attributes
    ----------
    request
        The request.
    facts
        Facts about the slide.
    grid
        Its blocks.
    job
        Parameters that its blocks share.
    earlier
        Record of an earlier start of this run; ``None`` for the first start.
    scored
        Whether an earlier start left its results.
    retries
        Whether an earlier start left blocks of which something could not be read.
    stores
        Whether tiles are still to be stored.
    started
        Seconds since 1970.
    lease
        Lease of the folder; ``None`` if there is nothing to do.
    """

    request: Request
    facts: SlideFacts
    grid: TileGrid
    job: SlideJob
    earlier: RunRecord | None
    scored: bool
    stores: bool
    started: float
    retries: bool = False
    lease: Lease | None = None

    @property
    def folder(self) -> Path:
        """Where the results are."""
        return self.request.folder

    @property
    def records(self) -> Records:
        """Records of the blocks that are done."""
        return Records(self.folder / RECORDS_NAME, staging=self.staging)

    @property
    def staging(self) -> Path | None:
        """Where files are written before they get their names; gone once the lease is lost."""
        return None if self.lease is None else self.lease.folder

    @property
    def lost(self) -> bool:
        """Whether another process has taken the folder over."""
        return self.lease is not None and self.lease.lost

    @property
    def detects(self) -> bool:
        """Whether nuclei are to be found."""
        return self.job.detect is not None and not self.scored

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return not self.detects and not self.stores


def facts_for(request: Request, earlier: RunRecord | None) -> SlideFacts:
    """Return the facts of a slide, read from the folder or surveyed again."""
    facts = read_facts(request.folder) if earlier is not None else None
    if request.stage == "detect" and (facts is None or not (request.folder / STORE_NAME).exists()):
        raise InputError(
            f"{request.folder}: its tiles are missing or not complete; make them with "
            "'wsi-suite tile'"
        )
    if facts is None:
        survey = partial(
            survey_slide,
            request.source,
            request.settings,
            spec=request.model.spec,
            rois=request.rois,
        )
        try:
            facts = with_patience(survey, path=request.slide, timeout_s=request.read_timeout_s)
        except WsiSuiteError as error:
            if request.copy is None:
                raise
            raise type(error)(request.in_original(str(error))) from error
        facts = replace(facts, notes=tuple(map(request.in_original, facts.notes)))
    if request.rois is not None:
        check_rois_inside(
            request.rois,
            width=facts.width,
            height=facts.height,
            path=request.roi_file or request.folder,
        )
    return facts


def plan_run(request: Request, facts: SlideFacts, earlier: RunRecord | None) -> SlideRun:
    """Plan a run; nothing is written yet."""
    folder = request.folder
    retries = _retries(request, earlier)
    keeps_tiles = request.stage == "tile" or (
        request.stage == "run"
        # Tiles that are there already get the pixels that can be read now, too.
        and (request.settings.tiles.keep or (retries and (folder / STORE_NAME).exists()))
    )
    grid, job = plan_analysis(request, facts)
    if request.stage == "detect":
        job = replace(job, slide=None)
    elif request.copy is not None:
        job = replace(job, slide=request.copy)
    if request.stage == "detect" or keeps_tiles:
        job = replace(job, store=(folder / STORE_NAME).resolve())
    return SlideRun(
        request,
        facts,
        grid,
        job,
        earlier=earlier,
        retries=retries,
        scored=earlier is not None
        and not retries
        and earlier.state is State.DONE
        and (folder / TABLE_NAME).exists()
        and (folder / SUMMARY_FILE).exists(),
        stores=keeps_tiles and (retries or earlier is None or not (folder / STORE_NAME).exists()),
        started=time.time(),
    )


def _retries(request: Request, earlier: RunRecord | None) -> bool:
    """Return whether places that could not be read are to be read again."""
    return earlier is not None and earlier.unreadable_blocks > 0 and request.stage != "detect"
