"""The file ``familiarity.json`` beside a model: statistics of its training fields.

It changes no nucleus and no score.
"""

from __future__ import annotations

from wsi_suite.detector.companions import read_companion, write_companion
from wsi_suite.detector.model_folder import ModelFolder
from wsi_suite.nuclei.familiarity import KnownFields

FIELDS_FILE = "familiarity.json"


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
    remedy = "copy the model again, or remove the file: then nothing is said of familiarity"
    return read_companion(KnownFields, model, FIELDS_FILE, remedy=remedy)


def write_known_fields(model: ModelFolder, known: KnownFields) -> None:
    """Write the file beside a model, and its checksum if the folder states checksums."""
    write_companion(model, FIELDS_FILE, known)
