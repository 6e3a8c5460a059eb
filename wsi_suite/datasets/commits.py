"""New versions of a dataset: written whole or not at all, by one process at a time."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wsi_suite.datasets.card import DatasetCard, read_card, write_card
from wsi_suite.datasets.kept_pictures import (
    KeptPicture,
    keep_picture,
    known_pictures,
    remove_pictures,
)
from wsi_suite.datasets.labelled_image import LabelledImage, check_labels
from wsi_suite.datasets.locking import locked
from wsi_suite.datasets.store import (
    IMAGES,
    VERSION_FILE,
    VERSIONS,
    Dataset,
    Version,
    digest_of,
    list_versions,
    open_dataset,
    read_revoked,
    read_table,
    version_name,
)
from wsi_suite.datasets.tables import (
    IMAGE_COLUMNS,
    IMAGE_TABLE,
    NUCLEUS_COLUMNS,
    NUCLEUS_TABLE,
    image_row,
    nucleus_rows,
)
from wsi_suite.documents import write_document
from wsi_suite.errors import BusyError, DataError, OutputConflictError, PixelSizeError
from wsi_suite.files import (
    is_leftover,
    name_key,
    portable_name,
    whole_file,
)

log = logging.getLogger(__name__)

_ROWS = 65_536  # nuclei that are written at once


def create_dataset(folder: Path, card: DatasetCard) -> None:
    """Make an empty dataset.

    Raises
    ------
    OutputConflictError
        The folder holds something.
    """
    if folder.exists() and (
        not folder.is_dir() or not all(is_leftover(path) for path in folder.iterdir())
    ):
        raise OutputConflictError(f"{folder}: is there and not empty; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_card(folder, card)  # first: a folder without it is none that can be gone on with
    for part in (IMAGES, VERSIONS):
        (folder / part).mkdir(exist_ok=True)


Source = Iterable[LabelledImage] | Callable[[Dataset | None], Iterable[LabelledImage]]
"""Pictures of a new version, or a function that makes them of the version before."""


def commit(
    folder: Path,
    images: Source,
    *,
    message: str,
    new_classes: bool = False,
    tell: Callable[[str], None] = log.warning,
) -> Dataset:
    """Add a version that holds just these pictures and labels, and return it.

    Pictures that are not in the dataset are copied into it. If pictures and labels are those of
    the newest version, that one is returned. If anything fails, there is no new version, and no
    new picture.

    Parameters
    ----------
    folder
        Of the dataset.
    images
        In the order of their names; read once, one after the other. A function gets the newest
        version, and no other process adds one meanwhile.
    message
        What changed.
    new_classes
        Whether classes that the card does not name are added to it; else they are refused.
    tell
        Receives how many new pictures are copies of others.

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
    copied: list[Path] = []

    def write(made: Path, last: Dataset | None) -> _Counts:
        card = read_card(folder)
        known = {} if last is None else known_pictures(folder)
        classes = None if new_classes else card.classes
        writer = _Writer(folder, made, known=known, classes=classes, copied=copied, tell=tell)
        for image in images(last) if callable(images) else images:
            writer.add(image)
        return writer.close()

    def undo() -> None:
        remove_pictures(folder, copied)

    return _add_version(folder, write, message=message, undo=undo)


def commit_splits(dataset: Dataset, splits: Mapping[str, str], *, message: str) -> Dataset:
    """Add a version with the pictures and labels of `dataset`, and other parts.

    Parameters
    ----------
    dataset
        The version.
    splits
        Part by name of the picture; pictures that are not named belong to none.
    message
        What changed.

    Raises
    ------
    BusyError
        Another process has added a version to `dataset` meanwhile, or writes to it.
    """

    def write(made: Path, last: Dataset | None) -> _Counts:
        if last is None or last.version.digest != dataset.version.digest:
            raise BusyError(
                f"{dataset.folder}: version {dataset.version.number} is no longer the newest;"
                " give the command again"
            )
        table = read_table(dataset.image_table)
        parts = pa.array([splits.get(name) for name in table["name"].to_pylist()], pa.string())
        place = table.column_names.index("split")
        _write_images(table.set_column(place, "split", parts), made)
        shutil.copyfile(dataset.nucleus_table, made / NUCLEUS_TABLE)
        return _Counts(dataset.version.images, dataset.version.nuclei, dataset.version.classes)

    return _add_version(dataset.folder, write, message=message)


