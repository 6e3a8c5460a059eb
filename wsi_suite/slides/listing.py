"""List of the slides in a folder, and of the files that are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.documents import RUN_FILE
from wsi_suite.errors import InputError
from wsi_suite.files import long_path
from wsi_suite.slides.dicom import (
    group_series,
    may_be_dicom,
    read_instance,
)

SLIDE_SUFFIXES = (
    ".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu",
    ".btf", ".tf2", ".tf8", ".ptif", ".ptiff", ".qptiff", ".dcm", ".dicom", ".zarr",
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp",
)  # fmt: skip
"""Endings of what the suite reads, in lower case."""

_SIDECARS = (
    "", ".xml", ".json", ".geojson", ".txt", ".csv", ".tsv", ".ini", ".log", ".md", ".pdf", ".html",
    ".yaml", ".yml", ".gz", ".dat", ".db", ".md5", ".sha256", ".ome", ".opt", ".parquet", ".qpdata",
    ".qpproj", ".xlsx", ".docx", ".py", ".sh", ".partial", ".ndpis",
)  # fmt: skip
"""Endings of what stands beside slides and is none: left out without a word."""

_FLUORESCENCE_SET = ".ndpis"
_INDEXES = (".vms", ".vmu", _FLUORESCENCE_SET)
"""Endings of text files that name the image files of one slide, as ``ImageFile=a.jpg``."""

_INDEX_MAX_BYTES = 2**20
_ZARR_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


@dataclass(frozen=True)
class Listing:
    """Slides of a folder, and the files that are left out.

    Attributes
    ----------
    slides
        Sorted; DICOM by the file that stands for its slide.
    left_out
        How many of each kind are left out of what may have been meant, in words.
    """

    slides: tuple[Path, ...]
    left_out: Mapping[str, int]


def is_zarr(path: Path) -> bool:
    """Return whether a path is a folder of Zarr's, or is called one."""
    folder = long_path(path)
    if not folder.is_dir():
        return False
    return folder.suffix.lower() == ".zarr" or any((folder / m).is_file() for m in _ZARR_MARKS)


def slides_in(folder: Path) -> Listing:
    """Return the slides in a folder, and the OME-Zarr and DICOM slides in folders of it.

    Other folders in it are not searched. Hidden files, and files that belong to a slide, are left
    out without a word.

    Raises
    ------
    InputError
        The folder cannot be read.
    """
    found = list(_sorted_out(_entries(folder)))
    slides = sorted(one for one in found if isinstance(one, Path))
    return Listing(tuple(slides), Counter(one for one in found if isinstance(one, str)))


def _sorted_out(entries: list[Path]) -> Iterator[Path | str]:
    """Yield the slides among files and folders, and a reason for each file left out."""
    parts = _parts_of_slides(entries)
    dicom = []
    for entry in entries:
        suffix = entry.suffix.lower()
        if entry.name in parts:
            if parts[entry.name] == _FLUORESCENCE_SET:
                yield f"of a fluorescence set ({_FLUORESCENCE_SET})"
        elif is_zarr(entry):
            yield entry
        elif entry.is_dir():
            yield from _in_inner_folder(entry)
        elif may_be_dicom(entry) and read_instance(entry) is not None:
            dicom.append(entry)
        elif suffix in SLIDE_SUFFIXES:
            if entry.is_file() or entry.is_symlink():  # a link that leads nowhere is told later
                yield entry
        elif suffix not in _SIDECARS:
            yield suffix
    yield from _dicom_slides(dicom)


def _entries(folder: Path) -> list[Path]:
    try:
        inside = sorted(long_path(folder).iterdir())
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be read ({error.strerror or error}); check its rights"
        ) from None
    return [folder / path.name for path in inside if not path.name.startswith(".")]


def _in_inner_folder(folder: Path) -> Iterator[Path | str]:
    try:
        inside = _entries(folder)
    except InputError:
        yield "folder(s) that cannot be read"
        return
    files = [file for file in inside if file.is_file()]
    dicom = [file for file in files if may_be_dicom(file) and read_instance(file) is not None]
    yield from _dicom_slides(dicom)
    if not (folder / RUN_FILE).exists():  # else the pictures in it are results
        others = sum(file.suffix.lower() in SLIDE_SUFFIXES for file in set(files) - set(dicom))
        yield from [f"in folder '{folder.name}', which is not searched"] * others


def _dicom_slides(files: list[Path]) -> Iterator[Path | str]:
    series = group_series(files)
    for one in series:
        if one.slide is not None:
            yield one.slide
        else:
            yield from ["DICOM label or overview without a slide"] * len(one.files)
    others = len(files) - sum(len(one.files) for one in series)
    yield from ["DICOM of another kind than slides"] * others


def _parts_of_slides(entries: list[Path]) -> dict[str, str]:
    """Return the files that are parts of a slide, with the ending of its index file."""
    parts = {}
    for index in entries:
        suffix = index.suffix.lower()
        if suffix not in _INDEXES or not index.is_file():
            continue
        parts.update(dict.fromkeys(named_in_index(index), suffix))
    return parts


def named_in_index(index: Path) -> set[str]:
    """Return the names that an index file such as a ``.vms`` gives as its values.

    Raises
    ------
    OSError
        It cannot be read.
    """
    with long_path(index).open(encoding="latin-1") as file:
        lines = file.read(_INDEX_MAX_BYTES).splitlines()
    return {line.partition("=")[2].strip() for line in lines if "=" in line} - {""}
