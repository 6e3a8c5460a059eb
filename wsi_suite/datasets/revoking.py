"""Taking a patient's data out of a dataset, from all of its versions.

This is the one act that changes what was written. A tombstone stays, ``revoked.json``: when and
why, which versions lost pictures, and the SHA-256 of these pictures, by which they are refused
later. It names neither patient nor picture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wsi_suite.datasets.card import read_card
from wsi_suite.datasets.cards import described_version, write_cards
from wsi_suite.datasets.kept_pictures import remove_pictures
from wsi_suite.datasets.locking import locked
from wsi_suite.datasets.store import (
    IMAGES,
    REVOKED_FILE,
    VERSION_FILE,
    VERSIONS,
    Dataset,
    Revocation,
    Revoked,
    Version,
    digest_of,
    list_versions,
    read_revoked,
    read_table,
)
from wsi_suite.datasets.tables import (
    IMAGE_TABLE,
    NUCLEUS_COLUMNS,
    NUCLEUS_TABLE,
    read_pieces,
)
from wsi_suite.documents import write_document
from wsi_suite.errors import DataError, did_you_mean
from wsi_suite.files import hash_file, whole_file

log = logging.getLogger(__name__)

COLUMNS = {"patient": "patient", "slide": "slide", "picture": "name"}
"""What data can be revoked by, and the column of the table of pictures that holds it."""


def revoke(
    folder: Path,
    *,
    by: str,
    value: str,
    reason: str,
    tell: Callable[[str], None] = log.warning,
) -> Revocation:
    """Remove the data of a patient, a slide or a picture from all versions of a dataset.

    Pictures with the same pixels go, too, whatever their name. Cards for repositories, if there
    are any, are written again for the version that they describe. A revocation that was interrupted
    is finished first, and until then the dataset cannot be read. Copies elsewhere (exports,
    backups, models) are out of reach.

    Parameters
    ----------
    folder
        Of the dataset.
    by
        ``patient``, ``slide`` or ``picture``.
    value
        Its name in the dataset.
    reason
        For the tombstone.
    tell
        Receives what the user should know of a revocation that was interrupted.

    Returns
    -------
    Revocation
        The tombstone; of the one that was interrupted if nothing of `value` is left after it.

    Raises
    ------
    DataError
        No version has such data.
    BusyError
        Another process writes to the dataset.
    """
    with locked(folder):
        earlier = read_revoked(folder).revocations
        done = [one for one in earlier if one.finished]
        for begun in (one for one in earlier if not one.finished):
            done.append(_carry_out(folder, begun, done))
            tell(f"{folder}: finished the revocation of {begun.date[:10]}, which was interrupted")
        try:
            begun = _begin(folder, by=by, value=value, reason=reason)
        except DataError:
            if len(done) > sum(one.finished for one in earlier):
                return done[-1]  # the same command again: nothing of it is left
            raise
        return _carry_out(folder, begun, done)


def _carry_out(folder: Path, begun: Revocation, done: list[Revocation]) -> Revocation:
    """Remove the pictures of a tombstone and their labels; return it as it is kept then."""
    versions = list_versions(folder)
    old = begun.digests or tuple((version.digest, "") for version in versions)
    _keep(folder, [*done, begun.model_copy(update={"digests": old})])
    pictures = set(begun.pictures)
    # The files first: an interrupted call finds their names again in the tables.
    _delete_pictures(folder, versions, pictures)
    new = _strip_versions(folder, versions, pictures)
    _describe_again(folder)
    changed = tuple(
        (before, after) for (before, _), after in zip(old, new, strict=True) if before != after
    )
    finished = begun.model_copy(update={"digests": changed, "finished": True})
    _keep(folder, [*done, finished])
    return finished


def _begin(folder: Path, *, by: str, value: str, reason: str) -> Revocation:
    """Return the tombstone of data that is to be removed."""
    found: set[str] = set()
    known: set[str] = set()
    for version in list_versions(folder):
        table = read_table(folder / VERSIONS / version.name / IMAGE_TABLE)
        column = table[COLUMNS[by]]
        known |= {text for text in column.unique().to_pylist() if text}
        found |= set(table.filter(pc.equal(column, value))["sha256"].to_pylist())
    if not found:
        raise DataError(f"{folder}: no {by} '{value}' in any version{did_you_mean(value, known)}")
    return Revocation(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=reason,
        pictures=tuple(sorted(found)),
    )


def _keep(folder: Path, revocations: list[Revocation]) -> None:
    write_document(folder / REVOKED_FILE, Revoked(revocations=tuple(revocations)))


def _strip_versions(folder: Path, versions: list[Version], pictures: set[str]) -> list[str]:
    """Remove pictures from the tables of all versions; return the digests, in their order."""
    digests: list[str] = []
    for version in versions:
        place = folder / VERSIONS / version.name
        images = read_table(place / IMAGE_TABLE)
        gone = pc.is_in(images["sha256"], pa.array(sorted(pictures), pa.string()))
        names = set(images.filter(gone)["name"].to_pylist())
        kept = images.filter(pc.invert(gone))
        # The nuclei first: an interrupted call finds the names of the pictures again.
        classes = _strip_nuclei(place / NUCLEUS_TABLE, names)
        if names:
            with whole_file(place / IMAGE_TABLE) as written:
                pq.write_table(kept, written, compression="zstd")
        digests.append(digest_of(place))
        parent = digests[-2] if len(digests) > 1 else None
        changed = version.model_copy(
            update={
                "digest": digests[-1],
                "parent": parent,
                "images": len(kept),
                "nuclei": sum(classes.values()),
                "classes": classes,
            }
        )
        if changed != version:
            write_document(place / VERSION_FILE, changed)
    return digests


def _strip_nuclei(path: Path, names: set[str]) -> dict[str, int]:
    """Remove the nuclei of pictures from a table; return those that stay, by class."""
    classes: dict[str, int] = {}
    gone = pa.array(sorted(names), pa.string())

    def kept() -> Iterator[pa.Table]:
        for piece in read_pieces(path):
            table = piece.filter(pc.invert(pc.is_in(piece["image"], gone)))
            for one in pc.value_counts(table["class"]).to_pylist():
                name = one["values"] or ""
                classes[name] = classes.get(name, 0) + one["counts"]
            yield table

    if names:
        with (
            whole_file(path) as written,
            pq.ParquetWriter(written, NUCLEUS_COLUMNS, compression="zstd") as writer,
        ):
            for table in kept():
                writer.write_table(table)
    else:
        for _ in kept():
            pass
    return dict(sorted(classes.items()))


def _delete_pictures(folder: Path, versions: list[Version], pictures: set[str]) -> None:
    """Delete the files of pictures: those of their names, damaged or not, and all copies."""
    gone: set[str] = set()
    kept: set[str] = set()
    for version in versions:
        table = read_table(folder / VERSIONS / version.name / IMAGE_TABLE, ["name", "sha256"])
        for row in table.to_pylist():
            (gone if row["sha256"] in pictures else kept).add(row["name"])
    files = {path.relative_to(folder / IMAGES).as_posix(): path for path in _files(folder / IMAGES)}
    remove_pictures(
        folder,
        [
            path
            for name, path in files.items()
            if name in gone - kept or hash_file(path) in pictures
        ],
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _describe_again(folder: Path) -> None:
    """Write the cards for repositories again, which name numbers and digests."""
    number = described_version(folder)
    for version in list_versions(folder):
        if version.number == number:
            write_cards(Dataset(folder, read_card(folder), version))
