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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from wsi_suite.datasets.card import CARD_FILE, DatasetCard, read_card
from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.datasets.tables import (
    IMAGE_TABLE,
    NUCLEUS_TABLE,
    columns_of,
    image_from,
    labels_from,
    read_pieces,
    rows_by_image,
)
from wsi_suite.documents import Document, Part, read_document
from wsi_suite.errors import DataError, OutputError, did_you_mean
from wsi_suite.files import hash_file

IMAGES, VERSIONS = "images", "versions"
VERSION_FILE = "version.json"
REVOKED_FILE = "revoked.json"
"""Name of the tombstones of data that was taken out of all versions."""

_BACKUP = "restore it from a backup"


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


class Revocation(Part):
    """A tombstone: data that was taken out of all versions.

    Attributes
    ----------
    date
        UTC, ISO 8601.
    reason
        In the words of whoever did it.
    pictures
        SHA-256 of the pictures; they are not taken in again.
    digests
        Digest of each version that lost pictures, before and after.
    finished
        Whether all of it was done.
    """

    date: str
    reason: str
    pictures: tuple[str, ...]
    digests: tuple[tuple[str, str], ...] = ()
    finished: bool = False


class Revoked(Document):
    """Content of ``revoked.json``: the tombstones, the first one first."""

    revocations: tuple[Revocation, ...] = ()

    @property
    def pictures(self) -> set[str]:
        """SHA-256 of all pictures that were taken out."""
        return {sha256 for one in self.revocations for sha256 in one.pictures}


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


def read_revoked(folder: Path) -> Revoked:
    """Return the tombstones of a dataset."""
    path = folder / REVOKED_FILE
    return read_document(Revoked, path, fault="damaged", remedy=_BACKUP) or Revoked()


def list_versions(folder: Path) -> list[Version]:
    """Return the versions of a dataset, the first one first.

    Raises
    ------
    DataError
        It is no dataset.
    OutputError
        A version is damaged or missing.
    """
    read_card(folder)
    places = [path for path in (folder / VERSIONS).glob("[0-9]*") if path.is_dir()]
    versions = []
    for number in range(1, len(places) + 1):
        path = folder / VERSIONS / version_name(number) / VERSION_FILE
        version = read_document(Version, path, fault="damaged", remedy=_BACKUP)
        if version is None:
            strange = [one for one in places if not one.name.isdecimal()]
            if strange:
                raise OutputError(f"{min(strange)}: not the folder of a version; move it away")
            raise OutputError(f"{path}: missing; {_BACKUP}")
        if version.number != number:
            raise OutputError(f"{path}: damaged (number {version.number}); {_BACKUP}")
        versions.append(version)
    return versions


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
    revocations = read_revoked(folder).revocations
    if not all(one.finished for one in revocations):
        raise DataError(f"{folder}: a revocation was interrupted; give its command again")
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
        for one in revocations:
            for old, new in one.digests:
                if len(asked) >= 7 and old.startswith(asked):
                    raise DataError(
                        f"{folder}: version {asked} lost revoked pictures on"
                        f" {one.date[:10]}; what is left of it is version {new[:10]}"
                    )
        known = ", ".join(str(one.number) for one in versions)
        raise DataError(f"{folder}: no version '{version}'; it has {known}")
    return Dataset(folder, read_card(folder), found[0])


def read_image_rows(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the rows of the table of pictures; see :mod:`wsi_suite.datasets.tables`.

    Raises
    ------
    DataError
        It is damaged, or the name of a picture would lead out of the folder.
    """
    rows = list(read_table(dataset.image_table).to_pylist())
    for row in rows:
        name = PurePosixPath(row["name"])
        if name.is_absolute() or ".." in name.parts or "\\" in row["name"] or not name.parts:
            raise DataError(
                f"{dataset.image_table}: '{row['name']}' cannot be the name of a picture; get the"
                " dataset again from where it came"
            )
    return rows


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
    parts = rows_by_image(dataset.nucleus_table, rows)
    for row, nuclei in zip(rows, parts, strict=True):
        if wanted is None or row["name"] in wanted:
            yield image_from(
                row,
                labels_from(nuclei),
                file=dataset.folder / IMAGES / row["name"],
                labels_sha256=_digest_rows(nuclei),
            )


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a table of a version, or raise DataError if it is damaged."""
    empty = columns_of(path).empty_table()
    return pa.concat_tables(
        [empty.select(columns or empty.column_names), *read_pieces(path, columns=columns)]
    )


def digest_of(version: Path) -> str:
    """Return the digest of the tables in the folder of a version."""
    try:
        both = [hash_file(version / table) for table in (IMAGE_TABLE, NUCLEUS_TABLE)]
    except OSError as error:
        raise DataError(f"{error.filename}: damaged ({error.strerror}); {_BACKUP}") from None
    return hashlib.sha256("".join(both).encode()).hexdigest()


def _digest_rows(rows: pa.Table) -> str:
    """Return the SHA-256 of the labels of a picture."""
    content = repr(rows.drop_columns(["image"]).to_pydict())
    return hashlib.sha256(content.encode()).hexdigest()