def _add_version(
    folder: Path,
    write: Callable[[Path, Dataset | None], _Counts],
    *,
    message: str,
    undo: Callable[[], None] = lambda: None,
) -> Dataset:
    """Add a version whose tables `write` puts into a folder; return it, or the one it equals.

    If anything fails, `undo` is called before another process may write.
    """
    with locked(folder), ExitStack() as on_failure:
        on_failure.callback(undo)
        opened = open_dataset(folder) if list_versions(folder) else None
        last = opened.version if opened else None
        number = last.number + 1 if last else 1
        (folder / VERSIONS).mkdir(exist_ok=True)
        with (
            suppress(_UnchangedError),
            whole_file(folder / VERSIONS / version_name(number)) as made,
        ):
            made.mkdir()
            counts = write(made, opened)
            digest = digest_of(made)
            if last and last.digest == digest:
                raise _UnchangedError
            version = Version(
                number=number,
                digest=digest,
                parent=last.digest if last else None,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                message=message,
                images=counts.images,
                nuclei=counts.nuclei,
                classes=counts.classes,
            )
            write_document(made / VERSION_FILE, version)
            card = read_card(folder)
            added = tuple(name for name in version.classes if name and name not in card.classes)
            if added:
                write_card(folder, card.model_copy(update={"classes": (*card.classes, *added)}))
        on_failure.pop_all()
    return open_dataset(folder)


@dataclass(frozen=True)
class _Counts:
    """Number of rows of a version's tables."""

    images: int
    nuclei: int
    classes: dict[str, int]


class _UnchangedError(Exception):
    """A version would be equal to the one before."""


class _Writer:
    """Writes the tables of a version, picture by picture."""

    def __init__(
        self,
        folder: Path,
        made: Path,
        *,
        known: Mapping[str, KeptPicture],
        classes: tuple[str, ...] | None,
        copied: list[Path],
        tell: Callable[[str], None],
    ) -> None:
        self._folder, self._made, self._known = folder, made, known
        self._copied, self._tell = copied, tell
        self._allowed = classes
        self._revoked = read_revoked(folder).pictures
        self._rows: list[dict[str, Any]] = []
        self._held: list[pa.RecordBatch] = []
        self._nuclei: pq.ParquetWriter = pq.ParquetWriter(
            made / NUCLEUS_TABLE, NUCLEUS_COLUMNS, compression="zstd"
        )
        self._classes: dict[str, int] = {}

    def add(self, image: LabelledImage) -> None:
        _check_image(image, self._allowed, folder=self._folder)
        known = self._known.get(image.name)
        picture = keep_picture(
            self._folder, image, known=known, revoked=self._revoked, copied=self._copied
        )
        row = image_row(image, sha256=picture.sha256, dhash=picture.dhash)
        self._rows.append(row)
        self._held.append(nucleus_rows(image))
        for name in image.labels.class_names:
            self._classes[name or ""] = self._classes.get(name or "", 0) + 1
        if sum(map(len, self._held)) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        self._nuclei.write_table(pa.Table.from_batches(self._held, NUCLEUS_COLUMNS))
        self._held = []

    def close(self) -> _Counts:
        self._flush()
        self._nuclei.close()
        _check_names([row["name"] for row in self._rows], folder=self._folder)
        self._tell_copies()
        _write_images(pa.Table.from_pylist(self._rows, IMAGE_COLUMNS), self._made)
        nuclei = sum(row["nuclei"] for row in self._rows)
        return _Counts(len(self._rows), nuclei, dict(sorted(self._classes.items())))

    def _tell_copies(self) -> None:
        """Tell new pictures that are the same file as another one: their nuclei count twice."""
        first: dict[str, str] = {}
        new = {path.relative_to(self._folder / IMAGES).as_posix() for path in self._copied}
        pairs = [
            (first[row["sha256"]], row["name"])
            for row in self._rows
            if first.setdefault(row["sha256"], row["name"]) != row["name"]
        ]
        doubled = [pair for pair in pairs if new.intersection(pair)]
        if doubled:
            one, other = doubled[0]
            self._tell(
                f"{self._folder}: {len(doubled):,} pictures are copies of others, such as"
                f" '{other}' of '{one}'; their nuclei count twice, and no split parts them"
            )


def _write_images(table: pa.Table, made: Path) -> None:
    pq.write_table(table, made / IMAGE_TABLE, compression="zstd")


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
                f" ({', '.join(classes)}); rename it with --class, or add it with"
                " --new-classes"
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
