"""Copies of slides on a local disk: a slide is copied while those before it are being done.

A process has a folder of its own for its copies, with a lease in it. What a process leaves there
that was killed, the next one removes that is given the same disk.
"""

from __future__ import annotations

import re
import secrets
import shutil
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Condition
from typing import TYPE_CHECKING

from wsi_suite.config import RunSettings
from wsi_suite.errors import BusyError, ConfigError, NoAnswerError, WsiSuiteError
from wsi_suite.files import is_disk_full, long_path, passing_folders
from wsi_suite.leases import STALE_S, Lease, disk_time, look_at, take_lease
from wsi_suite.patience import POLL_S, alive, with_patience
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.parts import parts_of

if TYPE_CHECKING:
    from wsi_suite.runs.outcome import Tell
    from wsi_suite.runs.request import Request

_NAME, _LEASE = "wsi-suite-copies-", "lease"
_OURS = re.compile(rf"{_NAME}[0-9a-f]{{12}}")
_PIECE = 8 * 2**20  # bytes that are copied at once
_GB = 1e9


class _NotCopiedError(Exception):
    """Why a slide is read where it lies."""


@dataclass(eq=False)
class Staging:
    """The copies of one process.

    Attributes
    ----------
    folder
        Holds them, and nothing else.
    limit
        Most bytes that they may take.
    tell
        Receives a remark for each slide that is read where it lies.
    """

    folder: Path
    limit: int
    tell: Tell
    _lease: Lease
    _changed: Condition = field(default_factory=Condition)
    _held: dict[Path, tuple[Path, int]] = field(default_factory=dict)  # by slide
    _stopped: bool = False

    def bring(self, request: Request) -> Request:
        """Copy a slide, and return the request with its copy; without one if that cannot be.

        Waits until copies of earlier slides leave enough room.

        Raises
        ------
        CancelledError
            :meth:`stop` was called.
        NoAnswerError
            The disk or share of the slide does not answer.
        """
        slide, timeout_s = request.slide, request.read_timeout_s
        try:
            copy = self._copy(slide, request.identity, timeout_s=timeout_s)
        except _NotCopiedError as reason:
            self.release(slide)
            self.tell(f"{slide}: {reason}; read where it lies")
            return request
        except BaseException:
            self.release(slide)
            raise
        return replace(request, copy=copy)

    def release(self, slide: Path) -> None:
        """Remove the copy of a slide, if there is one."""
        with self._changed:
            folder, _ = self._held.pop(slide, (None, 0))
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            with self._changed:
                self._changed.notify_all()

    def stop(self) -> None:
        """Copy no more; a copy under way is given up."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Remove all copies."""
        self.stop()
        for path in self.folder.iterdir() if self.folder.exists() else ():
            if path.name != _LEASE:
                shutil.rmtree(path, ignore_errors=True)
        _remove(self.folder, self._lease)
        passing_folders.discard(self.folder)

    def _copy(self, slide: Path, identity: SlideIdentity, *, timeout_s: float) -> Path:
        """Copy a slide and verify the copy; return its path."""
        patiently = partial(with_patience, path=slide, timeout_s=timeout_s)
        try:
            parts = patiently(partial(parts_of, slide))
            target = self._make_room(slide, sum(size for _, _, size in parts))
            patiently(partial(self._copy_parts, slide, parts, target))
            copy = target / slide.name
            if SlideIdentity.of(copy).content != identity.content:
                raise _NotCopiedError("its copy differs from it, it may be changing")
        except OSError as error:
            if is_disk_full(error):
                raise _NotCopiedError(f"the disk of --stage {self.folder.parent} is full") from None
            raise _NotCopiedError(f"cannot be copied ({error.strerror or error})") from error
        except NoAnswerError:
            raise
        except WsiSuiteError as error:
            raise _NotCopiedError(f"cannot be copied ({error})") from error
        return copy

    def _make_room(self, slide: Path, size: int) -> Path:
        """Wait for room for a slide, and return a new folder for it."""
        if size > self.limit:
            raise _NotCopiedError(
                f"{size / _GB:.3g} GB, larger than all copies may be ({self.limit / _GB:.3g} GB, "
                "--stage-gb)"
            )
        with self._changed:
            while not self._stopped and self._taken() + size > self.limit:
                self._changed.wait(POLL_S)
            if self._stopped:
                raise CancelledError
            free = shutil.disk_usage(self.folder).free
            if size > free:
                raise _NotCopiedError(
                    f"{size / _GB:.3g} GB, and {free / _GB:.3g} GB of the disk of --stage "
                    f"{self.folder.parent} are free"
                )
            target = self.folder / secrets.token_hex(4)
            self._held[slide] = target, size
        target.mkdir()
        return target

    def _taken(self) -> int:
        return sum(size for _, size in self._held.values())

    def _copy_parts(self, slide: Path, parts: list[tuple[Path, Path, int]], target: Path) -> None:
        for source, inside, size in parts:
            self._check_wanted(slide)
            part = long_path(target / inside)
            part.parent.mkdir(parents=True, exist_ok=True)
            with long_path(source).open("rb") as read, part.open("xb") as written:
                while piece := read.read(_PIECE):
                    self._check_wanted(slide)
                    written.write(piece)
                    alive()
            copied = part.stat().st_size
            if copied != size:
                raise _NotCopiedError(
                    f"{source.name} had {size} bytes and its copy has {copied}, it may be changing"
                )
            alive()

    def _check_wanted(self, slide: Path) -> None:
        if self._stopped or slide not in self._held:
            raise CancelledError


