"""``dataset``: ``split``, ``log``, ``diff``, ``verify`` and ``revoke``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.commands.dataset_files import place_of
from wsi_suite.commands.defaults import SHARES
from wsi_suite.datasets.history import Change, diff_versions, verify_dataset
from wsi_suite.datasets.remote import at_hand, on_disk
from wsi_suite.datasets.revoking import revoke as revoke_data
from wsi_suite.datasets.splitting import Leak, PartFigures, balance, find_leaks, split_dataset
from wsi_suite.datasets.store import (
    Revocation,
    Version,
    list_versions,
    open_dataset,
    read_image_rows,
    read_revoked,
)
from wsi_suite.errors import ConfigError
from wsi_suite.given_values import path_of

log_ = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """A split of a dataset.

    Attributes
    ----------
    version
        The new version, in which each picture belongs to a part.
    parts
        Figures of each part, and those of all pictures at the end.
    """

    version: Version
    parts: tuple[PartFigures, ...]


@dataclass(frozen=True)
class DatasetLog:
    """History of a dataset.

    Attributes
    ----------
    versions
        The first one first.
    revocations
        Tombstones of data that was removed from all versions.
    """

    versions: tuple[Version, ...]
    revocations: tuple[Revocation, ...]


@dataclass(frozen=True)
class VersionDifference:
    """Difference of two versions.

    Attributes
    ----------
    before, after
        The versions.
    changes
        Pictures that differ; none if the versions are equal.
    """

    before: Version
    after: Version
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Verified:
    """Result of a check of a dataset.

    Attributes
    ----------
    version
        The version that was looked through for leaks.
    faults
        Damaged, missing and strange files, in sentences.
    leaks
        Pictures of different parts that must not be parted.
    """

    version: Version
    faults: tuple[str, ...]
    leaks: tuple[Leak, ...]

    @property
    def is_whole(self) -> bool:
        """Whether there is neither a fault nor a leak."""
        return not self.faults and not self.leaks


@dataclass(frozen=True)
class RevokedData:
    """Data that was removed from all versions.

    Attributes
    ----------
    tombstone
        What stays of it.
    models
        Folders of models that learned from it.
    """

    tombstone: Revocation
    models: tuple[Path, ...]


def split(
    dataset: str | Path,
    *,
    parts: Mapping[str, float] | None = None,
    folds: int | None = None,
    seed: int = 0,
    message: str = "",
) -> Split:
    """Part a dataset, as a new version: patients, slides and pictures that look alike stay whole.

    Parts are balanced by pictures, nuclei of each class, stain and laboratory, as far as whole
    patients and slides allow.

    Parameters
    ----------
    dataset
        Folder of the dataset, or its URL.
    parts
        Names and shares; by default ``{"train": 80, "val": 10, "test": 10}``, which `train` knows.
    folds
        As many parts of equal size, called 1, 2, ..., in place of `parts`.
    seed
        Decides between groups of equal size.
    message
        What changed, for the log.

    Returns
    -------
    Split
        The new version, and the figures of its parts.

    Raises
    ------
    WsiSuiteError
        The dataset or the parts cannot be used, or there are fewer groups than parts.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> added = ws.dataset.import_labels("endonuke", "parted", format="tiles")
    >>> made = ws.dataset.split("parted", parts={"train": 50, "test": 50})
    >>> [(part.part, part.pictures) for part in made.parts]
    [('test', 1), ('train', 1), ('all', 2)]
    """
    if folds is not None and parts is not None:
        raise ConfigError("--folds: takes the place of --parts; give one of them")
    if folds is not None and folds < 2:
        raise ConfigError(f"--folds {folds}: expected 2 or more")
    shares = dict(SHARES if parts is None else parts)
    if folds is not None:
        shares = {str(one): 1.0 for one in range(1, folds + 1)}
    with at_hand(place_of(dataset), writes=True) as folder:
        made = split_dataset(open_dataset(folder), shares=shares, seed=seed, message=message)
        return Split(made.version, tuple(balance(made)))


def log(dataset: str | Path) -> DatasetLog:
    """Return the versions and the revocations of a dataset.

    Parameters
    ----------
    dataset
        Folder of the dataset, or its URL.

    Raises
    ------
    WsiSuiteError
        There is no dataset, or it is damaged.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> added = ws.dataset.import_labels("endonuke", "logged", format="tiles")
    >>> [version.message for version in ws.dataset.log("logged").versions]
    ['import of endonuke (tiles)']
    """
    with at_hand(place_of(dataset)) as folder:
        return DatasetLog(tuple(list_versions(folder)), tuple(read_revoked(folder).revocations))


def diff(
    dataset: str | Path, before: int | str, after: int | str | None = None
) -> VersionDifference:
    """Return the changes between two versions: pictures, their facts, and nuclei by kind of change.

    A nucleus moved if it has a counterpart within 3.5 um.

    Parameters
    ----------
    dataset
        Folder of the dataset, or its URL.
    before, after
        Versions: numbers, or beginnings of their digests; by default the newest is `after`.

    Raises
    ------
    WsiSuiteError
        There is no dataset or no such version.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> added = ws.dataset.import_labels("endonuke", "changed", format="tiles")
    >>> made = ws.dataset.split("changed", parts={"train": 50, "test": 50})
    >>> [(one.kind, one.facts) for one in ws.dataset.diff("changed", 1).changes]
    [('changed', ('split',)), ('changed', ('split',))]
    """
    with at_hand(place_of(dataset)) as folder:
        old, new = open_dataset(folder, version=before), open_dataset(folder, version=after)
        return VersionDifference(old.version, new.version, tuple(diff_versions(old, new)))


def verify(dataset: str | Path, *, version: int | str | None = None) -> Verified:
    """Read all of a dataset again for damage, missing files, and leaks between parts.

    Parameters
    ----------
    dataset
        Folder of the dataset, or its URL.
    version
        The version that is looked through for leaks; by default the newest.

    Returns
    -------
    Verified
        Faults and leaks, if there are any.

    Raises
    ------
    WsiSuiteError
        There is no dataset or no such version, or it cannot be read at all.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> added = ws.dataset.import_labels("endonuke", "checked", format="tiles")
    >>> ws.dataset.verify("checked").is_whole
    True
    """
    with at_hand(place_of(dataset), pictures=True) as folder:
        opened = open_dataset(folder, version=version)
        faults = verify_dataset(opened)
        leaks = find_leaks(read_image_rows(opened))
    return Verified(opened.version, tuple(faults), tuple(leaks))


def revoke(
    dataset: str | Path,
    *,
    patient: str | None = None,
    slide: str | None = None,
    picture: str | None = None,
    reason: str = "",
    models: str | Path | Iterable[str | Path] = (),
    tell: Callable[[str], None] = log_.warning,
) -> RevokedData:
    """Remove the data of a patient, a slide or a picture from all versions of a dataset.

    A tombstone stays, and the pictures are not taken in again. Exports and backups are out of
    reach, and so are URLs: copy the dataset to a disk, revoke there, and copy it to a new URL.

    Parameters
    ----------
    dataset
        Folder of the dataset.
    patient, slide, picture
        Whose data; give one of them.
    reason
        Why, for the tombstone; name no patient.
    models
        Folders in which to look for models that learned from the data, beside that of added models.
    tell
        Receives what to know of a revocation that was interrupted.

    Returns
    -------
    RevokedData
        The tombstone, and the models that learned from the data.

    Raises
    ------
    WsiSuiteError
        No version has such data, or another process writes to the dataset.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> added = ws.dataset.import_labels("endonuke", "reduced", format="tiles")
    >>> done = ws.dataset.revoke("reduced", picture="1.png", reason="consent withdrawn")
    >>> len(done.tombstone.pictures), ws.dataset.show("reduced").version.images
    (1, 1)
    """
    from wsi_suite.resources import added_models_folder
    from wsi_suite.training.training_record import models_trained_on

    given = {"patient": patient, "slide": slide, "picture": picture}
    named = {by: value for by, value in given.items() if value is not None}
    if len(named) != 1:
        raise ConfigError("give one of --patient, --slide and --picture")
    one = [models] if isinstance(models, str | Path) else models
    folders = [path_of(folder, option="--models") for folder in one]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"--models {folder}: no such folder")
    ((by, value),) = named.items()
    done = revoke_data(on_disk(place_of(dataset)), by=by, value=value, reason=reason, tell=tell)
    learned = models_trained_on([*folders, added_models_folder()], done.pictures)
    return RevokedData(done, tuple(learned))
