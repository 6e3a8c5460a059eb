"""The outside of a project: what is refused, and what its process may do to us."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from wsi_suite.errors import ConfigError, DiskError, InputError, OutputError, WsiSuiteError
from wsi_suite.qupath import project_opening, project_process, project_session, running
from wsi_suite.qupath.project import Project
from wsi_suite.qupath.project_files import check_project, project_file
from wsi_suite.qupath.project_messages import Frame, ProjectImage, Pushed, Region
from wsi_suite.qupath.project_objects import check_frame
from wsi_suite.qupath.project_saving import write_by_java

FRAME = Frame(900, 700, (0.25, 0.25), False, server="OpenslideImageServer")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project file that looks like one."""
    file = tmp_path / "study" / "project.qpproj"
    (file.parent / "data" / "1").mkdir(parents=True)
    file.write_text('{"version": "0.6.0", "images": []}', "utf-8")
    return file


def answering(body: str) -> tuple[str, ...]:
    """Return the command of a Python program in place of the process; `body` runs for each request.

    There `request` is the request, `number` its id, and `say` answers it.
    """
    program = f"""
import json, os, sys, signal
def say(**message): print(json.dumps(dict(id=number) | message), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    number = request.pop("id")
    if request["do"] == "open":
        say(result={{"version": "0.6.0"}})
        continue
{body}
"""
    return (sys.executable, "-c", program)


def test_a_project_is_its_file_or_its_folder(tmp_path: Path) -> None:
    assert project_file(tmp_path) == tmp_path / "project.qpproj"
    assert project_file(tmp_path / "other.qpproj") == tmp_path / "other.qpproj"


def test_what_is_no_project_is_refused(project: Path, tmp_path: Path) -> None:
    check_project(project.parent, create=False, writes=True)
    with pytest.raises(InputError, match="'wsi-suite push' with --create makes a new one"):
        check_project(tmp_path / "absent", create=False, writes=True)
    with pytest.raises(InputError, match=r"expected the folder of a project or its \.qpproj file$"):
        check_project(tmp_path / "absent", create=False, writes=False)
    check_project(tmp_path / "absent", create=True, writes=True)
    with pytest.raises(InputError, match="neither a QuPath project nor empty"):
        check_project(tmp_path, create=True, writes=True)
    for content in ("", "{}", "[1]", '{"version": 1', "\xff"):
        project.write_text(content, "latin-1")
        with pytest.raises(InputError, match=r"damaged one; .*project\.qpproj\.backup"):
            check_project(project, create=True, writes=False)


def test_a_read_only_project_is_refused_by_name(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = project.parent / "data" / "1"
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != locked and access(path, mode))
    with pytest.raises(InputError, match=r"data.1: the project is read-only"):
        check_project(project, create=False, writes=True)
    check_project(project, create=False, writes=False)


def test_without_qupath_an_error_says_how_to_get_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PAQUO_QUPATH_DIR", str(tmp_path / "nowhere"))
    with (
        Project(project) as opened,
        pytest.raises(ConfigError, match=r"not found in .*nowhere.*paquo get_qupath"),
    ):
        opened.images()


@pytest.mark.skipif(sys.platform != "linux", reason="QuPath's folders differ between systems")
def test_a_java_that_does_not_start_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = tmp_path / "QuPath" / "lib" / "runtime" / "lib" / "server"
    server.mkdir(parents=True)
    (tmp_path / "QuPath" / "lib" / "app").mkdir()
    (server / "libjvm.so").write_bytes(b"of another architecture")
    monkeypatch.setenv("PAQUO_QUPATH_DIR", str(tmp_path / "QuPath"))
    with (
        Project(project) as opened,
        pytest.raises(ConfigError, match=r"Java does not start .*architecture .*paquo get_qupath"),
    ):
        opened.images()


def test_errors_of_the_process_are_raised_here(project: Path) -> None:
    body = '    say(error="no such image", kind="InputError")'
    with (
        Project(project, command=answering(body)) as opened,
        pytest.raises(InputError, match=r"^no such image$"),
    ):
        opened.images()


def test_progress_comes_before_the_result(project: Path) -> None:
    result = {"counts": {"placed": 1}, "regions": 0, "classes": ["Stroma"], "backup": None}
    body = f"    say(progress=0.5); say(progress=1.0); say(result={result})"
    heard: list[float] = []
    image = ProjectImage("1", "a", None, project)
    with Project(project, command=answering(body)) as opened:
        pushed = opened.push(image, table=project, progress=heard.append)
    assert pushed == Pushed({"placed": 1}, 0, classes=("Stroma",), backup=None)
    assert heard == [0.5, 1.0]


@pytest.mark.parametrize("death", ["os.kill(os.getpid(), 9)", "sys.exit(0)", "os._exit(134)"])
def test_a_process_that_dies_is_an_error_and_is_started_again(project: Path, death: str) -> None:
    if sys.platform == "win32" and "kill" in death:
        pytest.skip("kill -9 is of POSIX")
    body = f"""
    if request["do"] == "frame":
        print("Java ran out of memory", file=sys.stderr, flush=True)
        {death}
    say(result=[])
"""
    image = ProjectImage("1", "a", None, project)
    with Project(project, command=answering(body)) as opened:
        for _ in range(2):
            with pytest.raises(WsiSuiteError, match=r"died .*Java ran out of memory"):
                opened.frame(image)
            assert opened.images() == []


def test_what_is_no_answer_is_no_success(project: Path) -> None:
    body = "    print('Exception in thread main', flush=True)"
    with (
        Project(project, command=answering(body)) as opened,
        pytest.raises(WsiSuiteError, match="no answer"),
    ):
        opened.images()


