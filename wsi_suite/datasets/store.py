"""Versioned datasets: a folder of pictures and an append-only row of versions of their labels.

::

    mine/
      dataset.yaml             the card: name, licence, classes
      images/<name>            pictures; one that was added is never changed
      versions/0001/           version.json, images.parquet, nuclei.parquet: never changed

Every version names its pictures with their SHA-256 and holds all labels, so that it can be read,
trained on and compared without the others. The tables are described in
:mod:`wsi_suite.datasets.tables`.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wsi_suite.datasets.card import CARD_FILE, DatasetCard, read_card, write_card
from wsi_suite.datasets.labelled_image import LabelledImage, check_labels
from wsi_suite.datasets.pictures import picture_size
from wsi_suite.datasets.tables import (
    IMAGE_COLUMNS,
    NUCLEUS_COLUMNS,
    image_from,
    image_row,
    labels_from,
    nucleus_rows,
    rows_by_image,
)
from wsi_suite.documents import Document, read_document, write_document
from wsi_suite.errors import DataError, OutputConflictError, PixelSizeError, did_you_mean
from wsi_suite.files import hash_file, name_key, portable_name, take_lock, whole_file

IMAGES, VERSIONS = "images", "versions"
IMAGE_TABLE, NUCLEUS_TABLE, VERSION_FILE = "images.parquet", "nuclei.parquet", "version.json"

_LOCK = ".lock"
_ROWS = 65_536  # nuclei that are written at once
_LOCK_WAIT_S = 10.0


class Version(Document):
    """Content of ``version.json``.

    Attributes
    ----------
    number
        From 1.
    digest
        SHA-256 over the two tables: equal for the same pictures and labels.
    parent
        Digest of the version before.
    created
        UTC, ISO 8601.
    message
        What changed, in the words of whoever made it.
    images, nuclei
        How many.
    classes
        Nuclei by class; those without one under an empty name.
    """

    number: int
    digest: str
    parent: str | None
    created: str
    message: str
    images: int
    nuclei: int
    classes: dict[str, int]

    @property
    def name(self) -> str:
        """Name of the folder of the version."""
        return version_name(self.number)


@dataclass(frozen=True)
class Dataset:
    """One version of a dataset.

    Attributes
    ----------
    folder
        Of the dataset.
    card
        Name, licence, classes.
    version
        The version.
    """

    folder: Path
    card: DatasetCard
    version: Version

    @property
    def image_table(self) -> Path:
        """The table of pictures."""
        return self.folder / VERSIONS / self.version.name / IMAGE_TABLE

    @property
    def nucleus_table(self) -> Path:
        """The table of nuclei."""
        return self.folder / VERSIONS / self.version.name / NUCLEUS_TABLE


def version_name(number: int) -> str:
    """Return the name of the folder of a version."""
    return f"{number:04d}"


def is_dataset(folder: Path) -> bool:
    """Return whether a folder holds a dataset with versions."""
    return (folder / CARD_FILE).is_file()


def list_versions(folder: Path) -> list[Version]:
    """Return the versions of a dataset, the first one first.

    Raises
    ------
    DataError
        It is no dataset.
    OutputError
        A version is damaged.
    """
    read_card(folder)
    found = sorted((folder / VERSIONS).glob(f"[0-9]*/{VERSION_FILE}"))
    versions = [
        read_document(Version, path, fault="damaged", remedy="restore it from a backup")
        for path in found
    ]
    return sorted((one for one in versions if one), key=lambda one: one.number)


def open_dataset(folder: Path, *, version: int | str | None = None) -> Dataset:
    """Return a version of a dataset.

    Parameters
    ----------
    folder
        Of the dataset.
    version
        Its number, or the beginning of its digest; without it the newest.

    Raises
    ------
    DataError
        It is no dataset, or has no such version.
    """
    versions = list_versions(folder)
    if not versions:
        raise DataError(f"{folder}: has no version yet; add pictures with 'dataset import'")
    if version is None:
        return Dataset(folder, read_card(folder), versions[-1])
    asked = str(version)
    number = int(asked) if asked.isdecimal() and len(asked) < 7 else None
    found = [
        one
        for one in versions
        if one.number == number or (len(asked) >= 7 and one.digest.startswith(asked))
    ]
    if len(found) != 1:
        known = ", ".join(str(one.number) for one in versions)
        raise DataError(f"{folder}: no version '{version}'; it has {known}")
    return Dataset(folder, read_card(folder), found[0])


def read_image_rows(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the rows of the table of pictures; see :mod:`wsi_suite.datasets.tables`."""
    return list(_read_table(dataset.image_table).to_pylist())


