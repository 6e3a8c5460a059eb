"""Bringing labels of other sources into a dataset."""

from __future__ import annotations

import dataclasses
import heapq
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

import numpy as np

from wsi_suite.datasets.card import DatasetCard
from wsi_suite.datasets.commits import commit, create_dataset
from wsi_suite.datasets.labelled_image import LabelledImage, join_labels
from wsi_suite.datasets.locking import locked
from wsi_suite.datasets.pictures import hash_picture
from wsi_suite.datasets.store import (
    Dataset,
    list_versions,
    read_images,
)
from wsi_suite.errors import DataError, WsiSuiteError

log = logging.getLogger(__name__)


def add_images(
    folder: Path,
    images: Iterable[LabelledImage],
    *,
    message: str,
    replace: bool = False,
    beside: str | None = None,
    new_classes: bool = False,
    tell: Callable[[str], None] = log.warning,
) -> Dataset:
    """Add a version with these pictures beside those of the newest version.

    Parameters
    ----------
    folder
        Of the dataset.
    images
        In the order of their names.
    message
        What changed.
    replace
        Whether a picture that is there gets the new labels; else it is refused.
    beside
        Annotator of the new labels: a picture that is there keeps the labels of others, and those
        of this annotator are replaced.
    new_classes
        Whether classes that the card does not name are added to it; else they are refused.
    tell
        Receives how many new pictures are copies of others.

    Raises
    ------
    DataError
        As in :func:`~wsi_suite.datasets.store.commit`, or a picture is there already.
    """

    def merged(last: Dataset | None) -> Iterator[LabelledImage]:
        before = read_images(last) if last else ()
        return _merged(before, images, replace=replace, beside=beside, folder=folder)

    return commit(folder, merged, message=message, new_classes=new_classes, tell=tell)


def make_dataset(
    folder: Path,
    card: DatasetCard,
    images: Iterable[LabelledImage],
    *,
    message: str,
    tell: Callable[[str], None] = log.warning,
) -> Dataset:
    """Make a dataset with a first version of these pictures; if that fails there is none.

    Raises
    ------
    OutputConflictError
        The folder holds something.
    DataError
        As in :func:`~wsi_suite.datasets.commits.commit`.
    """
    create_dataset(folder, card)
    try:
        return commit(folder, images, message=message, new_classes=True, tell=tell)
    except BaseException:
        with suppress(WsiSuiteError), locked(folder):  # another process may have gone on with it
            if not list_versions(folder):
                shutil.rmtree(folder, ignore_errors=True)
        raise


def _merged(
    before: Iterable[LabelledImage],
    added: Iterable[LabelledImage],
    *,
    replace: bool,
    beside: str | None,
    folder: Path,
) -> Iterator[LabelledImage]:
    """Yield the pictures of both in the order of their names; an added one takes precedence."""
    held: LabelledImage | None = None
    tagged = heapq.merge(
        ((image, False) for image in before),
        ((image, True) for image in added),
        key=lambda pair: attrgetter("name")(pair[0]),
    )
    for image, is_new in tagged:
        if held is not None and held.name == image.name and is_new:
            if beside is not None and not replace:
                held = _beside(held, image, annotator=beside)
                continue
            if not replace:
                raise DataError(
                    f"{folder}: '{image.name}' is there already; give --replace to take the new"
                    " labels, or rename it"
                )
            held = dataclasses.replace(image, split=image.split or held.split)
            continue
        if held is not None:
            yield held
        held = image
    if held is not None:
        yield held


def _beside(held: LabelledImage, image: LabelledImage, *, annotator: str) -> LabelledImage:
    """Return a picture with an annotator's labels beside those of others.

    Raises
    ------
    DataError
        The name is that of another picture.
    """
    files = [one.file for one in (held, image) if one.file is not None]
    if len({hash_picture(file) for file in files}) > 1:
        raise DataError(
            f"{image.file}: another picture of the name '{image.name}' is in the dataset; rename it"
        )
    others = np.array([who != annotator for who in held.labels.annotators], bool)
    labels = join_labels([held.labels.take(others), image.labels])
    return dataclasses.replace(held, labels=labels, labels_sha256=None)


def name_annotator(images: Iterable[LabelledImage], annotator: str) -> Iterator[LabelledImage]:
    """Yield pictures with all labels by one annotator."""
    for image in images:
        names = (annotator,) * len(image.labels)
        labels = dataclasses.replace(image.labels, annotators=names)
        yield dataclasses.replace(image, labels=labels)
