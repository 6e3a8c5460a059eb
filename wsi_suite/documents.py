"""Documents of a results folder: JSON that outlives the process that wrote it.

Each document is a :class:`Document` with the number of its format. A document of an earlier format
is read; what it lacks has a default or is filled in by a validator of its class. One of a later
format is refused, because its values may mean something else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from wsi_suite.errors import LaterFormatError, OutputError, WsiSuiteError
from wsi_suite.files import whole_file

RUN_FILE = "run.json"
"""Name of the document by which a results folder is known."""

D = TypeVar("D", bound="Document")
P = TypeVar("P", bound="Part")


class Part(BaseModel):
    """A part of a document; keys that are unknown are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def as_json(self) -> dict[str, Any]:
        """Return the content as plain values, keys in the order of the fields."""
        return self.model_dump(mode="json", by_alias=True)


class Document(Part):
    """A document with the number of its format.

    Attributes
    ----------
    format
        Version of the document; those written before it was counted are of format 1. The default
        is the version that is written.
    """

    format: int = 1


class ModelDocument(Document):
    """A document beside a model, measured with its weights.

    Attributes
    ----------
    weights_sha256
        SHA-256 of the weights that it was made with.
    """

    weights_sha256: str


def read_document(kind: type[D], path: Path, *, fault: str, remedy: str) -> D | None:
    """Return the document in a file, or ``None`` if there is none; see :func:`parse_document`."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"{path}: {fault} ({' '.join(str(error).split())}); {remedy}") from None
    return parse_document(kind, content, source=path, fault=fault, remedy=remedy)


def parse_document(
    kind: type[D],
    content: bytes | Mapping[str, Any],
    *,
    source: Path,
    fault: str,
    remedy: str,
    error: type[WsiSuiteError] = OutputError,
) -> D:
    """Return a document, in the current format whatever format it was written in.

    Parameters
    ----------
    kind
        Class of the document.
    content
        Its JSON, as text or as plain values.
    source
        File to name in errors.
    fault
        What to call a document that cannot be read, such as "damaged".
    remedy
        What the user can do about it.
    error
        Class of the error of a document that cannot be read.

    Raises
    ------
    LaterFormatError
        The document is of a later format.
    WsiSuiteError
        Of class `error`: the document is damaged, or another one.
    """
    known: int = kind.model_fields["format"].default
    try:
        values = _values(content)
        number = values.get("format", 1)
    except ValueError as damage:
        raise error(f"{source}: {fault} ({_reason(damage)}); {remedy}") from None
    refuse_later_format(number, known=known, source=source, remedy=remedy)
    numbered = {**values, "format": number}
    document = parse_values(kind, numbered, source=source, fault=fault, remedy=remedy, error=error)
    return document.model_copy(update={"format": known})


def parse_values(
    kind: type[P],
    values: Mapping[str, Any],
    *,
    source: Path,
    fault: str,
    remedy: str,
    error: type[WsiSuiteError],
) -> P:
    """Return a part of a document from plain values; see :func:`parse_document`."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as damage:
        raise error(f"{source}: {fault} ({_reason(damage)}); {remedy}") from None


def refuse_later_format(number: object, *, known: int, source: Path, remedy: str) -> None:
    """Raise LaterFormatError if a file tells a later format than the one that is known here."""
    if isinstance(number, int) and number > known:
        raise LaterFormatError(
            f"{source}: of format {number}, which a later version of wsi-suite writes (this one: "
            f"{known}); use that version, or {remedy}"
        )


def write_document(
    path: Path, document: Document, *, indent: int | None = 2, staging: Path | None = None
) -> None:
    """Write a document for people and programs, whole or not at all; NaN is refused.

    `staging` is as for :func:`~wsi_suite.files.whole_file`.
    """
    text = json.dumps(document.as_json(), indent=indent, ensure_ascii=False, allow_nan=False)
    with whole_file(path, staging=staging) as written:
        written.write_text(text + "\n", "utf-8")


def _values(content: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a document by their keys."""
    values = from_json(content) if isinstance(content, bytes) else content
    if not isinstance(values, Mapping):
        raise ValueError(f"expected keys and values, found {type(values).__name__}")
    return values


def _reason(damage: ValueError) -> str:
    """Return the first fault of a document in one line."""
    if isinstance(damage, ValidationError):
        first = damage.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else first["msg"]
    return " ".join(str(damage).split())
