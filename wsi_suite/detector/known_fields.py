"""The file ``familiarity.json`` beside a model: statistics of its training fields.

It is no part of the model's hash: it changes no nucleus and no score, so that it can be added to a
model whose results exist. It names the weights that it was made with.
"""

from __future__ import annotations

from wsi_suite.detector.checksums import check_sum, file_sum, read_sums, write_sums
from wsi_suite.detector.model_folder import WEIGHTS_FILE, ModelFolder
from wsi_suite.documents import parse_document, write_document
from wsi_suite.errors import LaterFormatError, ModelError
from wsi_suite.nuclei.familiarity import KnownFields

FIELDS_FILE = "familiarity.json"

_REMEDY = "copy the model again, or remove the file: then nothing is said of familiarity"


def read_known_fields(model: ModelFolder) -> tuple[KnownFields, str] | None:
    """Return the statistics of a model's training fields, and the SHA-256 of the file.

    Returns
    -------
    tuple or None
        ``None`` if the model does not say.

    Raises
    ------
    ModelError
        The file is damaged, of a later format, or was made with other weights.
    """
    path = model.path / FIELDS_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from None
    check_sum(path)
    try:
        known = parse_document(
            KnownFields, content, source=path, fault="damaged", remedy=_REMEDY, error=ModelError
        )
    except LaterFormatError as error:
        raise ModelError(str(error)) from None
    if known.weights_sha256 != file_sum(model.path / WEIGHTS_FILE):
        raise ModelError(f"{path}: was made with other weights than {WEIGHTS_FILE}; {_REMEDY}")
    return known, file_sum(path)


def write_known_fields(model: ModelFolder, known: KnownFields) -> None:
    """Write the file beside a model, and its checksum if the folder states checksums."""
    write_document(model.path / FIELDS_FILE, known, indent=None)
    stated = read_sums(model.path)
    if stated is not None:
        write_sums(model.path, dict.fromkeys([*stated, FIELDS_FILE]))
