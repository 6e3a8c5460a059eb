"""Identity of a slide, computed without opening it as an image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.errors import SlideError
from wsi_suite.slides.dicom import read_instance, series_of, slide_file
from wsi_suite.slides.listing import is_zarr

_MEGABYTE = 2**20
_LOOKED_INTO = 32  # files of a folder
_OF_DESKTOPS = (".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class SlideIdentity:
    """Name, size, time and hash that identify a slide.

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
        sizes, and of a folder the ends of some of its files.
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
            It cannot be read, or its path is no text.
        """
        _refuse_bytes(path)
        digest, size, modified = hashlib.sha256(), 0, 0
        try:
            main, files = files_of(path)
            looked_into = _looked_into(main, files)
            for file in files:
                stat = file.stat()
                size, modified = size + stat.st_size, max(modified, int(stat.st_mtime))
                if len(files) > 1:
                    name = file.relative_to(main.parent).as_posix()
                    digest.update(f"{name} {stat.st_size}\n".encode(errors="surrogateescape"))
                if file in looked_into:
                    digest.update(_ends(file, size=stat.st_size))
        except OSError as error:
            raise SlideError(
                f"{path}: cannot be read ({error.strerror or error}); check path and rights"
            ) from None
        return cls(path.name, size, modified, digest.hexdigest())

    @property
    def content(self) -> tuple[int, str]:
        """Size and hash, equal for copies of a slide."""
        return self.size, self.sha256


def slide_stem(path: Path) -> str:
    """Return a slide's name without its ending, ``.ome.tif`` and ``.ome.zarr`` included."""
    stem = path.stem
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def files_of(path: Path) -> tuple[Path, list[Path]]:
    """Return the file or folder that stands for a slide, and all files it is made of.

    Raises
    ------
    OSError
        A folder cannot be read.
    SlideError
        A DICOM file or folder holds no slide, or several.
    """
    if is_zarr(path):
        files = (file for file in path.rglob("*") if file.is_file())
        return path, sorted(file for file in files if file.name not in _OF_DESKTOPS)
    if path.is_dir() or read_instance(path) is not None:
        path = slide_file(path)
        series = series_of(path)
        assert series is not None
        return path, list(series.files)
    if path.suffix.lower() == ".mrxs" and path.with_suffix("").is_dir():
        beside = (file for file in path.with_suffix("").iterdir() if file.is_file())
        return path, [path, *sorted(beside)]
    return path, [path]


def _refuse_bytes(path: Path) -> None:
    """Raise SlideError for a path with bytes that are no text: no record could name it."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise SlideError(
            f"{str(path)!a}: its name or folder is not written in UTF-8; rename it"
        ) from None


def _looked_into(path: Path, files: list[Path]) -> set[Path]:
    """Return the files whose first and last megabyte are part of the identity.

    Of a folder those at its top, which describe it, and some of the others: chunks that are not
    compressed have the same sizes in all slides.
    """
    if not path.is_dir():
        return {path}
    inside = [file for file in files if file.parent != path]
    step = max(1, len(inside) // _LOOKED_INTO)
    return {file for file in files if file.parent == path} | set(inside[::step])


def _ends(file: Path, *, size: int) -> bytes:
    """Return the first and the last megabyte of a file."""
    with file.open("rb") as opened:
        first = opened.read(_MEGABYTE)
        opened.seek(max(0, size - _MEGABYTE))
        return first + opened.read(_MEGABYTE)
