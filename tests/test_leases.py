"""Leases: one holder at a time, whatever happens to processes."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wsi_suite import leases
from wsi_suite.documents import write_document
from wsi_suite.errors import BusyError, OutputError
from wsi_suite.files import whole_file
from wsi_suite.leases import STALE_S, Lease, disk_time, look_at, take_lease

BUSY = "folder: taken ({})".format


@pytest.fixture(autouse=True)
def _no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_SECOND_LOOK_S", 0.0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "lease"


def claim(place: Path, **holder: object) -> Lease:
    """Take a lease as another process does: its record says so, and there is no sign of life."""
    lease = leases._claim(place)
    assert lease is not None
    seen = look_at(place)
    assert seen is not None
    assert seen.holder is not None
    write_document(lease.folder / "holder.json", seen.holder.model_copy(update=holder))
    return lease


def quiet(lease: Lease, *, for_s: float) -> None:
    """Let the last sign of life be so long ago."""
    then = disk_time(lease.folder.parents[1]) - for_s
    os.utime(lease.folder / "holder.json", (then, then))


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_one_at_a_time(place: Path) -> None:
    lease = take_lease(place, busy=BUSY)
    with pytest.raises(BusyError, match=rf"taken \(process {os.getpid()}\)"):
        take_lease(place, busy=BUSY, from_stopped=True)
    assert not lease.lost
    lease.release()
    assert not lease.lost, "it was given back"
    assert not list(place.parent.iterdir())
    take_lease(place, busy=BUSY).release()


def test_a_process_that_has_ended_holds_nothing(place: Path) -> None:
    for holder in ({"process": dead_process()}, {"started": 1.0}):
        dead = claim(place, **holder)
        lease = take_lease(place, busy=BUSY)
        assert dead.lost
        lease.release()


@pytest.mark.skipif(sys.platform != "linux", reason="told by the table of processes of Linux")
def test_a_process_that_is_not_reaped_has_ended(place: Path) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    claim(place, process=zombie.pid)
    take_lease(place, busy=BUSY).release()
    zombie.wait()


def test_another_machine_counts_by_signs_of_life(place: Path) -> None:
    other = claim(place, machine="other", host="node7", process=5)
    quiet(other, for_s=STALE_S - 5)
    with pytest.raises(BusyError, match=r"process 5 on node7, no sign of life for 11\d s"):
        take_lease(place, busy=BUSY)
    quiet(other, for_s=STALE_S + 1)
    take_lease(place, busy=BUSY).release()


def test_a_stopped_process_keeps_what_is_not_fenced(place: Path) -> None:
    stopped = claim(place)
    quiet(stopped, for_s=2 * STALE_S)
    with pytest.raises(BusyError):
        take_lease(place, busy=BUSY)
    lease = take_lease(place, busy=BUSY, from_stopped=True)
    assert stopped.lost
    lease.release()


def test_a_machine_that_wakes_up_gives_a_sign_of_life(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = claim(place, machine="other")
    quiet(other, for_s=3600)
    monkeypatch.setattr(leases.time, "sleep", lambda _: os.utime(other.folder / "holder.json"))
    with pytest.raises(BusyError):
        take_lease(place, busy=BUSY)
    assert not other.lost


def test_an_earlier_holder_cannot_write(place: Path, tmp_path: Path) -> None:
    """Not even what it was writing when it was stopped."""
    stopped = claim(place, machine="other")
    quiet(stopped, for_s=2 * STALE_S)
    result = tmp_path / "result.txt"
    writing = whole_file(result, staging=stopped.folder)
    writing.__enter__().write_text("late")
    lease = take_lease(place, busy=BUSY)
    with pytest.raises(OutputError, match=r"result\.txt: cannot be written"):
        writing.__exit__(None, None, None)
    with whole_file(result, staging=lease.folder) as partial:
        partial.write_text("mine")
    stopped.release()
    assert not lease.lost, "who has lost it gives nothing back"
    assert result.read_text() == "mine"
    lease.release()


def test_signs_of_life_are_given_until_it_is_released(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.02)
    lease = take_lease(place, busy=BUSY)
    quiet(lease, for_s=3600)
    for _ in range(500):
        seen = look_at(place)
        assert seen is not None
        if disk_time(place.parent) - seen.beat < 60:
            break
        lease._over.wait(0.02)
    else:
        pytest.fail("no sign of life")
    lease.release()
    assert look_at(place) is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 99}', None])
def test_a_damaged_record_is_of_an_unknown_holder(place: Path, content: bytes | None) -> None:
    damaged = claim(place)
    file = damaged.folder / "holder.json"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(BusyError):
        take_lease(place, busy=BUSY)
    then = disk_time(place.parent) - 2 * STALE_S
    os.utime(damaged.folder if content is None else file, (then, then))
    take_lease(place, busy=BUSY).release()


def test_the_clock_of_this_machine_does_not_count(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(place, machine="other")
    monkeypatch.setattr(leases.time, "time", lambda: 0.0)
    with pytest.raises(BusyError):
        take_lease(place, busy=BUSY)


def test_what_killed_contenders_left_is_removed(place: Path) -> None:
    for name in ("lease-new-abc", "lease-over-abc"):
        (place.with_name(name) / "abc").mkdir(parents=True)
    place.mkdir()
    take_lease(place, busy=BUSY).release()
    assert not list(place.parent.iterdir())


def test_of_many_that_take_a_dead_holders_lease_one_gets_it(place: Path) -> None:
    """Again and again: each holder leaves it as a killed process does."""
    process = dead_process()
    claim(place, process=process)
    with ThreadPoolExecutor(6) as pool:
        for _ in range(20):

            def attempt(_: int) -> Lease | None:
                try:
                    return take_lease(place, busy=BUSY)
                except (BusyError, FileNotFoundError):
                    return None

            winners = [lease for lease in pool.map(attempt, range(6)) if lease is not None]
            assert len(winners) == 1
            winners[0]._over.set()
            seen = look_at(place)
            assert seen is not None
            assert seen.holder is not None
            dead = seen.holder.model_copy(update={"process": process})
            write_document(winners[0].folder / "holder.json", dead)
