"""A QuPath project, seen from outside its process.

Everything that needs QuPath's Java is asked of :mod:`wsi_suite.qupath.project_process`, which runs
in a process of its own: it may be missing, be of the wrong architecture or crash, and none of that
takes anything else with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import wsi_suite.errors
from wsi_suite.errors import InputError, WsiSuiteError

PROJECT_FILE = "project.qpproj"

_COMMAND = (sys.executable, "-m", "wsi_suite.qupath.project_process")


@dataclass(frozen=True)
class ProjectImage:
    """An image of a project.

    Attributes
    ----------
    id
        What QuPath knows it by.
    name
        What QuPath shows.
    path
        Its file; ``None`` where it is none, such as an image on a server.
    data
        The file that holds its objects, whether or not it exists.
    """

    id: str
    name: str
    path: Path | None
    data: Path


@dataclass(frozen=True)
class Frame:
    """How QuPath has an image.

    Attributes
    ----------
    width, height
        Size in pixels.
    mpp
        um per pixel, x and y; ``None`` where it does not know.
    mpp_set_by_hand
        Whether that is not what the file says.
    """

    width: int
    height: int
    mpp: tuple[float, float] | None
    mpp_set_by_hand: bool


def project_file(path: Path) -> Path:
    """Return the project file that a path names: the file itself, or the one in a folder."""
    return path if path.suffix == ".qpproj" else path / PROJECT_FILE


def check_project(path: Path, *, create: bool, writes: bool) -> None:
    """Refuse what is no project, before anything is begun.

    Parameters
    ----------
    path
        A project file or its folder.
    create
        It may be missing: it will be made.
    writes
        It must be possible to change it.

    Raises
    ------
    InputError
        There is no project, it is damaged or it cannot be changed.
    """
    file = project_file(path)
    if file.is_file():
        _check_content(file)
        if writes:
            _check_writable(file)
    elif not create:
        raise InputError(f"{path}: no QuPath project ({file.name}); --create makes one")
    elif file.parent.exists() and any(file.parent.iterdir()):
        raise InputError(
            f"{file.parent}: neither a QuPath project nor empty; name an empty or a new folder"
        )


def _check_content(file: Path) -> None:
    try:
        content = json.loads(file.read_text("utf-8"))
        known = isinstance(content, dict) and "version" in content
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from None
    except ValueError:
        known = False
    if not known:
        raise InputError(
            f"{file}: not a QuPath project, or a damaged one; QuPath keeps the file as it was "
            f"before in {file.name}.backup"
        )


def _check_writable(file: Path) -> None:
    folders = [file.parent, file.parent / "data"]
    folders += sorted(folder for folder in folders[1].glob("*") if folder.is_dir())
    for place in (file, *folders):
        if place.exists() and not os.access(place, os.W_OK):
            raise InputError(f"{place}: the project is read-only; make it writable, or copy it")


class Project:
    """An open project; use it in a ``with`` block.

    Its process is started by the first question, and again where it died.

    Parameters
    ----------
    path
        The project file or its folder.
    create
        Make the project where there is none.
    readonly
        Never change it.

    Raises
    ------
    InputError
        It is no project, or cannot be changed.
    """

    def __init__(self, path: Path, *, create: bool = False, readonly: bool = False) -> None:
        check_project(path, create=create, writes=not readonly)
        self.file = project_file(path).resolve()
        self._opening = {"path": str(self.file), "create": create, "readonly": readonly}
        self._process: subprocess.Popen[str] | None = None
        self._log = tempfile.TemporaryFile(  # noqa: SIM115 - closed with the process
            "w+", encoding="utf-8", errors="replace"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        self._log.close()

    def images(self) -> list[ProjectImage]:
        """List the images, without opening them."""
        return [_image(found) for found in self._ask("images")]

    def add(self, slide: Path) -> ProjectImage:
        """Add a slide."""
        return _image(self._ask("add", slide=str(slide.resolve())))

    def frame(self, image: ProjectImage) -> Frame:
        """Open an image's pixels and return its frame."""
        found = self._ask("frame", image=image.id)
        return Frame(
            found["width"],
            found["height"],
            tuple(found["mpp"]) if found["mpp"] else None,
            found["mpp_set_by_hand"],
        )

    def push(
        self,
        image: ProjectImage,
        *,
        table: Path,
        regions: Sequence[dict[str, Any]] = (),
        image_type: str | None = None,
        shape: str = "polygon",
        discard_corrections: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> dict[str, Any]:
        """Put nuclei into an image and return what came of it.

        The parameters are those of :func:`wsi_suite.qupath.project_objects.push_table`.
        """
        answer: dict[str, Any] = self._ask(
            "push",
            progress=progress,
            image=image.id,
            table=str(table.resolve()),
            regions=list(regions),
            image_type=image_type,
            shape=shape,
            discard_corrections=discard_corrections,
        )
        return answer

    def pull(self, image: ProjectImage, *, folder: Path) -> dict[str, int]:
        """Write the objects of an image to a folder and return how many are in which state."""
        answer: dict[str, int] = self._ask("pull", image=image.id, folder=str(folder.resolve()))
        return answer

    def write_annotations(self, image: ProjectImage, *, file: Path, class_name: str) -> int:
        """Write the annotations of a class as GeoJSON; without any no file is written."""
        return int(
            self._ask(
                "annotations", image=image.id, file=str(file.resolve()), class_name=class_name
            )
        )

    def close(self) -> int | None:
        """End the process and return its exit code, ``None`` where there was none."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        try:
            return process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _ask(
        self,
        what: str,
        *,
        progress: Callable[[float], None] | None = None,
        **arguments: Any,  # noqa: ANN401 - the action's
    ) -> Any:  # noqa: ANN401
        """Ask the process and return its answer, or raise what it raised."""
        if self._process is None:
            self._start()
        return self._exchange({"do": what, **arguments}, progress)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )
        try:
            self._exchange({"do": "open", **self._opening})
        except WsiSuiteError:
            self.close()
            raise

    def _exchange(
        self, request: dict[str, Any], progress: Callable[[float], None] | None = None
    ) -> Any:  # noqa: ANN401
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                answer = _parsed(line)
                if "progress" not in answer:
                    return _unpacked(answer)
                if progress is not None:
                    progress(answer["progress"])
        except (BrokenPipeError, ConnectionResetError):
            pass  # it is dead, as a stdout that ends is
        raise self._death()

    def _death(self) -> WsiSuiteError:
        """Return the error of a process that ended without an answer."""
        code = self.close()
        self._log.seek(0)
        said = [line.strip() for line in self._log if line.strip()][-1:]
        self._log.seek(0, os.SEEK_END)
        return WsiSuiteError(
            f"{self.file}: the process with QuPath's Java died (exit code {code}"
            f"{'; ' + said[0][:200] if said else ''}); the image's data are as QuPath saves them, "
            "whole or as before: run again, with more memory free where it was short"
        )


def _parsed(line: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        raise WsiSuiteError(f"QuPath's process gave no answer but: {line.strip()[:200]}") from None
    return answer


def _unpacked(answer: dict[str, Any]) -> Any:  # noqa: ANN401
    if "error" in answer:
        kind: type[WsiSuiteError] = getattr(wsi_suite.errors, answer["kind"])
        raise kind(answer["error"])
    return answer["result"]


def _image(found: dict[str, Any]) -> ProjectImage:
    path = found["path"]
    return ProjectImage(
        found["id"], found["name"], None if path is None else Path(path), Path(found["data"])
    )
