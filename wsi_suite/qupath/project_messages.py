"""Answers of QuPath's Java process, shared by both ends.

A question is a line of JSON with ``do`` and the arguments of that action; an answer is one of these
values. Both ends are of one version, since the process is started by its only client.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from wsi_suite.nuclei.table import Nuclei

T = TypeVar("T")


@dataclass(frozen=True)
class Opened:
    """A project that was opened.

    Attributes
    ----------
    version
        QuPath's.
    made
        Folders that were made for a new project; ``None`` if it existed.
    """

    version: str
    made: tuple[Path, ...] | None = None


@dataclass(frozen=True)
class ProjectImage:
    """An image of a project.

    Attributes
    ----------
    id
        QuPath's id of it.
    name
        Name that QuPath shows.
    path
        Its file; ``None`` if it has none, such as an image on a server.
    data
        The file that holds its objects, whether or not it exists.
    """

    id: str
    name: str
    path: Path | None
    data: Path


@dataclass(frozen=True)
class Frame:
    """Size, pixel size and origin of an image in QuPath.

    Attributes
    ----------
    width, height
        Size in pixels.
    mpp
        um per pixel, x and y; ``None`` if QuPath does not know it.
    mpp_set_by_hand
        Whether it differs from the file's.
    moved
        Ways in which the image was rotated, cropped or changed.
    server
        QuPath's reader, with its arguments.
    """

    width: int
    height: int
    mpp: tuple[float, float] | None
    mpp_set_by_hand: bool
    moved: tuple[str, ...] = ()
    server: str = ""


@dataclass(frozen=True)
class ImageStains:
    """Type and stain vectors of an image, as QuPath writes them; empty where it has none."""

    image_type: str
    stains: str


@dataclass(frozen=True)
class Region:
    """A scored region.

    Attributes
    ----------
    name, class_name
        As its annotation had them.
    wkb
        Its area in level-0 pixels, WKB in hexadecimal digits.
    measurements
        Its scores, by the names that QuPath shows.
    """

    name: str
    class_name: str | None
    wkb: str
    measurements: dict[str, float]


@dataclass(frozen=True)
class FoundNuclei:
    """Nuclei that a model found, for an annotator to correct; columns of one length N.

    Attributes
    ----------
    points
        ``(x, y)`` in level-0 pixels.
    confidence
        In [0, 1].
    label
        Index into `classes`.
    classes
        Those of the model.
    origin
        Metadata by which the nuclei are known as ours; see :mod:`wsi_suite.qupath.objects`.
    """

    points: tuple[tuple[float, float], ...]
    confidence: tuple[float, ...]
    label: tuple[int, ...]
    classes: tuple[str, ...]
    origin: dict[str, str]

    def nuclei(self) -> Nuclei:
        """Return them as a table."""
        x, y = np.array(self.points, np.float64).reshape(-1, 2).T
        confidence, label = np.array(self.confidence, np.float32), np.array(self.label, np.uint8)
        return Nuclei(x, y, confidence, label, self.classes)


@dataclass(frozen=True)
class Pushed:
    """Result of a push into an image.

    Attributes
    ----------
    counts
        Nuclei by what was done: ``placed``, ``removed``, ``changed``, ``deleted``, ``added``,
        ``suppressed``.
    regions
        Number of regions drawn.
    classes
        Classes of the model.
    backup
        The image's objects as they were before, if there were any.
    notes
        Remarks for the user.
    """

    counts: dict[str, int]
    regions: int
    classes: tuple[str, ...]
    backup: Path | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pulled:
    """Result of a pull from an image.

    Attributes
    ----------
    counts
        Nuclei by state - ``untouched``, ``corrected``, ``deleted``, ``added`` - and
        ``annotations``.
    notes
        Remarks for the user.
    """

    counts: dict[str, int]
    notes: tuple[str, ...] = ()


def parse(kind: type[T], value: object) -> T:
    """Return a value that was read from JSON as one of the types above.

    Raises
    ------
    pydantic.ValidationError
        It is none.
    """
    return TypeAdapter(kind).validate_python(value)


def plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a value as JSON can hold it."""
    return to_jsonable_python(value)
