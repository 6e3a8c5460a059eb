"""How much the program tells, and where: ``-q``, ``-v``, ``--log-file`` and ``--debug``.

The options stand before a command or after it. Remarks that are shown on the terminal also go into
the log file, as records of the logger ``wsi_suite.cli``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

_PANEL = "What is told"
_TIMES = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_REMARKS = "wsi_suite.cli"  # shown on the terminal already


@dataclass
class _Told:
    """State of one call of the program."""

    quiet: bool = False
    verbose: int = 0
    debug: bool = False
    file: Path | None = None
    handlers: list[logging.Handler] = field(default_factory=list)


_told = _Told()


def reset() -> None:
    """Forget the options of an earlier call in this process, and close its log file."""
    global _told  # noqa: PLW0603
    for handler in _told.handlers:
        logging.getLogger().removeHandler(handler)
        handler.close()
    if _told.handlers:
        logging.getLogger().setLevel(logging.WARNING)
        logging.getLogger("wsi_suite").setLevel(logging.NOTSET)
    _told = _Told()


def quiet() -> bool:
    """Return whether only errors and results are told (``--quiet``)."""
    return _told.quiet


def debug() -> bool:
    """Return whether tracebacks are shown (``--debug``)."""
    return _told.debug


def plain_lines() -> bool:
    """Return whether lines are told in place of bars, which would mix with a log."""
    return _told.quiet or _told.verbose > 0


def set_debug(wanted: bool) -> bool:
    """Show the whole log, and tracebacks."""
    if wanted:
        _told.debug = True
        _set_verbose(2)
    return wanted


def _set_quiet(wanted: bool | None) -> None:
    _told.quiet = _told.quiet or bool(wanted)


def _set_verbose(count: int | None) -> None:
    """Show the log on stderr with times: from 1 INFO, from 2 DEBUG."""
    if count is None or count <= _told.verbose:
        return
    if _told.verbose == 0:
        handler = logging.StreamHandler(sys.stderr)
        handler.addFilter(_belongs_on_terminal)
        handler.setFormatter(logging.Formatter(_TIMES, datefmt="%H:%M:%S"))
        _add(handler, level=logging.INFO)
    _told.verbose = count
    if count > 1:
        _told.handlers[-1].setLevel(logging.DEBUG)
        _lower(logging.DEBUG)


def _set_log_file(path: Path | None) -> None:
    """Append the whole log to a file, with times."""
    from wsi_suite import __version__
    from wsi_suite.errors import ConfigError

    if path is None or path == _told.file:
        return
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(
            f"--log-file {path}: cannot be written ({error.strerror or error}); name another file"
        ) from None
    _told.file = path
    handler.setFormatter(logging.Formatter(_TIMES))
    _add(handler, level=logging.DEBUG)
    logging.getLogger(_REMARKS).info("wsi-suite %s", __version__)


def _belongs_on_terminal(record: logging.LogRecord) -> bool:
    """Leave out what is told anyway, and before ``-vv`` the talk of other libraries."""
    ours = record.name.startswith("wsi_suite")
    return record.name != _REMARKS and (
        ours or _told.verbose > 1 or record.levelno >= logging.WARNING
    )


def _add(handler: logging.Handler, *, level: int) -> None:
    handler.setLevel(level)
    logging.getLogger().addHandler(handler)
    _told.handlers.append(handler)
    _lower(level)


def _lower(level: int) -> None:
    """Let records of the suite through from `level`; those of other libraries from INFO at most."""
    suite = logging.getLogger("wsi_suite")
    suite.setLevel(min(level, suite.level or level))
    if level == logging.DEBUG:
        logging.getLogger().setLevel(logging.INFO)


def options() -> list[TyperOption]:
    """Return the options that every command has."""
    return [
        _option(
            ["-v", "--verbose"],
            _set_verbose,
            count=True,
            metavar="",
            help="Show the log with times; -vv all of it.",
        ),
        _option(
            ["-q", "--quiet"],
            _set_quiet,
            is_flag=True,
            help="Show only errors, and results with their warnings.",
        ),
        _option(
            ["--log-file"],
            lambda value: _set_log_file(None if value is None else Path(value)),
            metavar="FILE",
            help="Append all of the log to this file.",
        ),
    ]


def _option(flags: list[str], use: Callable[[Any], None], **details: Any) -> TyperOption:  # noqa: ANN401
    return TyperOption(
        param_decls=flags,
        expose_value=False,
        is_eager=True,
        show_default=False,
        rich_help_panel=_PANEL,
        callback=lambda _context, _option, value: use(value),
        **details,
    )


class Command(TyperCommand):
    """A command that also takes the options of the whole program."""

    def __init__(self, name: str | None, **details: Any) -> None:  # noqa: ANN401
        super().__init__(name, **details)
        self.params += options()


class Program(TyperGroup):
    """The program itself, which takes these options before the command."""

    def __init__(self, **details: Any) -> None:  # noqa: ANN401
        super().__init__(**details)
        self.params += options()
