"""JSON files beside a model that were measured with its weights, such as ``familiarity.json``.

They are no part of the model's hash, so that they can be added to a model whose results exist. Each
names the weights that it was made with, and is refused beside others.
"""

from __future__ import annotations

from typing import TypeVar

from wsi_suite.detector.checksums import check_sum, file_sum, read_sums, write_sums
from wsi_suite.detector.model_folder import WEIGHTS_FILE, ModelFolder
from wsi_suite.documents import ModelDocument, parse_document, write_document
from wsi_suite.errors import LaterFormatError, ModelError

C = TypeVar("C", bound=ModelDocument)


def read_companion(
    kind: type[C], model: ModelFolder, name: str, *, remedy: str
) -> tuple[C, str] | None:
    """Return a file beside a model, and its SHA-256; ``None`` if there is none.

    Raises
    ------
    ModelError
        The file is damaged, of a later format, or was made with other weights.
    """
    path = model.path / name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    check_sum(path)
    try:
        found = parse_document(
            kind, content, source=path, fault="damaged", remedy=remedy, error=ModelError
        )
    except LaterFormatError as error:
        raise ModelError(str(error)) from None
    if found.weights_sha256 != file_sum(model.path / WEIGHTS_FILE):
        raise ModelError(f"{path}: was made with other weights than {WEIGHTS_FILE}; {remedy}")
    return found, file_sum(path)


def write_companion(model: ModelFolder, name: str, content: ModelDocument) -> None:
    """Write a file beside a model, and its checksum if the folder states checksums."""
    write_document(model.path / name, content, indent=None)
    stated = read_sums(model.path)
    if stated is not None:
        write_sums(model.path, dict.fromkeys([*stated, name]))
