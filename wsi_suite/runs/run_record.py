"""The document ``run.json`` of a results folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from wsi_suite.analysis.provenance import Fingerprint
from wsi_suite.errors import OutputError
from wsi_suite.files import whole_file
from wsi_suite.runs.state import State

RUN_FILE = "run.json"
_FORMAT = 2


class RunRecord(BaseModel):
    """Record of a run: slide, settings and state.

    Attributes
    ----------
    format
        Version of this document; records written before it was counted are of format 1. In these,
        ``detect.min_confidence`` was called ``min_score``.
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
    versions
        Versions of the libraries that results may depend on.
    error
        Reason of a failure.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = 1
    state: State
    slide_path: str = ""
    fingerprint: Fingerprint
    reader: str = ""
    notes: tuple[str, ...] = ()
    threads: int = 1
    seconds: float = 0.0
    versions: dict[str, str] = {}
    error: str | None = None

    @field_validator("fingerprint")
    @classmethod
    def _of_format_1(cls, fingerprint: Fingerprint) -> Fingerprint:
        detect = dict(fingerprint.settings.get("detect", {}))
        if "min_score" not in detect:
            return fingerprint
        detect["min_confidence"] = detect.pop("min_score")
        return replace(fingerprint, settings={**fingerprint.settings, "detect": detect})


def read_run(folder: Path) -> RunRecord | None:
    """Return the record of the run of a folder, or ``None`` if there is none.

    Raises
    ------
    OutputError
        The file is damaged, not ours, or of a later format.
    """
    path = folder / RUN_FILE
    try:
        run = RunRecord.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path}: not the record of a run of ours ({_reason(error)}); remove the folder "
            "yourself or give another --out"
        ) from None
    if run.format > _FORMAT:
        raise OutputError(
            f"{path}: of format {run.format}, which a later version of wsi-suite writes (this one: "
            f"{_FORMAT}); use that version, or give another --out"
        )
    return run


def write_run(folder: Path, run: RunRecord) -> None:
    """Write the record of a run, whole or not at all."""
    run = run.model_copy(update={"format": _FORMAT})
    content = run.model_dump(mode="json", exclude={"error"} if run.error is None else None)
    with whole_file(folder / RUN_FILE) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _reason(error: OSError | ValueError) -> str:
    """Return the first fault of a record in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else first["msg"]
    return " ".join(str(error).split())
