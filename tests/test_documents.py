"""Documents of a results folder: written in one format, read in this and earlier ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, model_validator

from wsi_suite.documents import Document, parse_document, write_document
from wsi_suite.errors import DataError, LaterFormatError


class Note(Document):
    """A document of format 2; in format 1 its length was in mm."""

    format: int = 2
    kind: str = Field(alias="class")
    length_um: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_format_1(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("format") == 1 and "length_mm" in values:
            return {**values, "length_um": 1000 * values["length_mm"]}
        return values


SOURCE = Path("folder/note.json")


def parse(content: bytes | dict[str, Any], **told: Any) -> Note:
    told = {"source": SOURCE, "fault": "damaged", "remedy": "run again"} | told
    return parse_document(Note, content, **told)


def test_written_documents_come_back(tmp_path: Path) -> None:
    note, path = Note(kind="größer", length_um=1.5), tmp_path / "note.json"
    write_document(path, note)
    assert path.read_text("utf-8") == (
        '{\n  "format": 2,\n  "class": "größer",\n  "length_um": 1.5\n}\n'
    )
    assert parse(path.read_bytes()) == note


@pytest.mark.parametrize("number", [{}, {"format": 1}])
def test_earlier_formats_are_read_and_written_in_the_current_one(number: dict[str, int]) -> None:
    note = parse({**number, "class": "A", "length_mm": 2, "other": None})
    assert note == Note(kind="A", length_um=2000)
    assert note.as_json()["format"] == 2


def test_later_formats_are_refused_whatever_they_hold() -> None:
    line = (
        f"{SOURCE}: of format 3, which a later version of wsi-suite writes (this one: 2); "
        "use that version, or run again"
    )
    with pytest.raises(LaterFormatError) as told:
        parse(b'{"format": 3, "new": []}')
    assert str(told.value) == line


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "expected keys and values, found list"),
        ("\xff", "expected value"),
        ('{"format": "x", "class": "A"}', "format: Input should be a valid integer"),
        ('{"length_um": 1}', "class: Field required"),
        ('{"class": "A", "length_um": "long"}', "length_um: Input should be a valid number"),
    ],
)
def test_damaged_documents_are_told_in_one_line(content: str, reason: str) -> None:
    with pytest.raises(DataError) as told:
        parse(content.encode("latin-1"), error=DataError)
    assert str(told.value).startswith(f"{SOURCE}: damaged ({reason}")
    assert str(told.value).endswith("); run again")
    assert "\n" not in str(told.value)


def test_no_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_document(tmp_path / "note.json", Note(kind="A", length_um=float("nan")))
    assert not list(tmp_path.iterdir())
