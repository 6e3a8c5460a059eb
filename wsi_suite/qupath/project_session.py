"""Session of QuPath's Java process: its open project, and the channel for answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from wsi_suite.errors import InputError
from wsi_suite.qupath.java import in_words
from wsi_suite.qupath.project_files import (
    stamp,
)
from wsi_suite.qupath.project_lock import ProjectLock
from wsi_suite.qupath.running import running_qupath

if TYPE_CHECKING:
    from paquo.images import QuPathProjectImageEntry
    from paquo.projects import QuPathProject


class Session:
    """An open project and the channel on which answers go."""

    project: QuPathProject

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self.question = 0
        self.about = ""  # the image that is asked for, to begin an unforeseen error with
        self.lock: ProjectLock | None = None
        self.qupath: list[int] | None = None  # processes that may run meanwhile; None: any
        self._opened: tuple[int, int] | None = None

    def say(self, message: Mapping[str, Any]) -> None:
        """Send a line."""
        numbered = {"id": self.question, **message}
        self._answers.write(json.dumps(numbered, ensure_ascii=False) + "\n")
        self._answers.flush()

    def progress(self, fraction: float) -> None:
        """Report the progress of a request."""
        self.say({"progress": round(fraction, 3)})

    def tell(self, text: str) -> None:
        """Tell the user something; the same text is shown once."""
        self.say({"tell": text})

    def load(self, path: str, *, readonly: bool) -> None:
        """Read the project from the disk."""
        from paquo.projects import QuPathProject

        self._opened = stamp(Path(path))
        try:
            self.project = QuPathProject(path, mode="r" if readonly else "r+")
        except Exception as error:
            raise InputError(
                f"{path}: QuPath cannot open it as a project ({in_words(error)}); the file that "
                "QuPath kept beside it ends in .backup"
            ) from error

    @property
    def file(self) -> Path:
        """The project file."""
        return Path(str(self.project.java_object.getPath().toString()))

    def refresh(self) -> None:
        """Read the project again if another program, such as QuPath, has changed it."""
        if stamp(self.file) != self._opened:
            self.load(str(self.file), readonly=False)

    def written(self) -> None:
        """Remember the project's file as it is now, because it was written here."""
        self._opened = stamp(self.file)

    def check_qupath(self) -> None:
        """Refuse to write if a QuPath was started that the user was not asked about.

        Raises
        ------
        InputError
            Naming its process.
        """
        if self.qupath is None:
            return
        found = [str(process) for process in running_qupath() if process not in self.qupath]
        if found:
            raise InputError(
                f"QuPath was started meanwhile (process {', '.join(found)}), and the program that "
                "saves last wins: nothing was written; close the project there and give the same "
                "command again, or give --force"
            )

    def entry(self, image: str) -> QuPathProjectImageEntry:
        """Return an image of the project by its id.

        Raises
        ------
        InputError
            The project has none.
        """
        found = [entry for entry in self.project.images if entry.entry_id == image]
        if not found:
            raise InputError(f"no image with the id {image} is in the project any more")
        self.about = f"{found[0].image_name}: "
        return found[0]