def read_images(dataset: Dataset, *, names: Iterable[str] | None = None) -> Iterator[LabelledImage]:
    """Yield the pictures of a version with their labels, in the order of their names.

    Parameters
    ----------
    dataset
        The version.
    names
        The pictures that are wanted; without it all.

    Raises
    ------
    DataError
        A name is none of the dataset's, or a table is damaged.
    """
    rows = read_image_rows(dataset)
    wanted = None if names is None else set(names)
    for name in sorted((wanted or set()) - {row["name"] for row in rows}):
        hint = did_you_mean(name, [row["name"] for row in rows])
        raise DataError(f"{dataset.folder}: no picture '{name}'{hint}")
    parts = rows_by_image(dataset.nucleus_table, [row["nuclei"] for row in rows])
    for row, nuclei in zip(rows, parts, strict=True):
        if wanted is None or row["name"] in wanted:
            yield image_from(
                row,
                labels_from(nuclei),
                file=dataset.folder / IMAGES / row["name"],
                labels_sha256=_digest_rows(nuclei),
            )


def create_dataset(folder: Path, card: DatasetCard) -> None:
    """Make an empty dataset.

    Raises
    ------
    OutputConflictError
        The folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputConflictError(f"{folder}: is there and not empty; give another folder")
    (folder / IMAGES).mkdir(parents=True)
    (folder / VERSIONS).mkdir()
    write_card(folder, card)


def commit(
    folder: Path,
    images: Iterable[LabelledImage],
    *,
    message: str,
    splits: Mapping[str, str] | None = None,
    new_classes: bool = False,
) -> Dataset:
    """Add a version that holds just these pictures and labels, and return it.

    Pictures that are not in the dataset are copied into it. If pictures and labels are those of
    the newest version, that one is returned. If anything fails, there is no new version.

    Parameters
    ----------
    folder
        Of the dataset.
    images
        In the order of their names; read once, one after the other.
    message
        What changed.
    splits
        Part of the split by name of the picture.
    new_classes
        Whether classes that the card does not name are added to it; else they are refused.

    Raises
    ------
    DataError
        A name cannot be one of a file, comes twice or means another picture; labels lie beyond
        their picture; a class is none of the card's.
    PixelSizeError
        A pixel size is missing or absurd.
    BusyError
        Another process writes to the dataset.
    """
    busy = f"{folder}: another process writes to this dataset; wait for it"
    with take_lock(folder / _LOCK, wait_s=_LOCK_WAIT_S, busy=busy):
        versions = list_versions(folder)
        last = versions[-1] if versions else None
        number = last.number + 1 if last else 1
        known = {} if last is None else _known_pictures(folder)
        target = folder / VERSIONS / version_name(number)
        with suppress(_UnchangedError), whole_file(target) as made:
            made.mkdir()
            card = read_card(folder)
            writer = _Writer(
                folder, made, known=known, classes=None if new_classes else card.classes
            )
            for image in images:
                writer.add(image, split=(splits or {}).get(image.name))
            version = writer.close(number=number, parent=last.digest if last else None)
            if last and last.digest == version.digest:
                raise _UnchangedError
            write_document(made / VERSION_FILE, version.model_copy(update={"message": message}))
            added = tuple(name for name in version.classes if name and name not in card.classes)
            if added:
                write_card(folder, card.model_copy(update={"classes": (*card.classes, *added)}))
    return open_dataset(folder)


class _UnchangedError(Exception):
    """A version would be equal to the one before."""


class _Writer:
    """Writes the tables of a version, picture by picture."""

    def __init__(
        self,
        folder: Path,
        made: Path,
        *,
        known: Mapping[str, str],
        classes: tuple[str, ...] | None,
    ) -> None:
        self._folder, self._made, self._known = folder, made, known
        self._allowed = classes
        self._rows: list[dict[str, Any]] = []
        self._held: list[pa.RecordBatch] = []
        self._nuclei: pq.ParquetWriter = pq.ParquetWriter(
            made / NUCLEUS_TABLE, NUCLEUS_COLUMNS, compression="zstd"
        )
        self._classes: dict[str, int] = {}

    def add(self, image: LabelledImage, *, split: str | None) -> None:
        _check_image(image, self._allowed, folder=self._folder)
        sha256 = _keep_picture(self._folder, image, known=self._known.get(image.name))
        self._rows.append(image_row(image, sha256=sha256, split=split))
        self._held.append(nucleus_rows(image))
        for name in image.labels.class_names:
            self._classes[name or ""] = self._classes.get(name or "", 0) + 1
        if sum(map(len, self._held)) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        self._nuclei.write_table(pa.Table.from_batches(self._held, NUCLEUS_COLUMNS))
        self._held = []

    def close(self, *, number: int, parent: str | None) -> Version:
        self._flush()
        self._nuclei.close()
        _check_names([row["name"] for row in self._rows], folder=self._folder)
        table = pa.Table.from_pylist(self._rows, IMAGE_COLUMNS)
        pq.write_table(table, self._made / IMAGE_TABLE, compression="zstd")
        return Version(
            number=number,
            digest=_digest(self._made),
            parent=parent,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            message="",
            images=len(self._rows),
            nuclei=sum(row["nuclei"] for row in self._rows),
            classes=dict(sorted(self._classes.items())),
        )


def _check_image(image: LabelledImage, classes: tuple[str, ...] | None, *, folder: Path) -> None:
    if image.mpp is None:
        raise PixelSizeError(f"{image.file or image.name}: no pixel size; give --mpp")
    for mpp in image.mpp:
        if not 0.05 <= mpp <= 10:
            raise PixelSizeError(f"{image.name}: pixel size {mpp} um is not within 0.05 - 10")
    parts = PurePosixPath(image.name).parts
    portable = all(portable_name(part) == part for part in parts) and "\\" not in image.name
    if not parts or "/".join(parts) != image.name or ".." in parts or not portable:
        raise DataError(
            f"{folder}: '{image.name}' cannot be the name of a picture; expected a path below"
            " images/ of names that every system takes"
        )
    for name in image.labels.class_names:
        if classes is not None and name is not None and name not in classes:
            raise DataError(
                f"{folder}: class '{name}' in '{image.name}' is none of the dataset's"
                f" ({', '.join(classes)}); map it, or add it to {CARD_FILE}"
            )
    check_labels(image, where=folder)


def _check_names(names: list[str], *, folder: Path) -> None:
    for one, other in pairwise(names):
        if one >= other:
            raise DataError(f"{folder}: '{other}' comes twice or out of order; give each once")
    keys: dict[str, str] = {}
    for name in names:
        first = keys.setdefault(name_key(name), name)
        if first != name:
            raise DataError(f"{folder}: '{first}' and '{name}' are one file on some systems")


def _keep_picture(folder: Path, image: LabelledImage, *, known: str | None) -> str:
    """Copy the pixels of a picture into the dataset unless they are there; return the SHA-256."""
    target = folder / IMAGES / image.name
    if image.file is None or image.file == target:
        if known is None:
            raise DataError(f"{folder}: '{image.name}' has labels only; give its picture, too")
        return known
    sha256 = hash_file(image.file)
    if target.exists():
        if (known or hash_file(target)) != sha256:
            raise DataError(
                f"{image.file}: the dataset has another picture called '{image.name}'; rename one"
            )
        return sha256
    if picture_size(image.file) != image.size_px:
        raise DataError(
            f"{image.file}: {' x '.join(map(str, picture_size(image.file)))} px, but its labels"
            f" are of {' x '.join(map(str, image.size_px))} px"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as written:
        shutil.copyfile(image.file, written)
    return sha256


def _known_pictures(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all pictures that any version names."""
    known: dict[str, str] = {}
    for version in list_versions(folder):
        path = folder / VERSIONS / version.name / IMAGE_TABLE
        table = _read_table(path, columns=["name", "sha256"])
        known.update(zip(table["name"].to_pylist(), table["sha256"].to_pylist(), strict=True))
    return known


def _read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: damaged ({reason}); restore it from a backup") from None


def _digest(version: Path) -> str:
    both = [hash_file(version / table) for table in (IMAGE_TABLE, NUCLEUS_TABLE)]
    return hashlib.sha256("".join(both).encode()).hexdigest()


def _digest_rows(rows: pa.Table) -> str:
    """Return the SHA-256 of the labels of a picture."""
    content = repr(rows.drop_columns(["image"]).to_pydict())
    return hashlib.sha256(content.encode()).hexdigest()
