"""Stain vectors that images of a QuPath project have."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from wsi_suite.errors import InputError, WsiSuiteError
from wsi_suite.files import name_key
from wsi_suite.qupath.project import Project
from wsi_suite.qupath.project_files import has_data
from wsi_suite.qupath.project_messages import ProjectImage
from wsi_suite.staining.qupath_stains import NamedStains, stains_of_qupath

log = logging.getLogger(__name__)

_SHOWN = 3
_H_DAB = "BRIGHTFIELD_H_DAB"


class ProjectStains(NamedTuple):
    """Stain vectors, and the names of the images that have them."""

    stains: NamedStains
    images: tuple[str, ...]


def project_stains(
    project: Path, *, image: str | None = None, tell: Callable[[str], None] = log.warning
) -> ProjectStains:
    """Return the stain vectors of a project's images.

    Parameters
    ----------
    project
        A project file or its folder; it is not changed.
    image
        Name or id of one image; ``None``: all, which must have the same vectors.
    tell
        Receives which images were left out, and why.

    Raises
    ------
    InputError
        The project cannot be used, no image has vectors of hematoxylin and DAB, or they differ.
    """
    found: list[tuple[str, NamedStains]] = []
    why: list[str] = []
    with Project(project, readonly=True, tell=tell) as opened:
        for one in _chosen(opened.images(), image, project=project):
            try:
                found.append((one.name, _stains_of(opened, one)))
            except WsiSuiteError as error:
                why.append(str(error))
    if not found:
        raise InputError(
            f"{project}: no image has vectors of hematoxylin and DAB ({_some(why, mark='; ')})"
        )
    names = sorted({name for name, _ in found})
    if len({stains.vectors for _, stains in found}) > 1:
        raise InputError(
            f"{project}: the stain vectors of its images differ ({_some(names)}); name the image "
            "to take with --image"
        )
    for reason in why:
        tell(reason)
    return ProjectStains(found[0][1], tuple(names))


def _chosen(images: list[ProjectImage], wanted: str | None, *, project: Path) -> list[ProjectImage]:
    if wanted is None:
        return images
    chosen = [one for one in images if one.id == wanted]
    chosen = chosen or [one for one in images if name_key(one.name) == name_key(wanted)]
    if len(chosen) == 1:
        return chosen
    if chosen:
        ids = ", ".join(one.id for one in chosen)
        raise InputError(f"{project}: {len(chosen)} images are called {wanted}; give an id: {ids}")
    raise InputError(f"{project}: no image '{wanted}'; there is {_some([o.name for o in images])}")


def _stains_of(project: Project, image: ProjectImage) -> NamedStains:
    untold = f"{image.name}: QuPath keeps no stain vectors of it"
    if not has_data(image.data.parent):
        raise InputError(f"{untold}: it was never saved there")
    kept = project.stains(image)
    if kept.image_type != _H_DAB:
        raise InputError(f"{untold}: its type is {kept.image_type}, not {_H_DAB}")
    return stains_of_qupath(kept.stains, source=image.name)


def _some(names: list[str], *, mark: str = ", ") -> str:
    if not names:
        return "it has no images"
    return mark.join(names[:_SHOWN]) + (f"{mark}..." if len(names) > _SHOWN else "")
