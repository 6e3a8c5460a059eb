"""What tells a slide from another without opening it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.errors import SlideError

_MEGABYTE = 2**20


@dataclass(frozen=True)
class SlideIdentity:
    """What tells a slide from another.

    Attributes
    ----------
    name
        The file's name, without its folder.
    size
        Bytes, of all its files.
    modified
        Time of the last change, whole seconds since 1970.
    sha256
        Of the file's first and last megabyte; of a slide of several files also of their names and
        sizes.
    """

    name: str
    size: int
    modified: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> SlideIdentity:
        """Read the identity of a slide.

        Raises
        ------
        SlideError
            It cannot be read.
        """
        digest, size, modified = hashlib.sha256(), 0, 0
        try:
            files = _files_of(path)
            for file in files:
                stat = file.stat()
                size, modified = size + stat.st_size, max(modified, int(stat.st_mtime))
                if len(files) > 1:
                    digest.update(
                        f"{file.relative_to(path.parent).as_posix()} {stat.st_size}\n".encode()
                    )
                if path in (file, file.parent):
                    digest.update(_ends(file, size=stat.st_size))
        except OSError as error:
            raise SlideError(
                f"{path}: cannot be read ({error.strerror or error}); check path and rights"
            ) from None
        return cls(path.name, size, modified, digest.hexdigest())

    @property
    def content(self) -> tuple[int, str]:
        """What copies of a slide share."""
        return self.size, self.sha256


def slide_stem(path: Path) -> str:
    """Return a slide's name without its ending, ``.ome.tif`` and ``.ome.zarr`` included."""
    stem = path.stem
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def _files_of(path: Path) -> list[Path]:
    """Return the files that a slide is made of."""
    if path.is_dir():  # OME-Zarr, DICOM
        return sorted(file for file in path.rglob("*") if file.is_file())
    if path.suffix.lower() == ".mrxs" and path.with_suffix("").is_dir():
        return [path, *sorted(file for file in path.with_suffix("").iterdir() if file.is_file())]
    return [path]


def _ends(file: Path, *, size: int) -> bytes:
    """Return the first and the last megabyte of a file."""
    with file.open("rb") as opened:
        first = opened.read(_MEGABYTE)
        opened.seek(max(0, size - _MEGABYTE))
        return first + opened.read(_MEGABYTE)