def test_the_frame_must_be_that_of_the_nuclei() -> None:
    check_frame("B12", FRAME, size=[900, 700], table="t")
    uncropped = replace(FRAME, width=1000, server="OpenslideImageServer --no-crop")
    with pytest.raises(InputError, match=r"1000 x 700 px .*--no-crop\), but 900 x 700 px in t"):
        check_frame("B12", uncropped, size=[900, 700], table="t")
    rotated = replace(FRAME, server="RotatedImageServer", moved=("rotated",))
    with pytest.raises(InputError, match=r"rotated, cropped .* \(rotated\)"):
        check_frame("B12", rotated, size=[900, 700], table="t")


def test_a_running_qupath_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def process(pid: int, name: str, *words: str, username: str | None = None) -> object:
        user = username or psutil.Process().username()
        info = {"pid": pid, "name": name, "cmdline": list(words), "username": user}
        return SimpleNamespace(info=info)

    monkeypatch.setattr(
        psutil,
        "process_iter",
        lambda attributes: [
            process(1, "python", "python", "-m", "wsi_suite.qupath.project_process"),
            process(7, "java", "java", "-cp", "x", "qupath.QuPath", "--project", "p"),
            process(5, "QuPath-0.6.0"),
            process(6, "QuPath", username="somebody else"),
            SimpleNamespace(
                info={"pid": 8, "name": None, "cmdline": None, "username": None}
            ),  # what may not be looked at
        ],
    )
    assert running.running_qupath() == [5, 7]


def test_requests_are_one_line_each(project: Path) -> None:
    body = "    name = request['regions'][0]['name']\n"
    body += "    say(result={'counts': {}, 'regions': 1, 'classes': [name], 'backup': None})"
    image = ProjectImage("1", "größer\n2", None, project)
    region = Region("zwei\nZeilen", None, wkb="", measurements={})
    with Project(project, command=answering(body)) as opened:
        assert opened.push(image, table=project, regions=[region]).classes == (region.name,)


@pytest.mark.parametrize("fails", ["_write_empty_project", "load"])
def test_a_project_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """A full disk may cut QuPath's files off in silence, so that they cannot be read back."""
    file = tmp_path / "deep" / "study" / "project.qpproj"

    def write(made: Path) -> None:
        (made.parent / "data").mkdir()
        (made.parent / "data" / "metadata.json").touch()
        made.touch()
        if fails == "_write_empty_project":
            raise RuntimeError("java.io.IOException: No space left on device")

    def load(*_: object, **__: object) -> None:
        raise InputError("Cannot invoke java.util.Map.size()")

    monkeypatch.setattr(project_opening, "_start_java", lambda: "0.6.0")
    monkeypatch.setattr(project_opening, "_write_empty_project", write)
    monkeypatch.setattr(project_session.Session, "load", load)
    session = project_session.Session(io.StringIO())
    opening = {"path": str(file), "create": True, "readonly": False, "qupath": None}
    answer = project_process.answer(session, {"do": "open", **opening})
    assert answer["kind"] == "OutputError"
    why = "java.io.IOException: No space left on device"
    if fails == "load":
        why = "what was written cannot be read back: the disk is probably full"
    assert f"{file}: the new project cannot be written ({why}); " in answer["error"]
    assert list(tmp_path.iterdir()) == []


def test_a_project_that_went_while_it_was_waited_for_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_opening, "_start_java", lambda: "0.6.0")
    session = project_session.Session(io.StringIO())
    file = tmp_path / "study" / "project.qpproj"
    opening = {"path": str(file), "create": False, "readonly": False, "qupath": None}
    answer = project_process.answer(session, {"do": "open", **opening})
    assert answer["kind"] == "InputError"
    assert "project.qpproj is missing" in answer["error"]
    assert list(tmp_path.iterdir()) == []


def java_class(name: str, *bases: type[Exception]) -> type[Exception]:
    """Return an exception as JPype shows one of Java's."""
    return type(name, bases or (Exception,), {})


IOException = java_class("java.io.IOException")
LIBRARY = SimpleNamespace(java=lambda _name: Path)


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (IOException("java.io.IOException: No space left on device"), DiskError, "No space left"),
        (
            java_class("java.nio.file.AccessDeniedException", IOException)(
                "java.nio.file.AccessDeniedException: out"
            ),
            OutputError,
            "AccessDenied",
        ),
    ],
)
def test_what_java_cannot_write_is_told_by_its_path(
    tmp_path: Path, error: Exception, kind: type[OutputError], told: str
) -> None:
    (tmp_path / "nuclei.geojson").write_text("of an earlier pull")

    def write(_objects: object, file: Path) -> None:
        file.write_text("new")

    def fail(_objects: object, file: Path) -> None:
        file.write_text("half")
        raise error

    contents = {tmp_path / "nuclei.geojson": (write, []), tmp_path / "nuclei.csv": (fail, [])}
    with pytest.raises(kind, match=rf"nuclei\.csv: cannot be written \(.*{told}"):
        write_by_java(contents, LIBRARY)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["of an earlier pull"]


def test_short_memory_is_not_told_as_a_full_disk(tmp_path: Path) -> None:
    short = java_class("java.lang.OutOfMemoryError")

    def write(_objects: object, _file: Path) -> None:
        raise short("Java heap space")

    with pytest.raises(short):
        write_by_java({tmp_path / "nuclei.csv": (write, [])}, LIBRARY)
    assert list(tmp_path.iterdir()) == []
