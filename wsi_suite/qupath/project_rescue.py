"""Files of a project that QuPath writes in place, put back if it is cut off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from filecmp import cmp
from pathlib import Path

from wsi_suite.files import temporary_path
from wsi_suite.qupath.project_files import cannot_write, is_whole_project, json_object

_WRITTEN_IN_PLACE = ("classifiers/classes.json", "data/metadata.json")


@contextmanager
def kept_if_cut_off(file: Path, *, called: str) -> Iterator[None]:
    """Put a project's small files back as they were if the block fails or a full disk cuts one off.

    QuPath writes some of them in place and tells no error, and then opens the project no more. The
    copies are made before, while there may be room, and take the files' places without any. Hold
    the project's lock.

    Parameters
    ----------
    file
        The project file.
    called
        What the block writes, for the user.

    Raises
    ------
    OutputError
        There is no room for the copies, or a file was cut off.
    """
    places = [file.parent / name for name in (file.name, *_WRITTEN_IN_PLACE)]
    copies = {place: temporary_path(place) for place in places if place.exists()}
    try:
        for place, copy in copies.items():
            try:
                shutil.copy2(place, copy)
            except OSError as error:
                raise cannot_write(
                    place, called=called, why=error.strerror or str(error)
                ) from error
        try:
            yield
            for place in places:
                if _was_cut_off(place, copies.get(place)):
                    raise cannot_write(place, called=called, why="the disk cut it off")
        except BaseException:
            _put_back(file, places, copies)
            raise
    finally:
        for copy in copies.values():
            with suppress(OSError):
                copy.unlink(missing_ok=True)


def _was_cut_off(place: Path, copy: Path | None) -> bool:
    """Return whether a file was written meanwhile, and not to its end."""
    if not place.exists() or (copy is not None and cmp(place, copy, shallow=False)):
        return False
    return json_object(place) is None


def _put_back(file: Path, places: Sequence[Path], copies: Mapping[Path, Path]) -> None:
    for place in places:
        with suppress(OSError):
            if place in copies:
                copies[place].replace(place)
            elif json_object(place) is None:
                place.unlink(missing_ok=True)
    unfinished = file.with_name(f"{file.name}.tmp")
    with suppress(OSError):
        if not is_whole_project(unfinished):
            unfinished.unlink(missing_ok=True)
