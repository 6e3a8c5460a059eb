"""Reading of an image's objects from its data file, damaged ones included."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_suite.errors import DataError, InputError
from wsi_suite.qupath.java import in_words, open_server
from wsi_suite.qupath.project_files import (
    BACKUP_NAME,
    DATA_NAME,
    data_files,
    has_data,
    stamp,
)

if TYPE_CHECKING:
    from paquo.images import QuPathProjectImageEntry


@dataclass(frozen=True)
class ImageData:
    """Objects of an image as stored on the disk.

    Attributes
    ----------
    data
        QuPath's ``ImageData``.
    file
        The file that they were read from, whole; ``None`` if there is none yet.
    damaged
        Whether ``data.qpdata`` exists and could not be read whole.
    stamp
        Of ``data.qpdata``, to see whether another program writes it meanwhile.
    notes
        What the user should know.
    """

    data: Any
    file: Path | None
    damaged: bool
    stamp: tuple[int, int] | None
    notes: tuple[str, ...] = ()


def read_data(entry: QuPathProjectImageEntry) -> ImageData:
    """Read the newest data of an image that are whole.

    QuPath logs that it cannot read a file and goes on with an older or an empty image; saving that
    would lose everything. So it is seen here which file was read.

    Raises
    ------
    InputError
        QuPath cannot open the slide.
    DataError
        There are files, and none of them can be read.
    """
    import jpype

    folder = entry.entry_path
    before = stamp(folder / DATA_NAME)
    why = "its end is missing"
    for file in data_files(folder).candidates:
        try:
            data = _read_file(entry, file)
        except jpype.JException as error:
            why = in_words(error)
            continue
        if file.name == DATA_NAME:
            return ImageData(data, file, damaged=False, stamp=before)
        damaged = before is not None
        told = (
            f"{DATA_NAME} was {'cut off or damaged' if damaged else 'missing'}, as after a crash: "
            f"the image was taken from {file.name} of {_time_of(file)}"
        )
        return ImageData(data, file, damaged=damaged, stamp=before, notes=(told,))
    if not has_data(folder):
        try:
            return ImageData(entry.java_object.readImageData(), None, damaged=False, stamp=before)
        except jpype.JException as error:
            raise InputError(
                f"{entry.image_name}: QuPath cannot open it ({in_words(error)})"
            ) from error
    open_server(entry).close()  # without the slide QuPath reads no objects, however whole
    raise DataError(
        f"{folder / DATA_NAME}: QuPath cannot read the objects of '{entry.image_name}' whole "
        f"({why}), and no copy beside it is whole; put back {BACKUP_NAME} or another copy of it, "
        "or open the image in QuPath and save what it shows"
    )


def _read_file(entry: QuPathProjectImageEntry, file: Path) -> Any:  # noqa: ANN401
    """Read one data file with QuPath; a Java exception is raised if it is damaged."""
    import jpype
    from paquo.java import BufferedImage, PathIO

    if file.name == DATA_NAME:
        data = entry.java_object.readImageData()
        if str(data.getLastSavedPath()) == str(file):
            return data
    server = open_server(entry)
    path = jpype.JClass("java.nio.file.Path").of(str(file))
    return PathIO.readImageData(path, None, server, BufferedImage)


def close(data: Any) -> None:  # noqa: ANN401
    """Close an image's pixels. QuPath may open them only here, and need not find the slide."""
    import jpype

    with suppress(jpype.JException):
        data.getServer().close()


def _time_of(file: Path) -> str:
    return f"{datetime.fromtimestamp(file.stat().st_mtime):%Y-%m-%d %H:%M}"
