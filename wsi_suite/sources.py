"""Which slides and regions are meant: files, folders and patterns from the command line."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from wsi_suite.errors import InputError, RegionError, did_you_mean
from wsi_suite.slides.identity import slide_stem

SLIDE_SUFFIXES = (
    ".svs",
    ".tif",
    ".tiff",
    ".ndpi",
    ".vms",
    ".vmu",
    ".scn",
    ".mrxs",
    ".bif",
    ".svslide",
    ".dcm",
    ".jp2",
    ".zarr",
    ".png",
    ".jpg",
    ".jpeg",
    ".qptiff",
)


def expand_slides(sources: Iterable[str | Path]) -> list[Path]:
    """Return the slides that files, folders and patterns name, each once, sorted in a folder.

    A file is taken whatever its ending; of a folder the files with a slide's ending, not those of
    folders inside it. A folder of DICOM files is one slide, as is one of OME-Zarr.

    Raises
    ------
    InputError
        Something does not exist, or a folder or pattern holds no slides.
    """
    found: dict[Path, None] = {}
    for source in sources:
        for path in _expand(Path(source)):
            found[path] = None
    if not found:
        raise InputError("no slide given; name files, folders or patterns such as 'slides/*.svs'")
    return list(found)


def is_folder_slide(path: Path) -> bool:
    """Return whether a folder is one slide: OME-Zarr, or DICOM files."""
    return path.is_dir() and (path.suffix.lower() == ".zarr" or any(path.glob("*.dcm")))


def roi_file_of(name: str, rois: Path | None, *, several: bool) -> Path | None:
    """Return the file with the regions of interest of a slide; it need not exist.

    Parameters
    ----------
    name
        The slide's file name.
    rois
        A GeoJSON file, or a folder of ``<stem>.geojson``.
    several
        Whether there are other slides, so that one file cannot be meant.

    Raises
    ------
    RegionError
        One file is given for several slides.
    """
    if rois is None:
        return None
    if rois.is_dir():
        plain = rois / f"{slide_stem(Path(name))}.geojson"
        packed = plain.with_name(f"{plain.name}.gz")
        return packed if packed.exists() and not plain.exists() else plain
    if several:
        raise RegionError(
            f"--roi {rois}: one file for several slides; give a folder with <slide's stem>.geojson "
            "for each"
        )
    return rois


def _expand(source: Path) -> list[Path]:
    if source.is_file() or is_folder_slide(source):
        return [source]
    if source.is_dir():
        inside = sorted(path for path in source.iterdir() if _is_slide(path))
        if not inside:
            raise InputError(
                f"{source}: holds no slides (looked for {', '.join(SLIDE_SUFFIXES[:6])}, ...)"
            )
        return inside
    if set(str(source)) & set("*?["):
        matching = sorted(Path(path) for path in glob.glob(str(source), recursive=True))  # noqa: PTH207
        matching = [path for path in matching if path.is_file() or is_folder_slide(path)]
        if not matching:
            raise InputError(f"{source}: matches no file")
        return matching
    beside = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
    raise InputError(f"{source}: no such file or folder{did_you_mean(source.name, beside)}")


def _is_slide(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return is_folder_slide(path) or (path.is_file() and path.suffix.lower() in SLIDE_SUFFIXES)
