"""Choice of the results folder of each slide of a batch."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from wsi_suite.analysis.slide_record import SLIDE_FILE
from wsi_suite.errors import LaterFormatError, OutputError, WsiSuiteError
from wsi_suite.files import is_leftover, name_key, portable_name
from wsi_suite.runs.run_record import read_run
from wsi_suite.slides.dicom import may_be_dicom
from wsi_suite.slides.identity import SlideIdentity, slide_stem

RECORDS_NAME = "regions.partial"
"""Folder of the records of a run, in the slide's folder."""

_OUR_NAMES = re.compile(r"summary.*\.(csv|parquet).*|batch\.json.*|scores\.csv|report\.html")
"""What the suite itself writes beside the folders of slides."""

_NUMBER = re.compile(r"[\d._-]*|(?:[0-9a-f]{8}-?)(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
"""A number, a UID or a UUID."""

_HASH_LENGTH = 6


class ResultFolders:
    """Results folders of the slides of a batch, the same whatever their order.

    ``<stem>`` if that is free or the slide's own. ``<stem>-<hash6>`` where it belongs to another
    slide, where slides of one name come together, where the suite itself uses the name, and where
    some system would refuse it.

    A slide is read when its folder is asked for, and with it only those whose folders may be called
    the same: a batch of thousands begins at once.

    Parameters
    ----------
    out
        The folder of the results folders; what it holds now counts.
    slides
        All slides of the batch.
    identify
        Reads the identity of a slide, once for each.
    """

    def __init__(
        self,
        out: Path,
        slides: Iterable[Path],
        *,
        identify: Callable[[Path], SlideIdentity] = SlideIdentity.of,
    ) -> None:
        self._out, self._identify = out, identify
        there = out.iterdir() if out.is_dir() else ()
        self._there = Counter(name_key(path.name) for path in there)
        self._namesakes: defaultdict[str, list[Path]] = defaultdict(list)
        for slide in dict.fromkeys(slides):
            self._namesakes[name_key(_name(slide))].append(slide)
        self._read: dict[Path, SlideIdentity | WsiSuiteError] = {}
        self._chosen: dict[Path, Path] = {}

    def choose(self, slide: Path) -> tuple[SlideIdentity, Path]:
        """Return the identity of a slide and its folder.

        Raises
        ------
        SlideError
            The slide cannot be read.
        OSError
            A folder cannot be read.
        """
        identity = self._identity(slide)
        if isinstance(identity, WsiSuiteError):
            raise identity
        if slide not in self._chosen:
            # All of one name at once, before one of them claims a folder.
            self._chosen |= self._choose_for(name_key(_name(slide)))
        return identity, self._chosen[slide]

    def _choose_for(self, key: str) -> dict[Path, Path]:
        """Choose the folders of the slides of one name; those that cannot be read do not count."""
        identities = self._identities(key)
        alone = len({identity.content for identity in identities.values()}) == 1
        alone = alone and not self._is_hashed_name(key)
        folders = {}
        for slide, identity in identities.items():
            name = _name(slide)
            plain, hashed = self._out / name, self._out / _with_hash(slide, identity)
            is_there = plain.exists()
            others = self._there[key] > is_there  # as 'a' beside 'A'
            owns_plain = (
                _owner(plain) == identity.content
                or (alone and not others and is_free(plain))
                or _is_of_later_version(plain)  # and is refused by name, later on
                or _owner(plain) == identity.content  # another process has begun it meanwhile
            )
            usable = name == _stem(slide) and _OUR_NAMES.fullmatch(key) is None
            takes_plain = usable and owns_plain and _owner(hashed) != identity.content
            folders[slide] = plain if takes_plain else hashed
        return folders

    def _is_hashed_name(self, key: str) -> bool:
        """Return whether a slide of the batch may have a folder of this name for its hash."""
        shorter, dash = key[: -_HASH_LENGTH - 1], key[-_HASH_LENGTH - 1 : -_HASH_LENGTH]
        if dash != "-" or shorter not in self._namesakes:
            return False
        return any(
            name_key(_with_hash(slide, identity)) == key
            for slide, identity in self._identities(shorter).items()
        )

    def _identities(self, key: str) -> dict[Path, SlideIdentity]:
        """Read the slides of one name; those that cannot be read are left out."""
        read = {slide: self._identity(slide) for slide in self._namesakes[key]}
        return {slide: one for slide, one in read.items() if isinstance(one, SlideIdentity)}

    def _identity(self, slide: Path) -> SlideIdentity | WsiSuiteError:
        if slide not in self._read:
            try:
                self._read[slide] = self._identify(slide)
            except WsiSuiteError as error:
                self._read[slide] = error
        return self._read[slide]


def is_free(folder: Path) -> bool:
    """Return whether a folder holds at most the leftovers of a start that was killed at once."""
    try:
        there = list(folder.iterdir())
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False
    return all(path.name in (RECORDS_NAME, SLIDE_FILE) or is_leftover(path) for path in there)


def _name(slide: Path) -> str:
    return portable_name(_stem(slide))


def _with_hash(slide: Path, identity: SlideIdentity) -> str:
    return f"{_name(slide)}-{identity.sha256[:_HASH_LENGTH]}"


def _stem(path: Path) -> str:
    """Return the base name of a slide's folder: the stem of the file, or of its own folder.

    DICOM files and the images in an OME-Zarr folder are often called by a number alone.
    """
    if may_be_dicom(path) and _NUMBER.fullmatch(path.stem):
        return slide_stem(path.absolute().parent)
    return slide_stem(path)


def _owner(folder: Path) -> tuple[int, str] | None:
    """Return the content of the slide that a folder belongs to, ``None`` if it has none."""
    try:
        run = read_run(folder)
    except OutputError:
        return None
    return None if run is None else run.fingerprint.slide.content


def _is_of_later_version(folder: Path) -> bool:
    """Return whether a later version of the suite wrote a folder, so that its owner is unknown."""
    try:
        read_run(folder)
    except LaterFormatError:
        return True
    except OutputError:
        pass
    return False
