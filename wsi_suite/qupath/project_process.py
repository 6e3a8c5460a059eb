"""The process that has QuPath's Java in it: ``python -m wsi_suite.qupath.project_process``.

It reads questions from stdin and answers on what was its stdout, one JSON object a line. An answer
repeats the number of its question::

    {"id": 1, "do": "images"}          ->  {"id": 1, "result": [...]}
    {"id": 2, "do": "push", ...}       ->  {"id": 2, "progress": 0.3} ...
                                           {"id": 2, "tell": "one line for the user"} ...
                                           {"id": 2, "error": "one line", "kind": "InputError"}

A question that was not answered may or may not have been fulfilled, but no file is half written.
What Java, QuPath and paquo print goes to stderr. Java starts once a process and never again, and
may take the process with it: so it has one of its own, and the rest of the suite never imports
paquo. This process holds the project's lock, so that the lock ends with whatever writes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from wsi_suite.errors import ConfigError, InputError, OutputError, WsiSuiteError
from wsi_suite.qupath.java import in_words, open_server
from wsi_suite.qupath.program import GET_QUPATH, find_qupath
from wsi_suite.qupath.project_files import (
    MAKE_ROOM,
    cannot_write,
    check_project,
    kept_if_cut_off,
    remove_folders,
    remove_new_project,
    restore_project,
    stamp,
)
from wsi_suite.qupath.project_lock import ProjectLock
from wsi_suite.qupath.running import running_qupath

if TYPE_CHECKING:
    from paquo.images import QuPathProjectImageEntry
    from paquo.projects import QuPathProject

_UNCHANGED = ("uri", "pyramidize")  # ways to show a file as it is; all others move or change pixels


def main() -> None:
    """Answer questions until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)  # Java writes to file descriptors, so that sys.stdout alone would not do
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    session = _Session(answers)
    try:
        for line in sys.stdin:
            question = json.loads(line)
            session.question = question.pop("id")
            session.say(_answer(session, question))
    finally:
        if session.lock is not None:
            session.lock.release()


class _Session:
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
        """Tell how far a request is."""
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
        """Read the project anew if another program, such as QuPath, has changed it."""
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


