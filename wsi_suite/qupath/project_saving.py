"""Writing of an image's objects, so that they are whole or as before."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from wsi_suite.errors import OutputError
from wsi_suite.files import java_error, whole_file
from wsi_suite.qupath.java import in_words, is_of_files
from wsi_suite.qupath.project_data import ImageData
from wsi_suite.qupath.project_files import (
    BACKUP_NAME,
    DAMAGED_NAME,
    DATA_NAME,
    cannot_write,
    ends_whole,
    replacing,
    stamp,
)

if TYPE_CHECKING:
    from paquo.images import QuPathProjectImageEntry


def save_objects(
    entry: QuPathProjectImageEntry, found: ImageData, *, may_write: Callable[[], None]
) -> str | None:
    """Save the data of an image; return the backup of the earlier data, if there were any.

    A kill or a full disk at any moment leaves the earlier file or the new one, whole.
    """
    import jpype
    from paquo.java import File, PathIO

    file = entry.entry_path / DATA_NAME
    called = f"the objects of '{entry.image_name}'"
    backup = None
    file.parent.mkdir(parents=True, exist_ok=True)
    if found.file is not None:
        backup = file.with_name(BACKUP_NAME)
        if found.file != backup:
            with replacing(backup, called=f"the backup of {called}") as partial:
                shutil.copy2(found.file, partial)
    try:
        with replacing(file, called=called) as partial:
            PathIO.writeImageData(File(str(partial)), found.data)
            if not ends_whole(partial):
                raise cannot_write(file, called=called, why="the new file is cut off")
            may_write()
            if stamp(file) != found.stamp:
                raise OutputError(
                    f"{file}: another program changed {called} meanwhile, and that was kept; give "
                    "the same command again"
                )
            if found.damaged:  # perhaps somebody can get more out of it
                file.replace(file.with_name(DAMAGED_NAME))
    except jpype.JException as error:
        if not is_of_files(error):
            raise
        raise cannot_write(file, called=called, why=in_words(error)) from error
    found.data.setLastSavedPath(str(file), True)
    with suppress(OSError):  # counts of the earlier objects; QuPath writes it when it saves
        file.with_name("summary.json").unlink(missing_ok=True)
    return None if backup is None else str(backup)


def without_states(objects: Any, library: SimpleNamespace) -> Any:  # noqa: ANN401
    """Return objects as features without the state that QuPath keeps of them."""
    states = library.java("java.util.LinkedHashMap")()
    for item in objects:
        states.put(item, None)
    return states


def write_by_java(
    contents: Mapping[Path, tuple[Callable[[Any, Any], None], Any]], library: SimpleNamespace
) -> None:
    """Have Java write files: all of them whole, or none.

    Parameters
    ----------
    contents
        For each file what writes it, and the objects.

    Raises
    ------
    OutputError
        One cannot be written.
    """
    with ExitStack() as stack:
        for file, (write, objects) in contents.items():
            partial = stack.enter_context(whole_file(file))
            try:
                write(objects, library.java("java.io.File")(str(partial)))
            except Exception as error:
                if not is_of_files(error):
                    raise
                raise java_error(error) from error
