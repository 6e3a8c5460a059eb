"""Formats of labelled nuclei: which there are, and the module that reads or writes each.

A module has ``read(source, options)``, an iterator of :class:`LabelledImage` in the order of their
names, ``write(images, out, options)``, which returns in words what the format could not hold, or
both. It raises :class:`DataError` in one line that names the file and the remedy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from wsi_suite.datasets.checks import check_images
from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.errors import ConfigError, did_you_mean

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadOptions:
    """Facts that a source leaves open, given by the user.

    Attributes
    ----------
    images
        Folder of the pictures; ``None``: beside the labels, as the format has it.
    mpp
        um per pixel of pictures whose source does not tell it.
    fields
        Class of the annotations that are fields, where a source has whole slides.
    scratch
        Folder for pictures that are cut out of slides; it must stay until they are copied.
    tell
        Receives what the user should know of pictures that are left out.
    labels
        Order of coordinates and class of each label value, in formats that have numbers only.
    """

    images: Path | None = None
    mpp: float | None = None
    fields: str | None = None
    scratch: Path | None = None
    labels: LabelSpec | None = None
    tell: Callable[[str], None] = log.warning


@dataclass(frozen=True)
class WriteOptions:
    """How labels are written.

    Attributes
    ----------
    radius_um
        Radius of nuclei of which none is known, in formats that need an extent; ``None``: such
        nuclei are refused.
    """

    radius_um: float | None = None


Read = Callable[[Path, ReadOptions], Iterator[LabelledImage]]
Write = Callable[[Iterable[LabelledImage], Path, WriteOptions], list[str]]


@dataclass(frozen=True)
class Format:
    """A format by the name that the command line knows it by.

    Attributes
    ----------
    title
        What it is called elsewhere.
    source
        What the user gives: a file or folder, and what is in it.
    reads, writes
        Whether it is read, and written.
    """

    title: str
    source: str
    reads: bool = True
    writes: bool = True


FORMATS: Mapping[str, Format] = {
    "tiles": Format("folder of tiles", "folder with images/, labels/ and tiles.csv"),
    "endonuke": Format(
        "EndoNuke, several annotators", "folder as published, or a master YAML", writes=False
    ),
    "points": Format("points in a table", "CSV, workbook or Parquet, one row a nucleus"),
    "coco": Format("COCO", "JSON with images, annotations and categories"),
    "yolo": Format("YOLO", "folder with data.yaml, images/ and labels/"),
    "cvat": Format("CVAT 1.1", "XML of a task: points, boxes, ellipses, polygons"),
    "qupath": Format(
        "corrected fields of QuPath", "folder that 'wsi-suite pull' wrote", writes=False
    ),
    "label-studio": Format("Label Studio", "JSON export of a project"),
    "masks": Format("masks of nuclei", "folder of maps of numbers, one for each picture"),
    "webdataset": Format("WebDataset", "folder of tar files", reads=False),
    "huggingface": Format("Hugging Face imagefolder", "folder of parts", reads=False),
    "pannuke": Format("PanNuke", "folder with images.npy and masks.npy", writes=False),
    "lizard": Format("Lizard", "folder of <picture>.mat", writes=False),
    "nucls": Format("NuCLS", "folder of <picture>.csv", writes=False),
    "asap": Format("ASAP", "folder of <picture>.xml", writes=False),
    "imagescope": Format("Aperio ImageScope", "folder of <picture>.xml", writes=False),
    "geojson": Format("QuPath GeoJSON", "folder of <picture>.geojson, one for each picture"),
}


def reader_of(name: str) -> Read:
    """Return the reader of a format, with the check of what it reads; its module is imported here.

    See :func:`~wsi_suite.datasets.checks.check_images`.
    """
    read = _function(name, "read")

    def checked(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
        return check_images(read(source, options), source=source, tell=options.tell)

    return checked


def writer_of(name: str) -> Write:
    """Return the writer of a format; see :func:`reader_of`."""
    return _function(name, "write")  # type: ignore[no-any-return]


def _function(name: str, verb: str) -> Any:  # noqa: ANN401
    able = [key for key, one in FORMATS.items() if (one.reads if verb == "read" else one.writes)]
    if name not in able:
        hint = did_you_mean(name, able) or f"; known: {', '.join(able)}"
        raise ConfigError(f"no format '{name}' that can be {_PAST[verb]}{hint}")
    return getattr(import_module(f"{__name__}.{name.replace('-', '_')}"), verb)


_PAST = {"read": "read", "write": "written"}


def map_classes(
    images: Iterable[LabelledImage],
    classes: Mapping[str, str],
    *,
    tell: Callable[[str], None] = log.warning,
) -> Iterator[LabelledImage]:
    """Yield the pictures with their classes renamed.

    Parameters
    ----------
    images
        The pictures.
    classes
        New name by old name; an empty new name leaves these nuclei out, and an empty old name
        stands for nuclei without class. Classes that are not named stay.
    tell
        Receives the old names that no nucleus has.
    """
    there: set[str] = set()
    for image in images:
        labels = image.labels
        there.update(name or "" for name in labels.class_names)
        named = [classes.get(name or "", name) for name in labels.class_names]
        kept = np.array([name != "" for name in named], bool)
        renamed = replace(labels, class_names=tuple(name or None for name in named))
        yield replace(image, labels=renamed.take(kept))
    for name in sorted(classes.keys() - there):
        why = (
            f"no nucleus has the class '{name}'{did_you_mean(name, there - {''})}"
            if name
            else "every nucleus has a class"
        )
        tell(f"--class {name}={classes[name]} renames nothing: {why}")
