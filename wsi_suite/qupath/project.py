"""A QuPath project, seen from outside its process.

Everything that needs QuPath's Java is asked of :mod:`wsi_suite.qupath.project_process`, which runs
in a process of its own: it may be missing, be of the wrong architecture or crash, and none of that
takes anything else with it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import wsi_suite.errors
from wsi_suite.errors import OutputError, WsiSuiteError
from wsi_suite.qupath.conversation import (
    Conversation,
    DeathError,
    NonsenseError,
    Patience,
    SilenceError,
)
from wsi_suite.qupath.project_files import (
    check_project,
    holds_objects,
    is_locked,
    project_file,
    remove_folders,
    remove_new_project,
)
from wsi_suite.qupath.project_lock import ProjectLock
from wsi_suite.qupath.project_messages import (
    FoundNuclei,
    Frame,
    ImageStains,
    Opened,
    ProjectImage,
    Pulled,
    Pushed,
    Region,
    parse,
    plain,
)

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "wsi_suite.qupath.project_process")


class Project:
    """An open project; use it in a ``with`` block.

    Its process is started by the first question, and again if it died. A project that is written
    to is locked from that first question to the end: another process that wants to write waits.

    Parameters
    ----------
    path
        The project file or its folder.
    create
        Make the project if there is none. If nothing was put into it in the end, it is removed.
    readonly
        Never change it.
    qupath
        Processes of QuPath that may be running while the project is written; ``None``: any.
    tell
        Receives, once, what the user should know: who holds the lock, what was put back.
    patience
        How long the process may be silent.
    command
        Command line of the process.

    Raises
    ------
    InputError
        It is no project, or cannot be changed.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: bool = False,
        readonly: bool = False,
        qupath: Collection[int] | None = None,
        tell: Callable[[str], None] = log.warning,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.file = project_file(path).resolve()
        if not is_locked(self.file.parent):  # else it may be about to be made
            check_project(path, create=create, writes=not readonly)
        self._opening = {
            "path": str(self.file),
            "create": create,
            "readonly": readonly,
            "qupath": None if qupath is None else sorted(qupath),
        }
        self._tell = tell
        self._patience = patience
        self._command = command
        self._told: set[str] = set()
        self._process: Conversation | None = None
        self._images: list[ProjectImage] | None = None
        self._made: list[Path] | None = None  # folders of a project that is new
        self._pushes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if self._made is not None and not self._pushes:
            self._remove()

    def images(self) -> list[ProjectImage]:
        """List the images, without opening them."""
        if self._process is None or self._images is None:  # others may have added some meanwhile
            self._images = [parse(ProjectImage, found) for found in self._ask("images")]
        return list(self._images)

    def add(self, slide: Path) -> ProjectImage:
        """Add a slide."""
        image = parse(ProjectImage, self._ask("add", slide=str(slide.resolve())))
        self._images = None
        return image

    def frame(self, image: ProjectImage) -> Frame:
        """Open an image's pixels and return its frame."""
        return parse(Frame, self._ask("frame", image=image.id))

    def stains(self, image: ProjectImage) -> ImageStains:
        """Return an image's type and stain vectors."""
        return parse(ImageStains, self._ask("stains", image=image.id))

    def push(
        self,
        image: ProjectImage,
        *,
        table: Path,
        regions: Sequence[Region] = (),
        image_type: str | None = None,
        shape: str = "polygon",
        intensities: bool = True,
        discard_corrections: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> Pushed:
        """Put nuclei into an image.

        The parameters are those of :func:`wsi_suite.qupath.project_objects.push_table`.
        """
        answer = self._ask(
            "push",
            progress=progress,
            image=image.id,
            table=str(table.resolve()),
            regions=plain(regions),
            image_type=image_type,
            shape=shape,
            intensities=intensities,
            discard_corrections=discard_corrections,
        )
        self._pushes += 1
        return parse(Pushed, answer)

    def add_fields(
        self,
        image: ProjectImage,
        *,
        fields: Sequence[Region],
        found: FoundNuclei | None = None,
        mpp: float,
        size: tuple[int, int],
    ) -> Pushed:
        """Put fields to annotate into an image, and nuclei in them that can be edited.

        Pixel size and size are those of the slide: an image of another size is refused.
        """
        answer = self._ask(
            "fields",
            image=image.id,
            fields=plain(fields),
            found=None if found is None else plain(found),
            mpp=mpp,
            size=list(size),
        )
        self._pushes += 1
        return parse(Pushed, answer)

    def pull(self, image: ProjectImage, *, folder: Path) -> Pulled:
        """Write the objects of an image to a folder."""
        answer = self._ask("pull", image=image.id, folder=str(folder.resolve()))
        return parse(Pulled, answer)

    def write_annotations(self, image: ProjectImage, *, file: Path, class_name: str) -> int:
        """Write the annotations of a class as GeoJSON; without any no file is written."""
        return int(
            self._ask(
                "annotations", image=image.id, file=str(file.resolve()), class_name=class_name
            )
        )

    def close(self) -> int | None:
        """End the process and return its exit code, ``None`` if there was none."""
        process, self._process = self._process, None
        return None if process is None else process.end()

    def _ask(
        self,
        what: str,
        *,
        progress: Callable[[float], None] | None = None,
        **arguments: Any,  # noqa: ANN401 - the action's
    ) -> Any:  # noqa: ANN401
        """Send a request to the process and return its answer, or raise its error."""
        if self._process is None:
            self._start()
        return self._exchange({"do": what, **arguments}, progress)

    def _start(self) -> None:
        self._images = None
        self._process = Conversation(self._command, patience=self._patience)
        try:
            opened = parse(Opened, self._exchange({"do": "open", **self._opening}))
        except WsiSuiteError:
            self.close()
            raise
        if opened.made is not None:
            self._made = list(opened.made)

    def _exchange(
        self, question: dict[str, Any], progress: Callable[[float], None] | None = None
    ) -> Any:  # noqa: ANN401
        process = self._process
        assert process is not None

        def hear(message: dict[str, Any]) -> None:
            if "tell" in message and message["tell"] not in self._told:
                self._told.add(message["tell"])
                self._tell(message["tell"])
            if "progress" in message and progress is not None:
                progress(message["progress"])

        try:
            answer = process.ask(question, hear=hear, skip_nonsense=question["do"] == "open")
        except BaseException as error:
            self._process = None  # it was ended
            if isinstance(error, DeathError | SilenceError | NonsenseError):
                raise self._failure(error) from None
            raise
        if "error" in answer:
            kind: type[WsiSuiteError] = getattr(wsi_suite.errors, answer["kind"])
            raise kind(answer["error"])
        return answer["result"]

    def _failure(self, error: Exception) -> WsiSuiteError:
        """Return the error of a process that gave no answer."""
        match error:
            case DeathError(code=code, said=said):
                how = f"died (exit code {code}{'; ' + said[:200] if said else ''})"
            case SilenceError():
                how = f"gave no answer for {error} and was ended"
            case _:
                how = f"gave no answer but: {error}"
        return WsiSuiteError(
            f"{self.file}: the process with QuPath's Java {how}; the image is whole, as before or "
            "with the new nuclei: give the same command again, with more memory free if it was "
            "short"
        )

    def _remove(self) -> None:
        """Remove a project that was made here and stayed empty.

        If its process died, its lock was free: others may have filled the project meanwhile.
        """
        assert self._made is not None

        def leave(holder: str) -> None:
            raise OutputError(f"{self.file}: used by {holder}")

        try:
            lock = ProjectLock(self.file.parent, tell=leave)
        except OutputError:
            return
        if holds_objects(self.file):
            lock.release()
            return
        remove_new_project(self.file)
        lock.release()
        remove_folders(self._made)
