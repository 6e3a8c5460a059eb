"""Reports of results folders: what their pages need is gathered here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_suite.analysis.slide_record import read_facts
from wsi_suite.analysis.summary import SUMMARY_FILE, read_summary
from wsi_suite.errors import DataError, OutputError, WsiSuiteError
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.nuclei.provenance import parse_provenance
from wsi_suite.runs.folder import REPORT_NAME, STORE_NAME, TABLE_NAME
from wsi_suite.runs.outputs import read_enlarged, stored_thumbnail
from wsi_suite.runs.run_record import RunRecord, read_run
from wsi_suite.runs.state import State
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.store import TileStore

if TYPE_CHECKING:
    from wsi_suite.overview.insets import ReadBox
    from wsi_suite.report.slide_page import Thumbnail

THUMBNAIL_PX = 2000


@dataclass(frozen=True)
class Pictures:
    """Where the pictures of a report come from.

    Attributes
    ----------
    source
        In words.
    read
        Gives pixels of a level-0 box.
    thumbnail
        The whole slide.
    """

    source: str
    read: ReadBox | None = None
    thumbnail: Thumbnail | None = None


def report_slide(folder: Path) -> Path:
    """Write ``report.html`` into the results folder of a slide, and return its path.

    Pictures come from the slide if it is where the run found it, unchanged; else from the stored
    tiles; without both the report has none.

    Raises
    ------
    DataError
        The folder holds no finished result.
    OutputError
        A file of the result is damaged, or the report cannot be written.
    """
    from wsi_suite.report import SlideResult, write_slide_page

    run = read_run(folder)
    if run is not None and run.state is not State.DONE:
        raise DataError(f"{folder}: its run is {run.state}, not done; run again to finish it")
    summary = read_summary(folder)
    if summary is None:
        raise DataError(f"{folder}: no {SUMMARY_FILE}; give a folder that 'wsi-suite run' left")
    table = folder / TABLE_NAME
    nuclei, metadata = read_nuclei(table)
    path = folder / REPORT_NAME
    with open_pictures(folder, run) as pictures:
        write_slide_page(
            path,
            SlideResult(
                folder=folder.resolve().name,
                summary=summary,
                nuclei=nuclei,
                provenance=parse_provenance(metadata, source=table),
                read=pictures.read,
                thumbnail=pictures.thumbnail,
                pictures_from=pictures.source,
                versions={} if run is None else run.versions,
            ),
        )
    return path


@contextmanager
def open_pictures(folder: Path, run: RunRecord | None) -> Iterator[Pictures]:
    """Open the pictures of a result: the slide if it is at hand, else the stored tiles."""
    facts = read_facts(folder)
    slide = _slide_at_hand(run)
    store = _store(folder) if facts is not None else None
    if slide is not None and run is not None:
        with open_slide(slide, mpp=run.fingerprint.settings.get("mpp")) as opened:
            yield Pictures(
                "the slide", partial(opened.read_level, 0), opened.thumbnail(THUMBNAIL_PX)
            )
    elif store is not None and facts is not None:
        yield Pictures(
            "the stored tiles: the slide is not at hand",
            partial(read_enlarged, store, facts=facts),
            stored_thumbnail(store, facts),
        )
    else:
        yield Pictures("none: neither the slide nor its tiles are at hand")


def _slide_at_hand(run: RunRecord | None) -> Path | None:
    """Return the slide of a run if it is still there, and the same file."""
    if run is None or not run.slide_path:
        return None
    try:
        path = Path(run.slide_path)
        there = SlideIdentity.of(path)
    except WsiSuiteError:
        return None
    return path if there.content == run.fingerprint.slide.content else None


def _store(folder: Path) -> TileStore | None:
    try:
        return TileStore.open(folder / STORE_NAME)
    except OutputError:
        return None
