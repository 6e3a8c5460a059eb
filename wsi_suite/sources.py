"""Which slides are meant: files, folders and patterns from the command line."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from wsi_suite.errors import InputError, did_you_mean

SLIDE_SUFFIXES = (
    ".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".dcm",
    ".jp2", ".zarr", ".png", ".jpg", ".jpeg", ".qptiff",
)


def expand_slides(sources: Iterable[str | Path]) -> list[Path]:
    """Return the slides that files, folders and patterns name, each once, sorted in a folder.

    A file is taken whatever its ending; of a folder the files with a slide's ending, not those of
    folders inside it.

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


def _expand(source: Path) -> list[Path]:
    if source.is_file() or _is_zarr(source):
        return [source]
    if source.is_dir():
        inside = sorted(path for path in source.iterdir() if _is_slide(path))
        if not inside:
            raise InputError(
                f"{source}: holds no slides (looked for {', '.join(SLIDE_SUFFIXES[:6])}, ...)"
            )
        return inside
    if set(str(source)) & set("*?["):
        matching = sorted(Path(path) for path in glob.glob(str(source), recursive=True))
        matching = [path for path in matching if path.is_file() or _is_zarr(path)]
        if not matching:
            raise InputError(f"{source}: matches no file")
        return matching
    beside = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
    raise InputError(f"{source}: no such file or folder{did_you_mean(source.name, beside)}")


def _is_slide(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return _is_zarr(path) or (path.is_file() and path.suffix.lower() in SLIDE_SUFFIXES)


def _is_zarr(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() == ".zarr"