def begin_staging(settings: RunSettings, *, tell: Tell) -> Staging | None:
    """Make a folder for the copies of this process; ``None`` if none are wanted.

    Raises
    ------
    ConfigError
        The folder cannot be made or written.
    """
    if settings.stage_dir is None:
        return None
    disk = settings.stage_dir
    try:
        disk.mkdir(parents=True, exist_ok=True)
        disk = disk.resolve()
        _remove_leftovers(disk)
        folder = disk / f"{_NAME}{secrets.token_hex(6)}"
        folder.mkdir()
        passing_folders.add(folder)
        lease = take_lease(folder / _LEASE, busy=lambda who: f"{folder}: held by {who}")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ConfigError(
            f"--stage {settings.stage_dir}: cannot be used ({error.strerror or error}); expected a "
            "folder on a local disk that can be written"
        ) from error
    limit = free / 2 if settings.stage_gb is None else settings.stage_gb * _GB
    return Staging(folder, int(limit), tell, lease)


def check_staging(settings: RunSettings) -> None:
    """Refuse settings under which copies could not be read or would never be made.

    Raises
    ------
    ConfigError
        Workers elsewhere would have to read them, or a limit is given without a folder.
    """
    elsewhere = "scheduler" if settings.scheduler else "cluster" if settings.cluster else None
    if settings.stage_dir is not None and elsewhere is not None:
        raise ConfigError(
            f"--stage: not with --{elsewhere}, whose workers may be on other machines and "
            "cannot read copies on the disk of this one"
        )
    if settings.stage_gb is not None and settings.stage_dir is None:
        raise ConfigError("--stage-gb: is the most that copies may take; give --stage DIR, too")


def _remove_leftovers(disk: Path) -> None:
    """Remove the copies of processes that are gone."""
    for folder in [path for path in disk.iterdir() if _OURS.fullmatch(path.name)]:
        if folder.is_symlink() or not folder.is_dir():
            continue
        with suppress(BusyError, OSError):
            place = folder / _LEASE
            # One that is being begun has no lease yet.
            if look_at(place) is None and disk_time(disk) - folder.stat().st_mtime <= STALE_S:
                continue
            lease = take_lease(place, busy=str)
            for path in folder.iterdir():
                if path.name != _LEASE:
                    shutil.rmtree(path, ignore_errors=True)
            _remove(folder, lease)


def _remove(folder: Path, lease: Lease) -> None:
    lease.release()
    with suppress(OSError):  # something else was put there
        folder.rmdir()
