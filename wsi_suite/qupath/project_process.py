"""The process that has QuPath's Java in it: ``python -m wsi_suite.qupath.project_process``.

It reads requests from stdin and answers on what was its stdout, one JSON object a line::

    {"do": "images"}          ->  {"progress": 0.3} ...  {"result": [...]}
    {"do": "push", ...}       ->  {"error": "one line", "kind": "InputError"}

A request that was not answered was not fulfilled, whatever the exit code. What Java, QuPath and
paquo print goes to stderr. Java starts once a process and never again, and may take the process
with it: so it has one of its own, and the rest of the suite never imports paquo.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from wsi_suite.errors import ConfigError, InputError, WsiSuiteError
from wsi_suite.qupath.program import GET_QUPATH, find_qupath

if TYPE_CHECKING:
    from paquo.images import QuPathProjectImageEntry
    from paquo.projects import QuPathProject

_UNCHANGED = ("uri", "pyramidize")  # ways to show a file as it is; all others move or change pixels


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)  # Java writes to file descriptors, so that sys.stdout alone would not do
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    session = _Session(answers)
    for line in sys.stdin:
        session.say(_answer(session, json.loads(line)))


class _Session:
    """An open project and the channel on which answers go."""

    project: QuPathProject

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers

    def say(self, message: Mapping[str, Any]) -> None:
        """Send a line."""
        self._answers.write(json.dumps(message, ensure_ascii=False) + "\n")
        self._answers.flush()

    def progress(self, fraction: float) -> None:
        """Tell how far a request is."""
        self.say({"progress": round(fraction, 3)})

    def entry(self, image: str) -> QuPathProjectImageEntry:
        """Return an image of the project by its id."""
        return next(entry for entry in self.project.images if entry.entry_id == image)


def _answer(session: _Session, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request; what goes wrong is told in one line."""
    try:
        return {"result": _ACTIONS[request.pop("do")](session, **request)}
    except WsiSuiteError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except Exception as error:
        import traceback

        traceback.print_exc()
        return {"error": _in_words(error), "kind": "WsiSuiteError"}


def _in_words(error: Exception) -> str:
    """Return what an exception of Java's or Python's says, with its cause, in one line."""
    cause = getattr(error, "getCause", lambda: None)()
    said = getattr(error, "getMessage", lambda: None)() or str(error) or type(error).__name__
    because = f" ({cause.toString()})" if cause is not None else ""
    return " ".join(f"{said}{because}".split())[:300]


def _open(session: _Session, *, path: str, create: bool, readonly: bool) -> dict[str, Any]:
    """Start Java and open or make a project."""
    version = _start_java()
    from paquo.projects import QuPathProject

    mode = "r" if readonly else "a" if create else "r+"
    try:
        session.project = QuPathProject(path, mode=mode)  # type: ignore[arg-type]
    except Exception as error:
        raise InputError(
            f"{path}: QuPath cannot open it as a project ({_in_words(error)}); the file that "
            "QuPath kept beside it ends in .backup"
        ) from error
    if not readonly:
        from wsi_suite.qupath.groovy_library import prepare_library

        prepare_library()
    return {"version": version}


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
            f"QuPath's Java does not start ({_in_words(error)}); install QuPath anew, of the same "
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
    try:
        entries = session.project.add_image(slide, return_list=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{slide}: QuPath cannot open it ({_in_words(error)})") from error
    largest = max(entries, key=lambda entry: entry.width * entry.height)
    return _image(largest)


def _frame(session: _Session, *, image: str) -> dict[str, Any]:
    """Open an image and return its frame: size, pixel size, and what reads it."""
    import jpype
    from paquo.java import GsonTools

    entry = session.entry(image)
    server = open_server(entry)
    kind = jpype.JClass("qupath.lib.images.servers.ImageServerBuilder$ServerBuilder").class_
    recipe = str(GsonTools.getInstance().toJson(server.getBuilder(), kind))  # builders, nested
    ways = re.findall(r'"builderType"\s*:\s*"(\w+)"', recipe)
    now, stored = server.getMetadata(), server.getOriginalMetadata()
    return {
        "server": str(server.getClass().getSimpleName()),
        "args": json.loads(recipe).get("args", []),
        "width": int(server.getWidth()),
        "height": int(server.getHeight()),
        "mpp": _mpp(now),
        "mpp_set_by_hand": _mpp(now) != _mpp(stored),
        "moved": [way for way in ways if way not in _UNCHANGED],
    }


def open_server(entry: QuPathProjectImageEntry) -> Any:  # noqa: ANN401 - of Java
    """Open an image's pixels.

    Raises
    ------
    InputError
        QuPath cannot.
    """
    import jpype

    try:
        return entry.java_object.getServerBuilder().build()
    except jpype.JException as error:
        raise InputError(
            f"{entry.image_name}: QuPath cannot open it ({_in_words(error)}); where the slide was "
            "moved, open the project in QuPath, which asks for its new place"
        ) from error


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
    return push_table(session.entry(image), frame=frame, progress=session.progress, **asked)


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
