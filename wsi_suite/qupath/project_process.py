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
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_suite.errors import InputError, OutputError, WsiSuiteError
from wsi_suite.qupath.java import in_words, open_server
from wsi_suite.qupath.project_files import (
    cannot_write,
)
from wsi_suite.qupath.project_messages import (
    FoundNuclei,
    Frame,
    ImageStains,
    ProjectImage,
    Pulled,
    Pushed,
    Region,
    parse,
    plain,
)
from wsi_suite.qupath.project_opening import open_project
from wsi_suite.qupath.project_rescue import kept_if_cut_off
from wsi_suite.qupath.project_session import Session

if TYPE_CHECKING:
    from paquo.images import QuPathProjectImageEntry

_UNCHANGED = ("uri", "pyramidize")  # ways to show a file as it is; all others move or change pixels


def main() -> None:
    """Answer questions until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)  # Java writes to file descriptors, so that sys.stdout alone would not do
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    session = Session(answers)
    try:
        for line in sys.stdin:
            question = json.loads(line)
            session.question = question.pop("id")
            session.say(answer(session, question))
    finally:
        if session.lock is not None:
            session.lock.release()


def answer(session: Session, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request; an error becomes one line."""
    session.about = ""
    try:
        return {"result": plain(_ACTIONS[request.pop("do")](session, **request))}
    except WsiSuiteError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except Exception as error:
        import traceback

        traceback.print_exc()
        return {"error": f"{session.about}{in_words(error)}", "kind": "WsiSuiteError"}


def _images(session: Session) -> list[ProjectImage]:
    """Return the images of the project, without opening them."""
    return [_image(entry) for entry in session.project.images]


def _image(entry: QuPathProjectImageEntry) -> ProjectImage:
    from paquo.java import GeneralTools

    uris = list(entry.java_object.getURIs())
    path = GeneralTools.toPath(uris[0]) if len(uris) == 1 else None
    return ProjectImage(
        id=entry.entry_id,
        name=entry.image_name,
        path=None if path is None else Path(str(path.toString())),
        data=entry.entry_path / "data.qpdata",
    )


def _add(session: Session, *, slide: str) -> ProjectImage:
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
            raise InputError(
                f"{slide}: QuPath cannot open it ({in_words(error)}); see whether its window does: "
                "some formats, such as most OME-TIFF, need its extension Bio-Formats"
            ) from error
        raise cannot_write(file, called=called, why=in_words(error)) from error
    session.written()
    largest = max(entries, key=lambda entry: entry.width * entry.height)
    return _image(largest)


def _is_of_disk(error: Exception) -> bool:
    """Return whether an error of paquo's comes from writing and not from the slide."""
    words = ("save the project", "No space left", "Permission denied", "Read-only", "quota")
    return any(word in f"{error} {error.__cause__} {error.__context__}" for word in words)


def _forget_added(session: Session, before: set[str]) -> None:
    """Remove the images, and their files, that a failed addition left."""
    for entry in list(session.project.images):
        if entry.entry_id not in before:
            session.project.java_object.removeImage(entry.java_object, False)
            shutil.rmtree(entry.entry_path, ignore_errors=True)
    with suppress(InputError):
        session.load(str(session.file), readonly=False)


def _frame(session: Session, *, image: str) -> Frame:
    """Open an image and return its frame: size, pixel size and server."""
    import jpype
    from paquo.java import GsonTools

    entry = session.entry(image)
    server = open_server(entry)
    kind = jpype.JClass("qupath.lib.images.servers.ImageServerBuilder$ServerBuilder").class_
    recipe = str(GsonTools.getInstance().toJson(server.getBuilder(), kind))  # builders, nested
    ways = re.findall(r'"builderType"\s*:\s*"(\w+)"', recipe)
    now, stored = server.getMetadata(), server.getOriginalMetadata()
    reader = str(server.getClass().getSimpleName())
    frame = Frame(
        width=int(server.getWidth()),
        height=int(server.getHeight()),
        mpp=_mpp(now),
        mpp_set_by_hand=_mpp(now) != _mpp(stored),
        moved=tuple(way for way in ways if way not in _UNCHANGED),
        server=" ".join([reader, *json.loads(recipe).get("args", [])]),
    )
    server.close()  # a project has thousands of images, and a process some thousand files
    return frame


def _mpp(metadata: Any) -> tuple[float, float] | None:  # noqa: ANN401
    calibration = metadata.getPixelCalibration()
    if not calibration.hasPixelSizeMicrons():
        return None
    return (
        float(calibration.getPixelWidthMicrons()),
        float(calibration.getPixelHeightMicrons()),
    )


def _push(
    session: Session,
    *,
    image: str,
    regions: list[dict[str, Any]],
    **asked: Any,  # noqa: ANN401 - push_table's
) -> Pushed:
    from wsi_suite.qupath.project_objects import push_table

    frame = _frame(session, image=image)
    answer = push_table(
        session.entry(image),
        frame=frame,
        regions=[parse(Region, region) for region in regions],
        progress=session.progress,
        may_write=session.check_qupath,
        **asked,
    )
    notes = _list_classes(session, answer.classes)
    return replace(answer, notes=(*answer.notes, *notes))


def _fields(
    session: Session,
    *,
    image: str,
    fields: list[dict[str, Any]],
    found: dict[str, Any] | None,
    mpp: float,
    size: list[int],
) -> Pushed:
    from wsi_suite.qupath.project_objects import check_frame, place_fields

    entry = session.entry(image)
    check_frame(entry.image_name, _frame(session, image=image), size=size, table="the slide")
    answer = place_fields(
        entry,
        fields=[parse(Region, field) for field in fields],
        found=None if found is None else parse(FoundNuclei, found),
        mpp=mpp,
        may_write=session.check_qupath,
    )
    notes = _list_classes(session, answer.classes, fields=True)
    return replace(answer, notes=(*answer.notes, *notes))


def _list_classes(session: Session, classes: tuple[str, ...], *, fields: bool = False) -> list[str]:
    """Offer in QuPath the classes that corrections need; a failure is returned as a note."""
    import jpype

    from wsi_suite.qupath.groovy_library import add_classes, groovy_library

    called = "the project's list of classes"
    try:
        with kept_if_cut_off(session.file, called=called):
            add_classes(session.project.java_object, classes, groovy_library(), fields=fields)
    except (jpype.JException, OutputError) as error:
        return [
            f"{called} could not be written ({in_words(error)}): add the"
            " classes of the nuclei there by hand, or push again"
        ]
    return []


def _pull(session: Session, *, image: str, folder: str) -> Pulled:
    from wsi_suite.qupath.project_objects import pull_objects

    return pull_objects(session.entry(image), folder=Path(folder))


def _stains(session: Session, *, image: str) -> ImageStains:
    from wsi_suite.qupath.project_data import close, read_data
    from wsi_suite.qupath.project_image_type import read_stains

    found = read_data(session.entry(image))
    for told in found.notes:
        session.tell(f"{session.about}{told}")
    stains = read_stains(found.data)
    close(found.data)
    return stains


def _annotations(session: Session, *, image: str, file: str, class_name: str) -> int:
    from wsi_suite.qupath.project_objects import write_annotations

    return write_annotations(session.entry(image), file=Path(file), class_name=class_name)


_ACTIONS: dict[str, Callable[..., Any]] = {
    "open": open_project,
    "images": _images,
    "add": _add,
    "frame": _frame,
    "push": _push,
    "fields": _fields,
    "pull": _pull,
    "annotations": _annotations,
    "stains": _stains,
}


if __name__ == "__main__":
    main()