def _answer(session: _Session, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request; an error becomes one line."""
    session.about = ""
    try:
        return {"result": _ACTIONS[request.pop("do")](session, **request)}
    except WsiSuiteError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except Exception as error:
        import traceback

        traceback.print_exc()
        return {"error": f"{session.about}{in_words(error)}", "kind": "WsiSuiteError"}


def _open(
    session: _Session, *, path: str, create: bool, readonly: bool, qupath: list[int] | None
) -> dict[str, Any]:
    """Start Java and open or make a project; return QuPath's version and the folders made."""
    version = _start_java()
    file, made = Path(path), None
    session.qupath = qupath
    if not readonly:
        session.lock = ProjectLock(
            file.parent, tell=lambda holder: session.tell(f"{file.parent}: waiting for {holder}")
        )
        try:
            check_project(file, create=create, writes=True)
            told = restore_project(file)
        except WsiSuiteError:
            _unlock(session)
            raise
        if told is not None:
            session.tell(told)
        if not file.exists():
            _make_project(session, file)
            made = [str(folder) for folder in session.lock.made]
    if made is None:
        session.load(path, readonly=readonly)
    if not readonly:
        from wsi_suite.qupath.groovy_library import prepare_library

        prepare_library()
    return {"version": version, "made": made}


def _make_project(session: _Session, file: Path) -> None:
    """Make an empty project and read it back, or leave nothing.

    Raises
    ------
    OutputError
        It cannot be written, or a full disk has cut it off in silence.
    """
    why = "what was written cannot be read back: the disk is probably full"
    try:
        try:
            _write_empty_project(file)
        except Exception as error:
            why = in_words(error)
            raise
        session.load(str(file), readonly=False)
    except Exception as error:
        remove_new_project(file)
        _unlock(session)
        raise OutputError(
            f"{file}: the new project cannot be written ({why}); {MAKE_ROOM}"
        ) from error


def _unlock(session: _Session) -> None:
    """Give the lock of a project back that is not to be, with the folders made for it."""
    lock, session.lock = session.lock, None
    assert lock is not None
    lock.release()  # its files would keep the folders
    remove_folders(lock.made)


def _write_empty_project(file: Path) -> None:
    """Have QuPath write an empty project; paquo would refuse the folder for the lock in it."""
    from paquo.java import BufferedImage, File, Projects

    Projects.createProject(File(str(file)), BufferedImage).syncChanges()


def _start_java() -> str:
    try:
        find_qupath()
    except ConfigError as error:
        raise ConfigError(f"QuPath was {error}; {GET_QUPATH}") from None
    _choose_collector()
    try:
        from paquo.java import qupath_version
    except Exception as error:  # of JPype and of the JVM, many kinds
        while error.__context__ is not None:  # the first one tells most
            error = error.__context__  # type: ignore[assignment]
        raise ConfigError(
            f"QuPath's Java does not start ({in_words(error)}); install QuPath anew, of the same "
            f"architecture as Python, or {GET_QUPATH}"
        ) from error
    return str(qupath_version)


def _choose_collector() -> None:
    """Let Java collect its garbage in the way that suits a million objects, unless one is set."""
    from paquo._config import settings

    given = settings.java_opts
    options = shlex.split(given) if isinstance(given, str) else list(given)
    if not any(option.startswith("-XX:+Use") for option in options):
        settings.java_opts = [*options, "-XX:+UseParallelGC"]


def _images(session: _Session) -> list[dict[str, Any]]:
    """Return the images of the project, without opening them."""
    return [_image(entry) for entry in session.project.images]


def _image(entry: QuPathProjectImageEntry) -> dict[str, Any]:
    from paquo.java import GeneralTools

    uris = list(entry.java_object.getURIs())
    path = GeneralTools.toPath(uris[0]) if len(uris) == 1 else None
    return {
        "id": entry.entry_id,
        "name": entry.image_name,
        "path": None if path is None else str(path.toString()),
        "uris": [str(uri) for uri in uris],
        "data": str(entry.entry_path / "data.qpdata"),
    }


def _add(session: _Session, *, slide: str) -> dict[str, Any]:
    """Add a slide to the project; of a file of several images the largest."""
    session.check_qupath()
    session.refresh()
    before = {entry.entry_id for entry in session.project.images}
    file = session.file
    called = f"the image {Path(slide).name}"
    try:
        with kept_if_cut_off(file, called=called):
            entries = session.project.add_image(slide, return_list=True)
    except Exception as error:
        _forget_added(session, before)
        if isinstance(error, OutputError):
            raise
        if isinstance(error, OSError | RuntimeError) and not _is_of_disk(error):
            raise InputError(f"{slide}: QuPath cannot open it ({in_words(error)})") from error
        raise cannot_write(file, called=called, why=in_words(error)) from error
    session.written()
    largest = max(entries, key=lambda entry: entry.width * entry.height)
    return _image(largest)


def _is_of_disk(error: Exception) -> bool:
    """Return whether an error of paquo's comes from writing and not from the slide."""
    words = ("save the project", "No space left", "Permission denied", "Read-only", "quota")
    return any(word in f"{error} {error.__cause__} {error.__context__}" for word in words)


def _forget_added(session: _Session, before: set[str]) -> None:
    """Remove the images, and their files, that a failed addition left."""
    for entry in list(session.project.images):
        if entry.entry_id not in before:
            session.project.java_object.removeImage(entry.java_object, False)
            shutil.rmtree(entry.entry_path, ignore_errors=True)
    with suppress(InputError):
        session.load(str(session.file), readonly=False)


def _frame(session: _Session, *, image: str) -> dict[str, Any]:
    """Open an image and return its frame: size, pixel size and server."""
    import jpype
    from paquo.java import GsonTools

    entry = session.entry(image)
    server = open_server(entry)
    kind = jpype.JClass("qupath.lib.images.servers.ImageServerBuilder$ServerBuilder").class_
    recipe = str(GsonTools.getInstance().toJson(server.getBuilder(), kind))  # builders, nested
    ways = re.findall(r'"builderType"\s*:\s*"(\w+)"', recipe)
    now, stored = server.getMetadata(), server.getOriginalMetadata()
    frame = {
        "server": str(server.getClass().getSimpleName()),
        "args": json.loads(recipe).get("args", []),
        "width": int(server.getWidth()),
        "height": int(server.getHeight()),
        "mpp": _mpp(now),
        "mpp_set_by_hand": _mpp(now) != _mpp(stored),
        "moved": [way for way in ways if way not in _UNCHANGED],
    }
    server.close()  # a project has thousands of images, and a process some thousand files
    return frame


def _mpp(metadata: Any) -> list[float] | None:  # noqa: ANN401
    calibration = metadata.getPixelCalibration()
    if not calibration.hasPixelSizeMicrons():
        return None
    return [
        float(calibration.getPixelWidthMicrons()),
        float(calibration.getPixelHeightMicrons()),
    ]


def _push(session: _Session, *, image: str, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
    from wsi_suite.qupath.project_objects import push_table

    frame = _frame(session, image=image)
    answer = push_table(
        session.entry(image),
        frame=frame,
        progress=session.progress,
        may_write=session.check_qupath,
        **asked,
    )
    _list_classes(session, tuple(answer.pop("classes")), notes=answer["notes"])
    return answer


def _list_classes(session: _Session, classes: tuple[str, ...], *, notes: list[str]) -> None:
    """Offer in QuPath the classes that corrections need; a failure is a note."""
    import jpype

    from wsi_suite.qupath.groovy_library import add_classes, groovy_library

    called = "the project's list of classes"
    try:
        with kept_if_cut_off(session.file, called=called):
            add_classes(session.project.java_object, classes, groovy_library())
    except (jpype.JException, OutputError) as error:
        notes.append(
            f"{called} could not be written ({in_words(error)}): add the"
            " classes of the nuclei there by hand, or push again"
        )


def _pull(session: _Session, *, image: str, folder: str) -> dict[str, Any]:
    from wsi_suite.qupath.project_objects import pull_objects

    return pull_objects(session.entry(image), folder=Path(folder))


def _annotations(session: _Session, *, image: str, file: str, class_name: str) -> int:
    from wsi_suite.qupath.project_objects import write_annotations

    return write_annotations(session.entry(image), file=Path(file), class_name=class_name)


_ACTIONS: dict[str, Callable[..., Any]] = {
    "open": _open,
    "images": _images,
    "add": _add,
    "frame": _frame,
    "push": _push,
    "pull": _pull,
    "annotations": _annotations,
}


if __name__ == "__main__":
    main()
