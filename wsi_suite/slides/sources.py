"""Which slides and regions are meant: files, folders and patterns from the command line."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from pathlib import Path

from wsi_suite.errors import InputError, RegionError, SlideError, did_you_mean
from wsi_suite.files import file_names
from wsi_suite.slides.dicom import dicom_slides, read_instance, slide_file
from wsi_suite.slides.identity import slide_stem
from wsi_suite.slides.listing import SLIDE_SUFFIXES, is_zarr, slides_in

_ROI_ENDINGS = (".geojson", ".geojson.gz", ".geojson.zip", ".zip", ".json")


def expand_slides(
    sources: Iterable[str | Path], *, tell: Callable[[str], None] | None = None
) -> list[Path]:
    """Return the slides that files, folders and patterns name, each once, sorted in a folder.

    A file is taken whatever its ending. Of a folder the files with a slide's ending are taken, and
    OME-Zarr folders; folders inside it are not searched, but for DICOM. The files of one DICOM
    series in a folder are one slide, and one of them stands for it.

    Parameters
    ----------
    sources
        Files, folders and patterns.
    tell
        Gets a line on what is left out of a folder.

    Raises
    ------
    InputError
        Something does not exist, or a folder or pattern holds no slides.
    """
    found: dict[Path, None] = {}
    for source in sources:
        for path in _expand(Path(source), tell=tell):
            found[path] = None
    if not found:
        raise InputError("no slide given; name files, folders or patterns such as 'slides/*.svs'")
    return list(found)


def is_folder_slide(path: Path) -> bool:
    """Return whether a folder is one slide: OME-Zarr, or the files of one DICOM series."""
    if is_zarr(path):
        return True
    try:
        return path.is_dir() and slide_file(path).exists()
    except (OSError, SlideError):
        return False


def roi_file_of(name: str, rois: Path | None, *, several: bool) -> Path | None:
    """Return the file with the regions of interest of a slide.

    Parameters
    ----------
    name
        The slide's file name.
    rois
        A GeoJSON file, which need not exist, or a folder: of ``<stem>.geojson``, of
        ``<file name>.geojson``, either of them packed (``.geojson.gz``, ``.zip``), or of folders
        that ``wsi-suite pull`` left, ``<file name>/annotations.geojson``.
    several
        Whether there are other slides, so that one file cannot be meant.

    Raises
    ------
    RegionError
        One file is given for several slides, or a folder holds none or several for this one.
    """
    if rois is None:
        return None
    if rois.is_dir():
        return _roi_file_in(rois, name)
    check_roi_source(rois, several=several)
    return rois


def check_roi_source(rois: Path | None, *, several: bool) -> None:
    """Refuse one file of regions for several slides; see :func:`roi_file_of`."""
    if several and rois is not None and not rois.is_dir():
        raise RegionError(
            f"--roi {rois}: one file for several slides; give a folder with <slide's stem>.geojson "
            "for each"
        )


def _roi_file_in(folder: Path, name: str) -> Path:
    """Return the only file in a folder that is named after a slide."""
    stem = slide_stem(Path(name))
    titles = dict.fromkeys((stem, name, Path(name).stem))
    named = [f"{title}{ending}" for title in titles for ending in _ROI_ENDINGS]
    pulled = [f"{title}/annotations.geojson" for title in file_names([stem])]
    pulled += [f"{title}/annotations.geojson" for title in file_names([name])]
    found = [path for path in (folder / one for one in named + pulled) if path.is_file()]
    if not found:
        raise RegionError(
            f"--roi {folder}: no regions for {name}: expected {stem}.geojson or {name}.geojson"
        )
    if len(found) > 1:
        both = " and ".join(path.relative_to(folder).as_posix() for path in found)
        raise RegionError(f"--roi {folder}: {both} are both for {name}; keep one of them")
    return found[0]


def standing_for(path: Path) -> Path:
    """Return the file that stands for a DICOM slide; another path as it is.

    What is no slide is kept, so that it is refused for itself.
    """
    if path.name in ("", ".."):  # the slide's name is needed, not how one gets there
        path = path.resolve()
    try:
        is_dicom = not is_zarr(path) and (path.is_dir() or read_instance(path) is not None)
        return slide_file(path) if is_dicom else path
    except (OSError, SlideError):
        return path


def _expand(source: Path, *, tell: Callable[[str], None] | None) -> list[Path]:
    if source.is_file() or is_zarr(source):
        return [standing_for(source)]
    if source.is_dir():
        return _slides_in(source, tell=tell)
    if set(str(source)) & set("*?["):
        matching = sorted(Path(path) for path in glob.glob(str(source), recursive=True))  # noqa: PTH207
        slides = [slide for path in matching for slide in _matched(path)]
        if not slides:
            raise InputError(f"{source}: matches no file")
        return slides
    beside = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
    raise InputError(f"{source}: no such file or folder{did_you_mean(source.name, beside)}")


def _slides_in(folder: Path, *, tell: Callable[[str], None] | None) -> list[Path]:
    listing = slides_in(folder)
    left_out = ", ".join(f"{count} {what}" for what, count in sorted(listing.left_out.items()))
    if not listing.slides:
        also = f"; left out: {left_out}" if left_out else ""
        if any(path.is_dir() for path in folder.iterdir()):
            also += "; folders in it are not searched"
        raise InputError(
            f"{folder}: holds no slides (looked for {', '.join(SLIDE_SUFFIXES[:6])}, ...{also})"
        )
    if left_out and tell is not None:
        tell(f"{folder}: left out: {left_out}")
    return list(listing.slides)


def _matched(path: Path) -> list[Path]:
    """Return the slides that a pattern's match is: a file, OME-Zarr, or the DICOM in a folder."""
    if path.is_file() or is_zarr(path):
        return [standing_for(path)]
    try:
        return dicom_slides(path)
    except OSError:  # a link that leads nowhere, a folder that cannot be read
        return []
