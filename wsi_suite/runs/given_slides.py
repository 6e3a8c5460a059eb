"""Slides as they are given: files, folders, patterns, manifests, or as they were opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from wsi_suite.errors import SlideError
from wsi_suite.runs.entry import Entry
from wsi_suite.runs.manifest import MANIFEST_SUFFIXES, expand_entries
from wsi_suite.slides.slide import Slide

SlideLike: TypeAlias = str | Path | Slide | Entry
"""A slide: its path, as it was opened, or with settings of its own."""


def entry_of(slide: SlideLike) -> Entry:
    """Return a slide as an entry of a batch.

    Raises
    ------
    SlideError
        It is something else, such as a picture in memory.
    """
    if isinstance(slide, Entry):
        return slide
    if isinstance(slide, Slide):
        return Entry(slide.path, mpp=slide.mpp_given)
    if isinstance(slide, str | Path):
        return Entry(Path(slide))
    raise SlideError(
        f"a {type(slide).__name__}: expected the path of a slide, or a Slide; a picture in memory "
        "is taken by 'analyse', or saved first"
    )


def entries_of(
    slides: SlideLike | Iterable[SlideLike],
    *,
    mpp: float | None = None,
    expand: bool = True,
    tell: Callable[[str], None] | None = None,
) -> list[Entry]:
    """Return the entries of a batch.

    Parameters
    ----------
    slides
        One slide, or several.
    mpp
        The pixel size that the batch is given; it goes over that which a slide was opened with.
    expand
        Whether folders, patterns and manifests stand for the slides that they name.
    tell
        Receives a line on what is left out of a folder.

    Raises
    ------
    SlideError, InputError
        Something is no slide, or names none.
    """
    if isinstance(slides, str | Path | Slide | Entry) or not isinstance(slides, Iterable):
        slides = [slides]
    entries: list[Entry] = []
    for slide in slides:
        if expand and isinstance(slide, str | Path) and _names_others(Path(slide)):
            entries += expand_entries([slide], tell=tell)
            continue
        entry = entry_of(slide)
        if isinstance(slide, Slide) and mpp is not None:
            entry = replace(entry, mpp=None)
        entries.append(entry)
    return entries or expand_entries([])


def _names_others(path: Path) -> bool:
    """Return whether a path is a folder, a pattern or a manifest; a missing file is a slide's."""
    if path.is_file():
        return path.suffix.lower() in MANIFEST_SUFFIXES
    return path.is_dir() or (bool(set(str(path)) & set("*?[")) and not path.exists())
