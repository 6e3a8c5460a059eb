"""Terminal output: remarks and errors on stderr, results on stdout."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from wsi_suite.cli.verbosity import plain_lines, quiet

log = logging.getLogger("wsi_suite.cli")

INTERRUPTED = "interrupted; the same command goes on from here"
INTERRUPTED_OVERWRITING = "interrupted; the same command without --overwrite goes on from here"
INTERRUPTED_SHARING = "interrupted; the other processes, or the same command, go on from here"
INTERRUPTED_TRAINING = "interrupted; the same command goes on after the last epoch that ended"
INTERRUPTED_CODE = 130

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)


def say(text: str, *, style: str = "") -> None:
    """Print a remark to stderr: wrapped at words in a terminal, one line anywhere else."""
    log.info("%s", text)
    if not quiet():
        stderr.print(Text(text, style), soft_wrap=not stderr.is_terminal)


def show_error(error: object) -> None:
    """Print one line to stderr, whole, however narrow the terminal."""
    log.error("%s", error)
    stderr.print(Text.assemble(("error: ", "red"), str(error)), soft_wrap=True)


def note(text: str) -> None:
    """Print a remark to stderr."""
    log.warning("%s", text)
    if not quiet():
        _print_note(text)


def warn(text: str) -> None:
    """Print a warning of a result to stderr, with ``--quiet`` too: no figure goes without it."""
    log.warning("%s", text)
    _print_note(text)


def _print_note(text: str) -> None:
    stderr.print(Text.assemble(("note: ", "yellow"), text), soft_wrap=not stderr.is_terminal)


def shows_bars() -> bool:
    """Return whether bars and spinners can be shown."""
    return stderr.is_terminal and not plain_lines()


def print_json(value: object) -> None:
    """Print a result as JSON to stdout; NaN is refused."""
    stdout.file.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to stdout; numbers are aligned right, None is a dash."""
    from rich.table import Table

    rows = list(rows)
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        numeric = any(isinstance(row[number], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    stdout.print(table, width=None if stdout.is_terminal else _FILE_WIDTH)


_FILE_WIDTH = 1000  # a table that goes into a file is never folded


def _cell(value: object) -> Text:
    match value:
        case None:
            text = "-"
        case int():
            text = f"{value:,}"
        case float():
            text = f"{value:.4g}"
        case _:
            text = str(value)
    return Text(text)
