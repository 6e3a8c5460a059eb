"""The document ``run.json`` of a results folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from wsi_suite.analysis.provenance import Fingerprint
from wsi_suite.documents import RUN_FILE, Document, read_document, write_document
from wsi_suite.runs.state import State


class RunRecord(Document):
    """Record of a run: slide, settings and state.

    Attributes
    ----------
    format
        Version of this document. In format 1 ``detect.min_confidence`` was called ``min_score``.
    state
        State of the run.
    slide_path
        Absolute path of the slide.
    fingerprint
        Slide and settings that the results depend on.
    reader, notes
        How the file is read, and remarks on that.
    threads, seconds
        Threads of each worker, and wall time of the last start.
    host, process
        Machine and process of the last start, by which ``wsi-suite status`` tells whether it lives.
    versions
        Versions of the libraries that results may depend on.
    error
        Reason of a failure.
    unreadable_blocks
        Blocks of which places in the slide could not be read: the next start does them again.
    """

    format: int = 2
    state: State
    slide_path: str = ""
    fingerprint: Fingerprint
    reader: str = ""
    notes: tuple[str, ...] = ()
    threads: int = 1
    seconds: float = 0.0
    host: str = ""
    process: int = 0
    versions: dict[str, str] = Field(default_factory=dict)
    error: str | None = None
    unreadable_blocks: int = 0

    @field_validator("fingerprint")
    @classmethod
    def _of_format_1(cls, fingerprint: Fingerprint) -> Fingerprint:
        detect = dict(fingerprint.settings.get("detect", {}))
        if "min_score" not in detect:
            return fingerprint
        detect["min_confidence"] = detect.pop("min_score")
        return replace(fingerprint, settings={**fingerprint.settings, "detect": detect})

    def as_json(self) -> dict[str, Any]:
        """Return the content as plain values; the error only if there was one."""
        faults = {"error": self.error, "unreadable_blocks": self.unreadable_blocks}
        fine = {name for name, fault in faults.items() if not fault}
        return self.model_dump(mode="json", exclude=fine)


def read_run(folder: Path) -> RunRecord | None:
    """Return the record of the run of a folder, or ``None`` if there is none.

    Raises
    ------
    OutputError
        The file is damaged, not ours, or of a later format.
    """
    return read_document(
        RunRecord,
        folder / RUN_FILE,
        fault="not the record of a run of ours",
        remedy="give another --out or remove the folder yourself",
    )


def write_run(folder: Path, run: RunRecord, *, staging: Path | None = None) -> None:
    """Write the record of a run, whole or not at all.

    `staging` is as for :func:`~wsi_suite.files.whole_file`.
    """
    write_document(folder / RUN_FILE, run, staging=staging)
