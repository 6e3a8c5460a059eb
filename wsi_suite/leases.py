"""Leases: which process works in a folder, also on disks without file locks.

A lease is a folder of a fixed name. In it is one folder, called by the token of its holder::

    lease/3f2a91c07be4/holder.json

A process takes the lease by renaming a folder of its own to ``lease``, which fails if another
holder is in it. It gives a sign of life by touching ``holder.json``. Times are compared with that
of a file touched at that moment, so that only the clock of the disk's server counts.

The holder writes its files inside the folder of its token and renames them to where they belong. A
process that takes a lease over renames that folder away first. What the earlier holder still tries
to write after it was stopped and woken therefore fails, and cannot replace the files of its
successor.
"""

from __future__ import annotations

import errno
import os
import platform
import secrets
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Event, Thread

from wsi_suite.documents import Document, read_document, write_document
from wsi_suite.errors import BusyError, OutputError
from wsi_suite.files import PAUSES_S, temporary_path

BEAT_S = 10.0
"""Seconds between two signs of life."""

STALE_S = 120.0
"""A holder without a sign of life for so many seconds loses its lease to any process that asks for
it. Network disks keep the times of files in memory for less (60 s)."""

_SECOND_LOOK_S = 2 * BEAT_S
_TRIES = 10  # to take a lease while others come and go
_HOLDER = "holder.json"
_NEW, _OVER = "lease-new-", "lease-over-"
_SAME_START = 2.0  # two readings of one start differ by less: ticks on Linux, else seconds


class Holder(Document):
    """Process that holds a lease.

    Attributes
    ----------
    machine
        Key of the running system and its table of processes; after a restart it is another one.
    host
        Name of the machine, for people.
    process, started
        Number of the process and the system's time of its start, since numbers are used again.
    """

    machine: str = ""
    host: str = ""
    process: int = 0
    started: float = 0.0


@dataclass(frozen=True)
class Sight:
    """A lease as another process sees it.

    Attributes
    ----------
    token
        Of its holder.
    holder
        Its holder; ``None`` if a crash of the machine has damaged the record.
    beat
        Time of the last sign of life, seconds, by the clock of the disk.
    """

    token: str
    holder: Holder | None
    beat: float


@dataclass(eq=False)
class Lease:
    """A lease that this process holds, until it is released or taken over.

    Attributes
    ----------
    folder
        Where the holder writes its files before it renames them; gone once the lease is lost.
    """

    folder: Path
    _over: Event = field(default_factory=Event)

    @property
    def lost(self) -> bool:
        """Whether another process has taken the lease over, or the folder was removed."""
        if self._over.is_set():
            return False
        try:
            (self.folder / _HOLDER).stat()
        except OSError as error:
            return error.errno in (errno.ENOENT, errno.ESTALE)
        return False

    def release(self) -> None:
        """Give the lease back; one that was lost is left to its new holder."""
        self._over.set()
        _put_away(self.folder)
        with suppress(OSError):  # another one holds it
            self.folder.parent.rmdir()

    def _begin(self) -> None:
        Thread(target=self._beat, name="wsi-lease", daemon=True).start()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                os.utime(self.folder / _HOLDER)
            except FileNotFoundError:
                return
            except OSError:  # a network disk that does not answer for a while
                continue


def take_lease(place: Path, *, busy: Callable[[str], str], from_stopped: bool = False) -> Lease:
    """Take a lease, also that of a process that is gone.

    A holder on this machine is gone once its process has ended. One on another machine counts as
    gone without a sign of life for ``STALE_S``.

    Parameters
    ----------
    place
        Folder of the lease, in a folder that exists.
    busy
        Returns what to tell the user if another process holds it, given which one.
    from_stopped
        Take it also from a process of this machine that is alive and gives no sign of life, as one
        that was suspended. Only for leases whose holders write in the lease's folder.

    Raises
    ------
    BusyError
        Another process holds it.
    OSError
        The folder cannot be written.
    """
    for _ in range(_TRIES):
        seen = look_at(place)
        if seen is not None:
            if not _is_gone(place, seen, from_stopped=from_stopped):
                raise BusyError(busy(_who(place, seen)))
            _put_away(place / seen.token)
        lease = _claim(place)
        if lease is not None:
            _clean_up(place.parent)
            lease._begin()
            return lease
    raise BusyError(busy("several come and go"))


