"""Progress of the slides of a results folder, read from the files of their runs.

Nothing is written and no lock is taken, so that this may be asked while runs are at work, on any
machine that sees the folder.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wsi_suite.analysis.blocks import pixels_to_do
from wsi_suite.analysis.slide_record import read_facts
from wsi_suite.documents import RUN_FILE
from wsi_suite.errors import InputError, OutputError
from wsi_suite.leases import look_at
from wsi_suite.runs.batch_record import BATCH_FILE, file_name, read_batch
from wsi_suite.runs.folder import LEASE_NAME
from wsi_suite.runs.folder_names import RECORDS_NAME
from wsi_suite.runs.records import Records
from wsi_suite.runs.run_record import RunRecord, read_run
from wsi_suite.runs.state import State
from wsi_suite.runs.summary_csv import TABLE_FILE, read_summary_csv

SILENT_S = 600.0
"""A run on another machine without a sign of life for so long counts as stopped, seconds. Its clock
may differ from the one here."""

Progress = Literal["running", "waiting", "stopped", "done", "tiled", "failed"]
"""State of a slide: ``waiting`` if a command named it and none has begun it, ``stopped`` if its run
was killed, so that the same command goes on."""


@dataclass(frozen=True)
class SlideStatus:
    """How far a slide is.

    Attributes
    ----------
    slide, folder
        Name of its file and of its folder; no folder if it has none yet.
    state
        Its state.
    share
        Share of its tissue that is done, 0 - 1; ``None`` if that is not known.
    pixels_per_s
        Working pixels per second since the last start; ``None`` if nothing was recorded since.
    seconds_left
        Estimated time until its blocks are done, seconds; of running slides only.
    error
        Why it failed.
    """

    slide: str
    folder: str | None
    state: Progress
    share: float | None = None
    pixels_per_s: float | None = None
    seconds_left: float | None = None
    error: str | None = None


def read_status(out: Path, *, now: float | None = None) -> list[SlideStatus]:
    """Return how far each slide is that was asked for, sorted by name.

    Parameters
    ----------
    out
        A folder of results, or the results folder of one slide.
    now
        Seconds since 1970; the time of the call by default.

    Raises
    ------
    InputError
        There is no such folder, or nothing of ours in it.
    """
    if not out.is_dir():
        raise InputError(f"{out}: no such folder; give the --out of 'wsi-suite run'")
    now = time.time() if now is None else now
    if (out / RUN_FILE).exists():
        return [_status_of(out, _read(out), now=now)]
    folders = sorted(path for path in out.iterdir() if (path / RUN_FILE).exists())
    begun = {folder.name: _read(folder) for folder in folders}
    found = [_status_of(out / name, run, now=now) for name, run in begun.items()]
    found += _without_folder(out, found)
    paths = [run.slide_path for run in begun.values() if isinstance(run, RunRecord)]
    found += _waiting(out, paths=paths, names=[one.slide for one in found])
    if not found:
        raise InputError(f"{out}: no run has begun a slide here; give the --out of 'wsi-suite run'")
    return sorted(found, key=lambda one: (one.slide, one.folder or ""))


def seconds_left(slides: Sequence[SlideStatus]) -> float | None:
    """Return the estimated time until all running slides are done; ``None`` if unknown."""
    left = [one.seconds_left for one in slides if one.state == "running"]
    known = [one for one in left if one is not None]
    return max(known) if known and len(known) == len(left) else None


def _without_folder(out: Path, begun: Sequence[SlideStatus]) -> list[SlideStatus]:
    """Return the slides that failed before they had a folder: they stand in the table alone."""
    slides, folders = {one.slide for one in begun}, {one.folder for one in begun}
    return [
        SlideStatus(str(row["slide"]), None, "failed", error=str(row["error"]))
        for row in read_summary_csv(out / TABLE_FILE)
        if row["state"] == State.FAILED
        and not (row["folder"] in folders if row["folder"] else row["slide"] in slides)
    ]


def _waiting(out: Path, *, paths: Sequence[str], names: Sequence[str]) -> list[SlideStatus]:
    """Return the slides that a command named and none has begun.

    Parameters
    ----------
    out
        The folder of results.
    paths
        Paths of the slides that were begun.
    names
        File names of the slides that were begun or have failed. Another machine may see a slide
        under another path, so that what is left is matched by name, one slide for each.
    """
    try:
        asked = read_batch(out).slides
    except OutputError as error:
        return [SlideStatus(BATCH_FILE, None, "failed", error=str(error))]
    begun = set(paths)
    begun_asked = Counter(file_name(path) for path in asked if path in begun)
    elsewhere = Counter(names) - begun_asked
    waiting = []
    for path in asked:
        name = file_name(path)
        if path in begun:
            continue
        if elsewhere[name]:
            elsewhere[name] -= 1
        else:
            waiting.append(SlideStatus(name, None, "waiting"))
    return waiting


def _read(folder: Path) -> RunRecord | OutputError | None:
    try:
        return read_run(folder)
    except OutputError as error:
        return error


def _status_of(folder: Path, run: RunRecord | OutputError | None, *, now: float) -> SlideStatus:
    if isinstance(run, OutputError):
        return SlideStatus(folder.name, folder.name, "failed", error=str(run))
    if run is None:  # removed a moment ago
        return SlideStatus(folder.name, folder.name, "stopped")
    slide = run.fingerprint.slide.name
    if run.state in (State.DONE, State.TILED):
        state: Progress = "done" if run.state is State.DONE else "tiled"
        return SlideStatus(slide, folder.name, state, share=1.0)
    try:
        return _unfinished(folder, run, now=now)
    except OutputError as error:
        return SlideStatus(slide, folder.name, "failed", error=run.error or str(error))


def _unfinished(folder: Path, run: RunRecord, *, now: float) -> SlideStatus:
    """Return how far a slide is from the records of its blocks and their times.

    All times are of the disk that the records are on: clocks of machines differ.
    """
    slide = run.fingerprint.slide.name
    facts = read_facts(folder)
    if facts is None:
        last = max(_time_of(folder / RUN_FILE), _last_sign(folder))
        state = _state_of(run, last=last, now=now)
        return SlideStatus(slide, folder.name, state, error=run.error)
    detects = "detect" in run.fingerprint.settings
    blocks = [block for block in facts.grid(align_px=1).blocks if block.tiles]
    times = Records(folder / RECORDS_NAME).times(blocks, nuclei=detects)
    begun = _time_of(folder / RUN_FILE)  # which is written as a run begins
    last = max([begun, *times.values()])
    state = _state_of(run, last=max(last, _last_sign(folder)), now=now)
    total, done = sum(map(pixels_to_do, blocks)), sum(map(pixels_to_do, times))
    lately = sum(pixels_to_do(block) for block, when in times.items() if when >= begun)
    rate = lately / (last - begun) if state == "running" and lately and last > begun else None
    return SlideStatus(
        slide,
        folder.name,
        state,
        share=done / total if total else 1.0,
        pixels_per_s=rate,
        seconds_left=(total - done) / rate if rate else None,
        error=run.error,
    )


def _state_of(run: RunRecord, *, last: float, now: float) -> Progress:
    """Return the state of a run that has not ended well."""
    if run.state is State.FAILED:
        return "failed"
    if run.state is State.DISCARDED:
        return "stopped"
    if run.host == platform.node() and run.process:
        import psutil

        return "running" if psutil.pid_exists(run.process) else "stopped"
    return "running" if now - last < SILENT_S else "stopped"


def _last_sign(folder: Path) -> float:
    """Return when the process that works in a folder gave a sign of life; 0 if none does."""
    seen = look_at(folder / RECORDS_NAME / LEASE_NAME)
    return 0.0 if seen is None else seen.beat


def _time_of(file: Path) -> float:
    """Return when a file was written; of one that was removed a moment ago, 0."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
