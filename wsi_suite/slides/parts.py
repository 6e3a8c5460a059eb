"""All files that a reader needs of a slide, such as to copy it."""

from __future__ import annotations

from pathlib import Path

from wsi_suite.slides.dicom import may_be_dicom
from wsi_suite.slides.identity import files_of
from wsi_suite.slides.listing import named_in_index

_INDEXES = (".vms", ".vmu")
_NAMED_ALIKE = (".mrxs", *_INDEXES)
"""Endings of files whose other parts are found by name beside them."""


def parts_of(path: Path) -> list[tuple[Path, Path, int]]:
    """Return the files of a slide, where they lie from its folder, and their sizes in bytes.

    Raises
    ------
    OSError
        A file cannot be read; or its parts lie elsewhere, as of a link to a slide of several files.
    SlideError
        A DICOM file or folder holds no slide, or several.
    """
    if path.name in ("", ".."):
        raise OSError("a folder without a name")
    has_parts = path.suffix.lower() in _NAMED_ALIKE or may_be_dicom(path)
    if has_parts and path.is_symlink() and path.is_file():
        raise OSError("a link, beside which parts may be missing")
    files = files_of(path)[1]
    if path.suffix.lower() in _INDEXES:
        beside = sorted(
            name for name in named_in_index(path) - {path.name} if name == Path(name).name
        )
        files += [path.parent / name for name in beside if (path.parent / name).is_file()]
    return [(file, file.relative_to(path.parent), file.stat().st_size) for file in files]
