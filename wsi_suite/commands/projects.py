"""``push``, ``pull`` and ``run --project``: QuPath projects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

from wsi_suite.commands.results import ResultLike, folders_of
from wsi_suite.errors import InputError
from wsi_suite.given_settings import SettingsLike, settings_of
from wsi_suite.given_values import check_choice, names_of, path_of
from wsi_suite.progress import Progress, no_progress
from wsi_suite.qupath import running
from wsi_suite.qupath.objects import Shape
from wsi_suite.runs import project_pull, project_push, project_run
from wsi_suite.runs.outcome import Tell, log_errors
from wsi_suite.runs.project_run import Display, ProjectRun
from wsi_suite.runs.transfers import Transfer

log = logging.getLogger(__name__)

IMAGE_TYPES = ("brightfield_h_dab", "brightfield_h_e", "brightfield_other")
"""QuPath's types of brightfield images."""


def push(
    results: ResultLike | Iterable[ResultLike],
    *,
    project: str | Path,
    create: bool = False,
    image_type: str | None = None,
    shape: str = "polygon",
    discard_corrections: bool = False,
    entries: Collection[str] = (),
    force: bool = False,
    tell: Callable[[str], None] = log.warning,
    progress: Progress = no_progress,
) -> list[Transfer]:
    """Put results into a QuPath project: nuclei with classes and measurements, and regions.

    Slides that the project lacks are added. Nuclei of an earlier push are replaced, but for those
    that somebody corrected; other people's objects are never touched. Before an image is changed,
    its objects are kept beside them.

    Parameters
    ----------
    results
        Results folders, folders of them, or what runs returned.
    project
        A project file or its folder.
    create
        Make the project if there is none, in an empty folder.
    image_type
        ``brightfield_h_dab``, ``brightfield_h_e`` or ``brightfield_other``: make images this type,
        with the run's stain vectors if it is H-DAB. Without it a type or stain vectors that
        somebody has set stay, and only images without a type become H-DAB.
    shape
        ``polygon``, ``ellipse`` or ``point``.
    discard_corrections
        Also replace nuclei that somebody corrected, and put deleted ones back.
    entries
        Ids of images of the project; if there are any, nuclei go into these alone.
    force
        Write even while QuPath is running. The program that saves last wins.
    tell
        Receives what the user should know at once: who is waited for, what is left out.
    progress
        Receives the share of each image that is done.

    Returns
    -------
    list of Transfer
        One per result; a result that could not be put has an error.

    Raises
    ------
    WsiSuiteError
        There are no results, the project cannot be used at all, or QuPath is running.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> transfers = ws.push("results/B12_ER", project="study", create=True)
    >>> [transfer.counts["placed"] for transfer in transfers if transfer.error is None]
    [242]
    """
    check_choice(shape, get_args(Shape), option="--shape")
    if image_type is not None:
        check_choice(image_type, IMAGE_TYPES, option="--image-type")
    return project_push.push_results(
        folders_of(results),
        path_of(project, option="--project"),
        create=create,
        image_type=image_type,
        shape=shape,
        discard_corrections=discard_corrections,
        entries=names_of(entries),
        qupath=qupath_beside(force=force),
        tell=tell,
        progress=progress,
    )


def pull(
    project: str | Path,
    *,
    out: str | Path,
    overwrite: bool = False,
    entries: Collection[str] = (),
    tell: Callable[[str], None] = log.warning,
    progress: Progress = no_progress,
) -> list[Transfer]:
    """Get annotations and corrected nuclei out of a QuPath project, which is not changed.

    Each image that has objects gets a folder with ``annotations.geojson``, ``nuclei.geojson`` and
    ``nuclei.csv``; the state of a nucleus is untouched, corrected, deleted or added.

    Parameters
    ----------
    project
        A project file or its folder.
    out
        Gets the folders.
    overwrite
        Replace what an earlier pull left.
    entries
        Ids of the images to pull; without any all that have objects.
    tell
        Receives what the user should know at once.
    progress
        Receives the share of each image that is done.

    Returns
    -------
    list of Transfer
        One per image; an image that could not be read has an error.

    Raises
    ------
    WsiSuiteError
        The project cannot be used at all.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> transfers = ws.pull("study", out="corrected")
    >>> [(transfer.image, transfer.counts["corrected"]) for transfer in transfers]
    [('B12_ER.svs', 2)]
    """
    return project_pull.pull_project(
        path_of(project, option="project"),
        path_of(out, option="--out"),
        overwrite=overwrite,
        entries=names_of(entries),
        tell=tell,
        progress=progress,
    )


def run_project(
    project: str | Path,
    *,
    out: str | Path | None = None,
    mpp: float | None = None,
    model: str | Path | None = None,
    settings: SettingsLike = None,
    device: str | None = None,
    in_class: str | None = None,
    entries: Collection[str] = (),
    overwrite: bool = False,
    force: bool = False,
    tell: Tell = log_errors,
    progress: Progress = no_progress,
) -> ProjectRun:
    """Run on the images of a QuPath project and put the nuclei into it.

    Parameters
    ----------
    project
        A project file or its folder.
    out
        Folder of the results; by default ``results`` in the project's folder.
    mpp, model, settings, device
        As for :func:`~wsi_suite.runs.batch.run_batch`. The pixel size of an image is the project's,
        unless it is given.
    in_class
        Only inside annotations of this class, such as ``Tumor``, in images that have any.
    entries
        Ids of the images; without any all.
    overwrite
        Throw away what an earlier run left.
    force
        Write to the project even while QuPath is running. The program that saves last wins.
    tell
        Receives outcomes as slides end, and remarks.
    progress
        Receives the share of each slide or image that is done.

    Returns
    -------
    ProjectRun
        How slides and images ended; single ones may have an error.

    Raises
    ------
    WsiSuiteError
        The project or the settings cannot be used, it has no images, or QuPath is running.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> done = ws.run_project("study", in_class="Tumor", settings={"score.marker": "ER"})
    >>> [round(outcome.summary.headline.value) for outcome in done.outcomes if outcome.summary]
    [243]
    """
    return project_run.run_project(
        path_of(project, option="--project"),
        settings=settings_of(settings, mpp=mpp, model=model, device=device),
        out=path_of(out, option="--out", optional=True),
        in_class=in_class,
        entries=names_of(entries),
        overwrite=overwrite,
        qupath=qupath_beside(force=force),
        tell=tell,
        display=Display(lambda: nullcontext(progress), lambda: nullcontext((progress, tell))),
    )


def qupath_beside(
    *, force: bool, confirm: Callable[[str], bool] = lambda told: False
) -> list[int] | None:
    """Return the processes of QuPath that may go on running while a project is written.

    Parameters
    ----------
    force
        Any may.
    confirm
        Is asked whether to go on beside those that are found.

    Returns
    -------
    list or None
        Their ids; ``None``: any.

    Raises
    ------
    InputError
        One is running, and it was not confirmed.
    """
    if force:
        return None
    found = running.running_qupath()
    if not found:
        return []
    told = (
        f"QuPath is running (process {', '.join(map(str, found))}); if it has this project open, "
        "the program that saves last wins"
    )
    if not confirm(told):
        raise InputError(f"{told}: close the project there, or give --force")
    return found
