"""Arguments that are refused before the work."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from wsi_suite.errors import ConfigError, OutputConflictError
from wsi_suite.files import check_folder_takes_files


def check_page(page: Path | None, *, option: str) -> None:
    """Refuse a path that cannot become a page."""
    if page is None:
        return
    if page.is_dir():
        raise ConfigError(f"{option} {page}: is a folder; expected a file, as {page / 'page.html'}")
    if not page.parent.is_dir():
        raise ConfigError(f"{option} {page}: there is no folder {page.parent}; make it first")


def check_out(out: Path) -> None:
    """Refuse a path that cannot become a folder.

    Raises
    ------
    ConfigError
        A file has its name, or that of a folder above it.
    OutputError
        The system does not let it be made.
    """
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise ConfigError(
            f"--out {out}: '{there}' is a file; expected a folder, give another --out"
        )
    check_folder_takes_files(out)


def check_new(out: Path | None, *, overwrite: bool) -> None:
    """Refuse, before the work, a file of settings that exists."""
    if out is not None and out.exists() and not overwrite:
        raise OutputConflictError(f"{out}: exists; give another --out, or --overwrite")


def check_training_extra() -> None:
    """Raise ConfigError if the packages for training are not installed."""
    if find_spec("lightning") is None or find_spec("tensorboard") is None:
        raise ConfigError("training needs lightning: pip install 'wsi-suite[train]'")
