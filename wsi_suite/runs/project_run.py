"""A run on the images of a QuPath project, results put into it: ``wsi-suite run --project``."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from wsi_suite.config import Settings
from wsi_suite.errors import InputError
from wsi_suite.progress import Progress, no_progress
from wsi_suite.runs.batch import run_batch
from wsi_suite.runs.outcome import Outcome, Tell, log_errors
from wsi_suite.runs.project_images import default_out, project_batches
from wsi_suite.runs.project_push import push_results
from wsi_suite.runs.transfers import Transfer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Display:
    """Ways to show the parts of a run on a project, each while its part lasts.

    Attributes
    ----------
    transfers
        Gives the callback for the images that are read or written.
    slides
        Gives the callbacks of :func:`~wsi_suite.runs.batch.run_batch`: `progress` and `tell`.
    """

    transfers: Callable[[], AbstractContextManager[Progress]] = lambda: nullcontext(no_progress)
    slides: Callable[[], AbstractContextManager[tuple[Progress, Tell]]] = lambda: nullcontext(
        (no_progress, log_errors)
    )


@dataclass(frozen=True)
class ProjectRun:
    """How a run on a project ended.

    Attributes
    ----------
    out
        Folder of the results.
    outcomes
        Of the slides.
    pushed
        Of the images into which results were put.
    unread
        Images that could not be run, such as those whose slide is missing.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> done = ws.run_project("study", settings={"score.marker": "ER"})
    >>> done.outcomes
    [<Outcome: B12_ER.svs, done, H-score 243 of Epithelium>]
    >>> [transfer.image for transfer in done.pushed]
    ['B12_ER.svs']
    """

    out: Path
    outcomes: list[Outcome] = field(default_factory=list)
    pushed: list[Transfer] = field(default_factory=list)
    unread: list[Transfer] = field(default_factory=list)


def run_project(
    project: Path,
    *,
    settings: Settings,
    out: Path | None = None,
    in_class: str | None = None,
    entries: Collection[str] = (),
    overwrite: bool = False,
    qupath: Collection[int] | None = None,
    tell: Callable[[str], None] = log.warning,
    display: Display = Display(),
) -> ProjectRun:
    """Run on the images of a project and push the results into it.

    Parameters
    ----------
    project
        A project file or its folder.
    settings
        All settings; the pixel size of an image is the project's, unless they have one.
    out
        Folder of the results; ``results`` in the project's folder by default.
    in_class
        Only inside annotations of this class, in images that have any.
    entries
        Ids of the images; without any all.
    overwrite
        Throw away what an earlier run left.
    qupath, tell
        As in :func:`~wsi_suite.runs.project_push.push_results`.
    display
        Shows the progress.

    Raises
    ------
    InputError
        The project cannot be used, or has no images.
    """
    out = out or default_out(project)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        with display.transfers():
            batches, unread = project_batches(
                project, in_class=in_class, folder=Path(folder), entries=list(entries)
            )
        if not (batches or unread):
            raise InputError(f"{project}: the project has no images; add slides to it in QuPath")
        for batch in batches:
            with display.slides() as (progress, told):
                outcomes += run_batch(
                    batch.slides,
                    out=out,
                    settings=settings.model_copy(update={"mpp": settings.mpp or batch.mpp}),
                    rois=batch.rois,
                    overwrite=overwrite,
                    progress=progress,
                    tell=told,
                )
    folders = [end.folder for end in outcomes if end.summary is not None and end.folder]
    pushed: list[Transfer] = []
    if folders:
        with display.transfers() as progress:
            pushed = push_results(
                folders, project, entries=entries, qupath=qupath, tell=tell, progress=progress
            )
    return ProjectRun(out, outcomes, pushed, unread)
