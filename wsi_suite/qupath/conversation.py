"""Questions to another process and its answers: one JSON object a line, matched by number.

The process may hang, die, be late, or print what is no answer. Each of these is an error of this
module; the process is then ended, so that a late answer is never taken for the next question's.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

import psutil

_LOOK_S = 1.0
_IDLE_SHARE = 0.02  # of a core: what an idle Java needs for itself stays below
_KEPT_BYTES = 20_000  # of what the process prints to stderr


@dataclass(frozen=True)
class Patience:
    """Longest waits for an answer while the process is silent.

    Attributes
    ----------
    idle_s
        The process neither computes nor reads nor writes.
    busy_s
        The process works, but tells no progress.
    """

    idle_s: float = 180.0
    busy_s: float = 3600.0


class SilenceError(Exception):
    """The process gave no answer for too long and was ended; the message says for how long."""


class DeathError(Exception):
    """The process ended without an answer.

    Attributes
    ----------
    code
        Its exit code.
    said
        The last line that it printed to stderr.
    """

    def __init__(self, code: int | None, said: str) -> None:
        super().__init__(f"exit code {code}; {said}")
        self.code = code
        self.said = said


class NonsenseError(Exception):
    """The process printed a line that is no answer and was ended; the message is that line."""


class Conversation:
    """A process that answers questions on stdin with lines on stdout.

    Parameters
    ----------
    command
        Starts the process. Ctrl-C in the terminal does not reach it: it is ended from here.
    patience
        How long silence is endured.
    """

    def __init__(self, command: Sequence[str], *, patience: Patience) -> None:
        self._patience = patience
        self._number = 0
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            start_new_session=sys.platform != "win32",
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr = _Tail(self._process.stderr)
        self._reader = threading.Thread(
            target=_pass_lines, args=(self._process.stdout, self._lines), daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(
        self,
        question: dict[str, Any],
        *,
        hear: Callable[[dict[str, Any]], None],
        skip_nonsense: bool = False,
    ) -> dict[str, Any]:
        """Ask, and return the answer: the first message with ``result`` or ``error``.

        Parameters
        ----------
        question
            Gets a number, ``id``, which its answer repeats. Messages with other numbers are
            ignored.
        hear
            Takes the messages that come before the answer.
        skip_nonsense
            Ignore lines that are no messages, as start-up scripts of Python print them.

        Raises
        ------
        SilenceError, DeathError, NonsenseError
            There is no answer. The process has ended.
        """
        self._number += 1
        try:
            self._send({"id": self._number, **question})
            while True:
                line = self._next_line()
                message = _parsed(line)
                if message is None and skip_nonsense:
                    continue
                if message is None or "id" not in message:
                    raise NonsenseError(line.decode("utf-8", "replace").strip()[:200])
                if message["id"] != self._number:
                    continue
                if "result" in message or "error" in message:
                    return message
                hear(message)
        except BaseException:  # Ctrl-C too: its answer would come to the next question
            self.end(grace_s=0)
            raise

    def kill(self) -> None:
        """Kill the process at once; the next question finds it dead."""
        self._process.kill()

    def end(self, *, grace_s: float = 20.0) -> int | None:
        """End the process and return its exit code; ``None`` if even a kill does not end it.

        Parameters
        ----------
        grace_s
            How long it may take to end by itself once its stdin has ended.
        """
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        for grace in (grace_s, 5.0):
            try:
                code = self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
                continue
            self._reader.join(5.0)
            self._stderr.join(5.0)
            return code
        return None

    def _send(self, question: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # ValueError: it was ended from here
            raise self._death() from None

    def _next_line(self) -> bytes:
        """Return the next line of stdout."""
        spoke = worked = time.monotonic()
        activity = _Activity(self.pid)
        while True:
            try:
                line = self._lines.get(timeout=min(_LOOK_S, self._patience.idle_s / 4))
            except queue.Empty:
                now = time.monotonic()
                if activity.worked():
                    worked = now
                for since, limit in (
                    (worked, self._patience.idle_s),
                    (spoke, self._patience.busy_s),
                ):
                    if now - since > limit:
                        raise SilenceError(f"{limit:.0f} s") from None
                continue
            if line is None:
                raise self._death()
            return line

    def _death(self) -> DeathError:
        code = self.end(grace_s=5.0)
        return DeathError(code, self._stderr.last_line())


class _Activity:
    """Activity of a process: computing, reading or writing."""

    def __init__(self, pid: int) -> None:
        self._at = time.monotonic()
        self._cpu_s = 0.0
        self._moved_bytes = 0
        self._process: psutil.Process | None = None
        with suppress(psutil.Error):
            self._process = psutil.Process(pid)
        self.worked()

    def worked(self) -> bool:
        """Return whether it has worked since the last call."""
        before = (self._at, self._cpu_s, self._moved_bytes)
        if self._process is not None:
            with suppress(psutil.Error):
                times = self._process.cpu_times()
                self._cpu_s = times.user + times.system
            with suppress(psutil.Error, AttributeError):  # macOS does not count bytes
                moved = self._process.io_counters()  # Linux counts other disks in `chars` alone
                self._moved_bytes = getattr(moved, "read_chars", moved.read_bytes) + getattr(
                    moved, "write_chars", moved.write_bytes
                )
        self._at = time.monotonic()
        share = (self._cpu_s - before[1]) / max(self._at - before[0], 1e-3)
        return share > _IDLE_SHARE or self._moved_bytes != before[2]


class _Tail(threading.Thread):
    """Reads a stream to its end, so that its writer never waits, and keeps the last of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._kept = b""
        self.start()

    def run(self) -> None:
        """Read."""
        with suppress(OSError, ValueError), self._stream:
            while block := self._stream.read1(65536):  # type: ignore[attr-defined]
                self._kept = (self._kept + block)[-_KEPT_BYTES:]

    def last_line(self) -> str:
        """Return the last line that is not empty, or an empty text."""
        lines = [line.strip() for line in self._kept.decode("utf-8", "replace").splitlines()]
        return next((line for line in reversed(lines) if line), "")


def _pass_lines(stream: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    """Put the lines of a stream into a queue, and ``None`` at its end.

    A last line that does not end was cut off with its writer: it is left out.
    """
    with suppress(OSError, ValueError), stream:
        for line in stream:
            if line.endswith(b"\n"):
                lines.put(line)
    lines.put(None)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return a message, or ``None`` if the line is no JSON object."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