def look_at(place: Path) -> Sight | None:
    """Return who holds a lease, ``None`` if no process does; nothing is written."""
    try:
        tokens = sorted(path.name for path in place.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return None
    for token in tokens:
        file = place / token / _HOLDER
        # Opened, since a network disk may tell the time of a file from its memory.
        with suppress(FileNotFoundError), file.open("rb") as opened:
            return Sight(token, _read_holder(file), os.fstat(opened.fileno()).st_mtime)
        with suppress(FileNotFoundError):  # a crash of the machine took the record
            return Sight(token, None, file.parent.stat().st_mtime)
    return None


def disk_time(folder: Path) -> float:
    """Return the present time by the clock that sets the times of files in a folder, in seconds."""
    probe = temporary_path(folder / "time")
    try:
        probe.touch()
        os.utime(probe)
        return probe.stat().st_mtime
    finally:
        with suppress(OSError):
            probe.unlink()


def _claim(place: Path) -> Lease | None:
    """Try to take a free lease; ``None`` if another process was faster."""
    token = secrets.token_hex(6)
    new = place.with_name(f"{_NEW}{token}")
    own = place / token
    (new / token).mkdir(parents=True)
    try:
        me = Holder(
            machine=_machine(),
            host=platform.node(),
            process=os.getpid(),
            started=_start_of(os.getpid()) or 0.0,
        )
        write_document(new / token / _HOLDER, me)
        with suppress(OSError):  # of one that was released; elsewhere than on Windows not needed
            place.rmdir()
        with suppress(OSError):
            new.rename(place)
        # Asked for anyway: a network disk may report an error for a renaming that it has done.
        return Lease(own) if (own / _HOLDER).exists() else None
    except OutputError as error:
        if isinstance(error.__cause__, FileNotFoundError):  # the holder cleaned it up
            return None
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _is_gone(place: Path, seen: Sight, *, from_stopped: bool) -> bool:
    holder = seen.holder
    if holder is not None and holder.machine == _machine():
        started = _start_of(holder.process)
        if started is None or abs(started - holder.started) >= _SAME_START:
            return True
        if not from_stopped:
            return False
    if disk_time(place.parent) - seen.beat <= STALE_S:
        return False
    # Both may have been suspended, with their machine, and have woken at this moment.
    time.sleep(_SECOND_LOOK_S)
    again = look_at(place)
    return again is None or (again.token, again.beat) == (seen.token, seen.beat)


def _put_away(folder: Path) -> None:
    """Take from a holder, in one step, the folder that it writes in, and remove it."""
    over = folder.parent.with_name(f"{_OVER}{secrets.token_hex(6)}")
    for pause_s in (*PAUSES_S, 0.0):
        try:
            folder.rename(over)
            break
        except FileNotFoundError:  # another process did it
            return
        except OSError:  # on Windows a file in it is open, as one that is being read
            time.sleep(pause_s)
    for _ in range(_TRIES):  # what was being written there meanwhile does not stop us
        with suppress(OSError):
            shutil.rmtree(over)
        if not over.exists():
            return


def _clean_up(folder: Path) -> None:
    """Remove the folders of killed contenders; one that is alive tries again."""
    for path in folder.glob("lease-*"):
        if path.name.startswith((_NEW, _OVER)):
            shutil.rmtree(path, ignore_errors=True)


def _read_holder(file: Path) -> Holder | None:
    try:
        return read_document(Holder, file, fault="damaged", remedy="remove it")
    except OutputError:
        return None


def _who(place: Path, seen: Sight) -> str:
    if seen.holder is None:
        return "of unknown name"
    host = "" if seen.holder.machine == _machine() else f" on {seen.holder.host}"
    quiet_s = disk_time(place.parent) - seen.beat
    quiet = f", no sign of life for {quiet_s:.0f} s" if quiet_s > 3 * BEAT_S else ""
    return f"process {seen.holder.process}{host}{quiet}"


@cache
def _machine() -> str:
    """Return a key of this system: process numbers mean the same where it is equal.

    Containers may share a host's name, and have process numbers of their own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{platform.node()} {uuid.getnode():x}"


def _start_of(process: int) -> float | None:
    """Return when a process of this machine started; ``None`` if it has ended.

    On Linux in ticks since the start of the system, which no change of the clock moves.
    """
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{process}/stat").read_bytes()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESRCH):
                return None
            raise
        fields = stat.rpartition(b")")[2].split()
        return None if fields[0] in b"ZX" else float(fields[19])
    import psutil

    try:
        return float(psutil.Process(process).create_time())
    except psutil.NoSuchProcess:
        return None
