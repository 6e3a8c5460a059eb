"""Results as they are given: folders, tables, or what a run returned."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from wsi_suite.errors import InputError
from wsi_suite.runs.outcome import Outcome

ResultLike: TypeAlias = str | Path | Outcome
"""A results folder, the path of its table, or what a run returned."""


def folders_of(results: ResultLike | Iterable[ResultLike]) -> list[Path]:
    """Return the paths of results.

    Raises
    ------
    InputError
        There are none, one is something else, or a run that ended without a folder.
    """
    if isinstance(results, str | Path | Outcome) or not isinstance(results, Iterable):
        results = [results]
    folders = [_folder_of(result) for result in results]
    if not folders:
        raise InputError("no result given; name the folders that runs left")
    return folders


def _folder_of(result: ResultLike) -> Path:
    if isinstance(result, str | Path):
        return Path(result)
    if not isinstance(result, Outcome):
        raise InputError(
            f"a {type(result).__name__}: expected a results folder, or what a run returned"
        )
    if result.folder is None:
        raise InputError(f"{result.slide}: its run left no results ({result.error})")
    return result.folder
