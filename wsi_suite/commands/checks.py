"""Arguments that are refused before the work."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from wsi_suite.errors import ConfigError, did_you_mean


def check_page(page: Path | None, *, option: str) -> None:
    """Refuse a path that cannot become a page."""
    if page is None:
        return
    if page.is_dir():
        raise ConfigError(f"{option} {page}: is a folder; expected a file, as {page / 'page.html'}")
    if not page.parent.is_dir():
        raise ConfigError(f"{option} {page}: there is no folder {page.parent}; make it first")


def check_out(out: Path) -> None:
    """Refuse a path that cannot become a folder."""
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise ConfigError(
            f"--out {out}: '{there}' is a file; expected a folder, give another --out"
        )


def check_choice(value: str, choices: Iterable[str], *, option: str) -> None:
    """Refuse a word that is none of those that an option takes."""
    known = list(choices)
    if value not in known:
        hint = did_you_mean(str(value), known) or f"; expected {', '.join(known)}"
        raise ConfigError(f"{option} {value}: unknown{hint}")


def check_training_extra() -> None:
    """Raise ConfigError if the packages for training are not installed."""
    if find_spec("lightning") is None or find_spec("tensorboard") is None:
        raise ConfigError("training needs lightning: pip install 'wsi-suite[train]'")
