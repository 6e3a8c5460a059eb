"""Folder of a training: whose it is, and which process works in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from wsi_suite.config import parse_settings
from wsi_suite.errors import BusyError, OutputConflictError, OutputError
from wsi_suite.files import is_leftover, whole_file
from wsi_suite.leases import take_lease
from wsi_suite.settings_files import read_values
from wsi_suite.training.fitting import is_first_process
from wsi_suite.training.settings import TrainSettings

WORK_FOLDER = "training"
"""Where checkpoints, logs and settings of a training are, in the model's folder."""

_LEASE = "lease"


@contextmanager
def at_work(out: Path, settings: TrainSettings) -> Iterator[Callable[[], None]]:
    """Keep other trainings out of a folder; yield a check that it is still ours.

    Of the processes of one training, which have one command line, the first does it for all.
    """
    if not is_first_process():
        yield lambda: None
        return
    _refuse_other(out, settings)
    work = out / WORK_FOLDER

    def busy(who: str) -> str:
        return (
            f"{out}: another training is at work in it ({who}); wait for it or give another --out"
        )

    try:
        work.mkdir(parents=True, exist_ok=True)
        lease = take_lease(work / _LEASE, busy=busy)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror})") from None

    def check() -> None:
        if lease.lost:
            raise BusyError(f"{out}: another training has taken it over, or it was removed")

    try:
        yield check
    finally:
        lease.release()


def _refuse_other(out: Path, settings: TrainSettings) -> bool:
    """Refuse a folder of another training or of something else; return whether it is begun."""
    path = out / WORK_FOLDER / "settings.yaml"
    if path.exists():
        if parse_settings(TrainSettings, read_values(path), source=path) != settings:
            raise OutputConflictError(
                f"{out}: holds a training with other settings; give another --out or remove it"
            )
        return True
    if out.exists() and not (out.is_dir() and _is_new(out)):
        raise OutputConflictError(f"{out}: is there and holds no training; give another --out")
    return False


def claim(out: Path, settings: TrainSettings) -> None:
    """Make `out` this training's folder, or refuse a folder of another one."""
    if _refuse_other(out, settings):
        return
    path = out / WORK_FOLDER / "settings.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror})") from None
    with whole_file(path) as partial:
        partial.write_text(
            yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
            encoding="utf-8",
        )


def _is_new(out: Path) -> bool:
    """Return whether a folder holds at most the leftovers of a training that was killed at once."""
    there = (path.relative_to(out).parts for path in out.rglob("*") if not is_leftover(path))
    return all(
        parts[0] == WORK_FOLDER and (len(parts) == 1 or parts[1].startswith(_LEASE))
        for parts in there
    )
