"""Datasets on object storage (S3 and others of fsspec), by a URL such as ``s3://bucket/mine``.

::

    s3://bucket/mine/
      wsi-suite.json           says that this is a dataset; written once
      dataset.yaml             the card
      versions/0001.json       a version, and the SHA-256 of its tables
      tables/<sha256>.parquet  tables of versions
      pictures/<sha256>        pictures
      revoked.json             tombstones

Object storage can write one object whole, and cannot rename. So all objects are named by their
content, except versions, which name them: writing ``versions/0002.json`` is the commit. It is
written on the condition that it is not there yet (HTTP ``If-None-Match: *``), so that of two
writers at once one has the version and the other is told. A writer that is killed leaves objects
that no version names. Storage without such a condition is refused for writing.

Work is done on a copy in a temporary folder (:func:`at_hand`), by the same code as on a disk.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from wsi_suite.datasets.card import CARD_FILE, read_card, write_card
from wsi_suite.datasets.locking import alone_at
from wsi_suite.datasets.object_storage import ObjectStorage, connect, is_url
from wsi_suite.datasets.store import (
    IMAGES,
    REVOKED_FILE,
    VERSION_FILE,
    VERSIONS,
    Version,
    list_versions,
    open_dataset,
    read_image_rows,
    version_name,
)
from wsi_suite.datasets.tables import IMAGE_TABLE, NUCLEUS_TABLE
from wsi_suite.documents import Document, parse_document, write_document
from wsi_suite.errors import (
    BusyError,
    ConfigError,
    DataError,
    OutputConflictError,
    OutputError,
    WsiSuiteError,
)
from wsi_suite.files import hash_file

_MARK_FILE, _MARK = "wsi-suite.json", b'{"format": 1, "kind": "dataset"}\n'
_TABLES, _PICTURES = "tables", "pictures"


class RemoteVersion(Document):
    """Content of ``versions/<number>.json``: a version, and the SHA-256 of its two tables."""

    version: Version
    images: str
    nuclei: str


@contextmanager
def at_hand(place: str, *, pictures: bool = False, writes: bool = False) -> Iterator[Path]:
    """Yield the folder of a dataset; of one on object storage, a copy in a temporary folder.

    Parameters
    ----------
    place
        A folder, or a URL.
    pictures
        Whether the pictures are needed.
    writes
        Whether versions that the block adds are written to `place`. A dataset that is not there
        may be made.

    Raises
    ------
    DataError
        There is no dataset, or it is damaged, or it cannot be reached.
    BusyError
        Another process has added a version meanwhile.
    """
    if not is_url(place):
        yield Path(place)
        return
    remote = connect(place)
    with tempfile.TemporaryDirectory(prefix="wsi-suite-dataset-") as scratch:
        folder = Path(scratch) / (place.rstrip("/").rpartition("/")[2] or "dataset")
        try:
            if not writes or remote.read(_MARK_FILE) is not None:
                _fetch(remote, folder, pictures=pictures)
            yield folder
            if writes:
                _publish(folder, remote)
        except WsiSuiteError as error:
            said = str(error)
            if str(folder) not in said:
                raise
            raise type(error)(said.replace(str(folder), place.rstrip("/"))) from error


def on_disk(place: str) -> Path:
    """Return the folder of a dataset, or raise ConfigError for a URL."""
    if is_url(place):
        place = re.sub(":/+", "://", place, count=1)  # paths have one slash
        raise ConfigError(
            f"{place}: expected a folder here; copy the dataset with 'wsi-suite dataset copy"
            f" {place} FOLDER'"
        )
    return Path(place)


def copy_dataset(source: str, target: str) -> int:
    """Copy a dataset with all versions from or to object storage, or on a disk; check every file.

    A copy to a URL that holds earlier versions of the same dataset adds the later ones.

    Returns
    -------
    int
        Number of the versions.

    Raises
    ------
    OutputConflictError
        The target holds something else.
    DataError
        A file is damaged.
    """
    from wsi_suite.datasets.history import verify_dataset
    from wsi_suite.files import whole_file

    alone = nullcontext() if is_url(target) else alone_at(Path(target))
    with alone, at_hand(source, pictures=True) as folder:
        versions = list_versions(folder)
        opened = open_dataset(folder)
        unnamed = f"{IMAGES}/"
        for fault in verify_dataset(opened):
            if not (fault.startswith(unnamed) and "in no version" in fault):
                raise DataError(f"{source}: {fault}; nothing was copied")
        if is_url(target):
            _publish(folder, connect(target))
        else:
            with whole_file(Path(target)) as made:
                made.mkdir()
                _copy_files(folder, made)
    return len(versions)


def _fetch(remote: ObjectStorage, folder: Path, *, pictures: bool) -> None:
    """Copy a dataset into a new folder; its pictures only if they are wanted."""
    versions = _versions(remote)
    folder.mkdir(parents=True)
    (folder / IMAGES).mkdir()
    (folder / VERSIONS).mkdir()
    card = remote.read(CARD_FILE)
    if card is not None:
        (folder / CARD_FILE).write_bytes(card)
    if (revoked := remote.read(REVOKED_FILE)) is not None:
        (folder / REVOKED_FILE).write_bytes(revoked)
    tables = {sha256: folder / VERSIONS / sha256 for one in versions for sha256 in _of(one)}
    remote.get({f"{_TABLES}/{sha256}.parquet": path for sha256, path in tables.items()})
    for one in versions:
        made = folder / VERSIONS / one.version.name
        made.mkdir()
        for name, sha256 in zip((IMAGE_TABLE, NUCLEUS_TABLE), _of(one), strict=True):
            shutil.copyfile(tables[sha256], made / name)
        write_document(made / VERSION_FILE, one.version)
    for path in tables.values():
        path.unlink()
    # The card is the user's. Classes that versions brought since are in the versions.
    read = read_card(folder)
    classes = dict.fromkeys((*read.classes, *(n for v in versions for n in v.version.classes if n)))
    if tuple(classes) != read.classes:
        write_card(folder, read.model_copy(update={"classes": tuple(classes)}))
    if pictures:
        _fetch_pictures(remote, folder)


def _fetch_pictures(remote: ObjectStorage, folder: Path) -> None:
    places: dict[str, list[Path]] = {}
    for name, sha256 in _pictures_of(folder).items():
        places.setdefault(sha256, []).append(folder / IMAGES / name)
    remote.get({f"{_PICTURES}/{sha256}": paths[0] for sha256, paths in places.items()})
    for first, *others in places.values():
        for other in others:
            other.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(first, other)


def _publish(folder: Path, remote: ObjectStorage) -> None:
    """Write the versions of a folder that a remote place does not have yet."""
    versions = list_versions(folder)
    known: list[RemoteVersion] = []
    if remote.read(_MARK_FILE) is not None:
        known = _versions(remote)
    elif remote.names(""):
        raise OutputConflictError(f"{remote.url}: is there and not empty; give another URL")
    digests = [one.digest for one in versions]
    if [one.version.digest for one in known] != digests[: len(known)]:
        if len(known) >= len(versions):
            raise _overtaken(remote, len(known))
        raise OutputConflictError(
            f"{remote.url}: holds other versions than {folder}; give another URL"
        )
    if len(known) == len(versions):
        return
    remote.create(_MARK, _MARK_FILE)
    if remote.create(_MARK, _MARK_FILE):
        raise OutputError(
            f"{remote.url}: this storage writes over objects that are there, so that two writers"
            " could lose each other's versions; expected one that knows If-None-Match, as S3 does"
        )
    if not known:
        remote.put({CARD_FILE: folder / CARD_FILE})
        if (folder / REVOKED_FILE).exists():
            remote.put({REVOKED_FILE: folder / REVOKED_FILE})
    _put_pictures(folder, remote)
    for version in versions[len(known) :]:
        _put_version(folder, version, remote)


def _put_pictures(folder: Path, remote: ObjectStorage) -> None:
    there = remote.names(_PICTURES)
    remote.put(
        {
            f"{_PICTURES}/{sha256}": folder / IMAGES / name
            for name, sha256 in _pictures_of(folder).items()
            if sha256 not in there and (folder / IMAGES / name).exists()
        }
    )


def _put_version(folder: Path, version: Version, remote: ObjectStorage) -> None:
    made = folder / VERSIONS / version.name
    files = {hash_file(made / table): made / table for table in (IMAGE_TABLE, NUCLEUS_TABLE)}
    remote.put({f"{_TABLES}/{sha256}.parquet": path for sha256, path in files.items()})
    images, nuclei = (hash_file(made / table) for table in (IMAGE_TABLE, NUCLEUS_TABLE))
    entry = RemoteVersion(version=version, images=images, nuclei=nuclei)
    content = json.dumps(entry.as_json(), indent=2, ensure_ascii=False).encode() + b"\n"
    if not remote.create(content, VERSIONS, f"{version.name}.json"):
        raise _overtaken(remote, version.number)


def _overtaken(remote: ObjectStorage, number: int) -> BusyError:
    return BusyError(
        f"{remote.url}: another process has added version {number} meanwhile; give the command"
        " again"
    )


def _versions(remote: ObjectStorage) -> list[RemoteVersion]:
    if remote.read(_MARK_FILE) is None:
        raise DataError(
            f"{remote.url}: is no dataset, it has no {_MARK_FILE}; make one with 'wsi-suite dataset"
            " import' or 'wsi-suite dataset copy'"
        )
    found = [
        parse_document(
            RemoteVersion,
            remote.read(VERSIONS, name) or b"",
            source=Path(remote.path(VERSIONS, name)),
            fault="damaged",
            remedy="restore it from a backup",
        )
        for name in sorted(remote.names(VERSIONS))
    ]
    numbers = [one.version.number for one in found]
    if numbers != [*range(1, len(found) + 1)]:
        missing = min({*range(1, max(numbers) + 1)} - {*numbers})
        raise DataError(
            f"{remote.url}/{VERSIONS}/{version_name(missing)}.json: missing; restore it from a"
            " backup"
        )
    return found


def _of(one: RemoteVersion) -> Sequence[str]:
    return one.images, one.nuclei


def _pictures_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all pictures that a version names, by name."""
    return {
        row["name"]: row["sha256"]
        for version in list_versions(folder)
        for row in read_image_rows(open_dataset(folder, version=version.number))
    }


def _copy_files(folder: Path, made: Path) -> None:
    """Copy the files of a dataset, and check the pictures."""
    for name in (CARD_FILE, REVOKED_FILE):
        if (folder / name).exists():
            shutil.copyfile(folder / name, made / name)
    (made / IMAGES).mkdir()
    for version in list_versions(folder):
        (made / VERSIONS / version.name).mkdir(parents=True)
        for name in (IMAGE_TABLE, NUCLEUS_TABLE, VERSION_FILE):
            place = Path(VERSIONS, version.name, name)
            shutil.copyfile(folder / place, made / place)
    for name, sha256 in _pictures_of(folder).items():
        target = made / IMAGES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / IMAGES / name, target)
        if hash_file(target) != sha256:
            raise DataError(f"{folder / IMAGES / name}: changed while it was copied; copy again")
