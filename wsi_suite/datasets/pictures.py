"""Picture files of a dataset."""

from __future__ import annotations

import logging
import shutil
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import DataError, SlideError, did_you_mean
from wsi_suite.files import hash_file

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_ORIENTATION = 0x0112
_WITH_ORIENTATION = (".jpg", ".jpeg", ".tif", ".tiff")


def tile_id(name: str) -> str:
    """Return the id of a tile, from its id or the name of its image file."""
    name = unicodedata.normalize("NFC", name.strip())  # macOS splits umlauts in file names
    stem, dot, ending = name.rpartition(".")
    return stem if f"{dot}{ending}".lower() in IMAGE_SUFFIXES else name


def _is_picture(path: Path) -> bool:
    """Return whether a path is a picture: fields of "A.png" lie in a folder of that name."""
    is_named = path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    return is_named and not path.is_dir()


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files in a folder by name; of one id there may be one only."""
    images = sorted(path for path in folder.iterdir() if _is_picture(path))
    if not images:
        raise DataError(f"{folder}: holds no images ({', '.join(IMAGE_SUFFIXES)})")
    for one, other in pairwise(sorted(images, key=lambda path: tile_id(path.name))):
        if tile_id(one.name) == tile_id(other.name):
            raise DataError(f"{other}: {one.name} has the same id; keep one of them")
    return images


def list_all_pictures(folder: Path) -> dict[str, Path]:
    """Return the picture files in a folder and those below it, by their sorted paths below it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected the pictures in it")
    found = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if _is_picture(path)
    }
    return dict(sorted(found.items()))


def find_pictures(
    folder: Path,
    written: Iterable[str],
    *,
    source: Path,
    tell: Callable[[str], None] = log.warning,
) -> dict[str, tuple[Path, list[str]]]:
    """Find the pictures that a source names, with or without folder and ending.

    Parameters
    ----------
    folder
        Where the pictures lie, in folders below it, too.
    written
        Names as the source has them.
    source
        The file to name in errors.
    tell
        Receives how many pictures the source does not name.

    Returns
    -------
    dict
        For each picture below `folder` its path and the names that the source has for it, by its
        path below `folder`, in their order.

    Raises
    ------
    DataError
        A picture is missing, or a name may mean several.
    """
    there = list_all_pictures(folder)
    by_path: dict[str, set[str]] = defaultdict(set)
    by_key: dict[str, set[str]] = defaultdict(set)
    for name in there:
        base = PurePosixPath(name).name
        for key in (name, tile_id(name)):
            by_path[unicodedata.normalize("NFC", key)].add(name)
        for key in (name, tile_id(name), base, tile_id(base)):
            by_key[unicodedata.normalize("NFC", key)].add(name)
    spelled: dict[str, list[str]] = {name: [] for name in there}
    for name in dict.fromkeys(written):
        plain = unicodedata.normalize("NFC", name.replace("\\", "/").strip())
        exact = {plain} & there.keys()
        base = PurePosixPath(plain).name
        found = (
            exact
            or by_path.get(plain)
            or by_key.get(plain)
            or by_key.get(base)
            or by_key.get(tile_id(base))
            or set()
        )
        if len(found) != 1:
            wrong = "may mean " + " or ".join(sorted(found)) if found else f"is not in {folder}"
            hint = did_you_mean(plain, there) if not found else ""
            raise DataError(
                f"{source}: picture '{name}' {wrong}{hint}; give its folder as --images"
            )
        spelled[found.pop()].append(name)
    unnamed = sum(not names for names in spelled.values())
    if unnamed:
        tell(f"{source}: {unnamed:,} pictures of {folder} are without labels and left out")
    return {name: (path, spelled[name]) for name, path in sorted(there.items())}


def hash_picture(path: Path) -> str:
    """Return the SHA-256 of a picture, or raise DataError if it cannot be read."""
    try:
        return hash_file(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def read_picture_file(path: Path) -> bytes:
    """Return the content of the file of a picture, or raise DataError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def copy_picture(source: Path, target: Path) -> None:
    """Copy a picture.

    Raises
    ------
    DataError
        It cannot be read.
    OSError
        It cannot be written.
    """
    try:
        file = source.open("rb")
    except OSError as error:
        raise _unreadable(source, error) from None
    with file, target.open("wb") as written:
        shutil.copyfileobj(file, written, 1 << 20)


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path}: cannot be read ({error.strerror}); restore it from a backup, or leave it out"
    )


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image file, from its header."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or 'not an image that can be read'}") from None


def is_turned(path: Path) -> bool:
    """Return whether programs that heed the EXIF tag of orientation show an image turned."""
    from PIL import Image

    if path.suffix.lower() not in _WITH_ORIENTATION:
        return False
    try:
        with Image.open(path) as image:
            return image.getexif().get(_ORIENTATION, 1) not in (0, 1)
    except (OSError, ValueError, SyntaxError):
        return False  # it is refused where its pixels are read


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Return the ``(H, W, 3)`` RGB of an image file, the very pixels that a run on it reads.

    Raises
    ------
    DataError
        It is missing, damaged, or not 8-bit RGB.
    """
    from wsi_suite.slides.opening import read_picture

    try:
        return read_picture(path)
    except SlideError as error:
        raise DataError(str(error)) from None
