"""Pull of annotations and corrected nuclei out of QuPath projects.

One image that fails never stops the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path

from wsi_suite.errors import OutputConflictError, WsiSuiteError
from wsi_suite.files import file_names, remove_leftovers
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.qupath.project import Project
from wsi_suite.qupath.project_files import has_data, missing_folders, remove_folders
from wsi_suite.runs.transfers import Transfer, check_entries
from wsi_suite.slides.store_layout import writing

log = logging.getLogger(__name__)

PULLED_NAMES = ("annotations.geojson", "nuclei.geojson", "nuclei.csv")

_HOUR_S = 3600


def pull_project(
    project: Path,
    out: Path,
    *,
    overwrite: bool = False,
    entries: Collection[str] = (),
    tell: Callable[[str], None] = log.warning,
    progress: Progress = no_progress,
) -> list[Transfer]:
    """Write the annotations of a project, and our nuclei with the state of each.

    Each image that has objects gets a folder with ``annotations.geojson``, ``nuclei.geojson`` and
    ``nuclei.csv``; the state of a nucleus is untouched, corrected, deleted or added. The same
    project gives the same bytes.

    Parameters
    ----------
    project
        A project file or its folder; it is not changed.
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

    Raises
    ------
    InputError
        The project cannot be used at all.
    """
    transfers = []
    with Project(project, readonly=True, tell=tell) as opened:
        images = opened.images()
        check_entries(entries, images)
        # Names follow from all images, so that they stay when others get objects.
        for image, name in zip(images, file_names(one.name for one in images), strict=True):
            if image.id not in entries if entries else not has_data(image.data.parent):
                continue
            progress(Step(image.name, 0, 1))
            folder = out / name
            made = missing_folders(folder)
            try:
                _claim(folder, overwrite=overwrite)
                pulled = opened.pull(image, folder=folder)
            except BaseException as error:
                if made:  # nobody else writes there
                    remove_leftovers(folder)
                remove_folders(made)
                if not isinstance(error, WsiSuiteError):
                    raise
                transfers.append(
                    Transfer(image.name, folder, image=image.name, entry=image.id, error=error)
                )
                continue
            transfers.append(
                Transfer(
                    image.name,
                    folder,
                    image=image.name,
                    entry=image.id,
                    counts=pulled.counts,
                    notes=pulled.notes,
                )
            )
    return transfers


def _claim(folder: Path, *, overwrite: bool) -> None:
    if any((folder / name).exists() for name in PULLED_NAMES) and not overwrite:
        raise OutputConflictError(
            f"{folder}: holds an earlier pull; give --overwrite or another --out"
        )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, older_than_s=_HOUR_S)  # another pull may be writing there
