"""DICOM slides: which files of a folder make one slide.

A slide is a series; its levels, label and overview are instances, a file each. OpenSlide opens
it by any of its files and finds the others beside that one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from wsi_suite.errors import SlideError
from wsi_suite.files import long_path

_SUFFIXES = (".dcm", ".dicom")
_WHOLE_SLIDE_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of VL Whole Slide Microscopy Image Storage, DICOM PS3.4 B.5."""

_LAST_TAG = 0x0020000E  # SeriesInstanceUID; what is needed stands before it

_PLACES_TAG = 0x52009230  # PerFrameFunctionalGroupsSequence
_TILED_FULL = "TILED_FULL"


@dataclass(frozen=True)
class Instance:
    """Header of a DICOM file.

    Attributes
    ----------
    sop_class
        Its kind, as a UID.
    series
        UID of its series.
    kind
        Third value of ImageType: ``VOLUME`` for a level, ``LABEL``, ``OVERVIEW``, ``THUMBNAIL``.
    """

    sop_class: str
    series: str
    kind: str

    @property
    def is_whole_slide(self) -> bool:
        """Whether it is part of a slide."""
        return self.sop_class == _WHOLE_SLIDE_IMAGE

    @property
    def is_level(self) -> bool:
        """Whether it is a level of a slide, and no label, overview or thumbnail."""
        return self.is_whole_slide and self.kind == "VOLUME"


@dataclass(frozen=True)
class Series:
    """The files of one series that lie in one folder.

    Attributes
    ----------
    files
        All of them, sorted.
    slide
        The file that stands for the slide: the first that is a level. ``None`` if none is.
    """

    files: tuple[Path, ...]
    slide: Path | None


def may_be_dicom(path: Path) -> bool:
    """Return whether a file has an ending that DICOM files have: ``.dcm``, none, or numbers."""
    suffix = path.suffix.lower()
    return suffix in _SUFFIXES or re.fullmatch(r"(\.\d+)?", suffix) is not None


def read_instance(path: Path) -> Instance | None:
    """Return the header of a DICOM file; ``None`` if it is none, or damaged."""
    try:
        file = long_path(path)
        stat = file.stat()
        return _read_instance(file, stat.st_size, stat.st_mtime_ns)
    except OSError:
        return None


def group_series(files: Iterable[Path]) -> list[Series]:
    """Group the files of slides by their series."""
    series: dict[str, list[Path]] = {}
    levels: dict[str, Path] = {}
    for file in sorted(files):
        instance = read_instance(file)
        if instance is None or not instance.is_whole_slide:
            continue
        series.setdefault(instance.series, []).append(file)
        if instance.is_level:
            levels.setdefault(instance.series, file)
    return [Series(tuple(members), levels.get(uid)) for uid, members in series.items()]


def series_of(path: Path) -> Series | None:
    """Return the series that a file belongs to; ``None`` if it is not part of a slide."""
    instance = read_instance(path)
    if instance is None or not instance.is_whole_slide:
        return None
    beside = (one for one in path.parent.iterdir() if may_be_dicom(one) and one.is_file())
    return next(one for one in group_series({path, *beside}) if path in one.files)


def dicom_slides(folder: Path) -> list[Path]:
    """Return a file for each DICOM slide in a folder."""
    files = [file for file in folder.iterdir() if may_be_dicom(file) and file.is_file()]
    return [series.slide for series in group_series(files) if series.slide is not None]


def refuse_without_positions(path: Path) -> None:
    """Refuse a slide that says nothing of where the tiles of one of its files lie.

    That is stated once for all tiles (``TILED_FULL``) or for each. OpenSlide 4.0 ends the process
    at a file that does neither.

    Raises
    ------
    SlideError
        Naming the file.
    """
    series = series_of(path)
    for file in series.files if series is not None else ():
        organization = _organization_without_positions(file)
        if organization is not None:
            raise SlideError(
                f"{file}: its tiles are {organization}, but no place is stated for each; expected"
                " PerFrameFunctionalGroupsSequence, export the slide again"
            )


def _organization_without_positions(file: Path) -> str | None:
    """Return how the tiles of a file are organized, if places are needed and missing."""
    from pydicom.filereader import read_partial

    has_places = False

    def is_beyond(tag: int, _vr: object, _length: object) -> bool:
        nonlocal has_places
        has_places = has_places or tag == _PLACES_TAG
        return tag >= _PLACES_TAG

    with long_path(file).open("rb") as opened:
        try:
            header = read_partial(opened, stop_when=is_beyond)
            organization = str(header.get("DimensionOrganizationType", _TILED_FULL))
        except Exception:  # what cannot be read here is refused by OpenSlide, which says why
            return None
    return None if has_places or organization == _TILED_FULL else organization


def slide_file(path: Path) -> Path:
    """Return the file that stands for the slide which a DICOM file or folder holds.

    Raises
    ------
    SlideError
        It holds no whole-slide image, or several.
    """
    if path.is_dir():
        found = dicom_slides(path)
        if len(found) == 1:
            return found[0]
        named = ", ".join(file.name for file in found[:5])
        raise SlideError(
            f"{path}: {len(found)} DICOM slides; give a file of one of them, as {named}"
            if found
            else f"{path}: a folder without a DICOM slide; expected a slide file or OME-Zarr"
        )
    instance = read_instance(path)
    if instance is None:
        raise SlideError(f"{path}: not a DICOM file that can be read; copy it again")
    series = series_of(path)
    if series is None:
        from pydicom.uid import UID

        raise SlideError(
            f"{path}: DICOM of another kind ({UID(instance.sop_class).name}); expected a"
            " whole-slide microscopy image"
        )
    if series.slide is None:
        raise SlideError(
            f"{path}: a DICOM {instance.kind.lower() or 'image'} without its slide; copy the other"
            " files of the series beside it"
        )
    return series.slide


@lru_cache(maxsize=65_536)
def _read_instance(file: Path, _size: int, _modified_ns: int) -> Instance | None:
    with file.open("rb") as opened:
        if opened.read(132)[128:] != b"DICM":
            return None
        from pydicom.filereader import read_partial  # here, since few files are DICOM

        opened.seek(0)
        try:
            header = read_partial(opened, stop_when=lambda tag, _vr, _length: tag > _LAST_TAG)
            kinds: Any = header.get("ImageType") or ()
            kind = "" if isinstance(kinds, str) or len(kinds) < 3 else str(kinds[2])
            return Instance(str(header.SOPClassUID), str(header.SeriesInstanceUID), kind.upper())
        except Exception:  # damaged files make pydicom fail in many ways
            return None
