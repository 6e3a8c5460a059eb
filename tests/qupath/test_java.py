"""What goes wrong in Java, told by its image and file; with stand-ins for QuPath."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wsi_suite.errors import InputError, OutputError
from wsi_suite.qupath import project_data, project_objects, project_process, project_saving
from wsi_suite.qupath.java import open_server
from wsi_suite.qupath.project_session import Session

WHOLE = b"\xac\xed\x00\x05" + b"objects" * 100 + b"\x74\x00\x03EOF"


class JavaError(Exception):
    """Stands in for every exception of Java's."""


IOException = type("java.io.IOException", (JavaError,), {})


@pytest.fixture(autouse=True)
def _java_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jpype.JException", JavaError)


def entry(folder: Path, builder: object = None) -> Any:
    """Return an image of a project, with whole data."""
    (folder / "data.qpdata").write_bytes(WHOLE)
    java = SimpleNamespace(getServerBuilder=lambda: builder)
    return SimpleNamespace(image_name="B12", entry_id="1", entry_path=folder, java_object=java)


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_an_image_without_a_reader_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^B12: the project does not say how its pixels are read"):
        open_server(entry(tmp_path))


def test_whole_objects_of_a_missing_slide_are_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = JavaError("NoSuchFileException: /slides/B12.svs")
    monkeypatch.setattr(project_data, "_read_file", failing(lost))
    with pytest.raises(InputError, match=r"^B12: QuPath cannot open it \(.*slide was moved"):
        project_data.read_data(entry(tmp_path, SimpleNamespace(build=failing(lost))))


def test_a_slide_that_is_opened_only_to_be_closed_may_be_missing() -> None:
    project_data.close(SimpleNamespace(getServer=failing(JavaError("no such slide"))))


@pytest.mark.parametrize(
    ("error", "kind"),
    [(IOException("No space left on device"), OutputError), (JavaError("heap space"), JavaError)],
)
def test_only_errors_of_files_are_told_as_a_file_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception]
) -> None:
    java = SimpleNamespace(File=Path, PathIO=SimpleNamespace(writeImageData=failing(error)))
    monkeypatch.setitem(sys.modules, "paquo.java", java)  # the real one starts Java
    image = entry(tmp_path)
    data = project_data.ImageData(object(), None, damaged=False, stamp=None)
    with pytest.raises(kind):
        project_saving.save_objects(image, data, may_write=lambda: None)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [WHOLE]


def test_an_error_that_was_not_foreseen_names_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(io.StringIO())
    session.project = SimpleNamespace(images=[entry(tmp_path)])  # type: ignore[assignment]
    monkeypatch.setattr(project_objects, "pull_objects", failing(JavaError("Java heap space")))
    request = {"do": "pull", "image": "1", "folder": str(tmp_path)}
    answer = project_process.answer(session, dict(request))
    assert answer == {"error": "B12: Java heap space", "kind": "WsiSuiteError"}
