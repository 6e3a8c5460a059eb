"""Outcome of a push or a pull of one image, and the choice of images of a project."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsi_suite.errors import InputError, WsiSuiteError
from wsi_suite.qupath.project_messages import ProjectImage


@dataclass(frozen=True)
class Transfer:
    """How a push or a pull of one image ended.

    Attributes
    ----------
    name
        The slide or image.
    folder
        The folder it came from, or went to.
    image
        Its name in the project, if it was found or added.
    counts
        Of a push: ``placed``, ``removed``, ``changed``, ``deleted``, ``added`` (the last three were
        kept), ``suppressed``, ``regions``. Of a pull: ``untouched``, ``corrected``, ``deleted``,
        ``added``, ``annotations``.
    backup
        The image's objects as they were before the push.
    notes
        What the user should know.
    error
        Why it failed.
    entry
        The id of the image in the project.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> (transfer,) = ws.push("results/B12_ER", project="study")
    >>> transfer.image, transfer.counts["placed"], transfer.counts["corrected"]
    ('B12_ER.svs', 242, 2)
    """

    name: str
    folder: Path | None
    image: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    backup: Path | None = None
    notes: tuple[str, ...] = ()
    error: WsiSuiteError | None = None
    entry: str | None = None


def check_entries(entries: Collection[str], images: Sequence[ProjectImage]) -> None:
    """Refuse ids that no image of the project has."""
    unknown = sorted(set(entries) - {image.id for image in images})
    if unknown:
        raise InputError(
            f"--entry {unknown[0]}: no image of the project has this id; there are {listed(images)}"
        )


def listed(images: Sequence[ProjectImage]) -> str:
    """Return ids and names of images, for the user."""
    more = f" and {len(images) - 20} more" if len(images) > 20 else ""
    return ", ".join(f"{image.id} ('{image.name}')" for image in images[:20]) + more


def several_images(name: str, images: Sequence[ProjectImage]) -> InputError:
    """Return the error of a slide whose images in a project cannot be told apart."""
    names = ", ".join(f"'{image.name}'" for image in images)
    return InputError(
        f"{name}: is in the project more than once ({names}); give --entry with the id of the one "
        f"that is meant: {listed(images)}"
    )
