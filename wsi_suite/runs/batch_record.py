"""The document ``batch.json`` of a folder of results: the slides that were asked for.

``wsi-suite status`` reads from it which slides were not begun yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from wsi_suite.documents import Document, read_document, write_document
from wsi_suite.errors import LaterFormatError, OutputError
from wsi_suite.files import take_lock
from wsi_suite.slides.store_layout import writing

BATCH_FILE = "batch.json"

_WAIT_S = 60.0  # for another process to write it


class BatchRecord(Document):
    """Slides of all commands that wrote to a folder.

    Attributes
    ----------
    slides
        Absolute paths, in the order in which they were asked for.
    """

    slides: tuple[str, ...] = ()


def read_batch(out: Path) -> BatchRecord:
    """Return the record of a folder of results; an empty one if there is none.

    Raises
    ------
    OutputError
        It is damaged, or of a later format.
    """
    remedy = "remove it; the next run writes it again"
    found = read_document(BatchRecord, out / BATCH_FILE, fault="damaged", remedy=remedy)
    return found or BatchRecord()


def note_slides(out: Path, slides: Iterable[Path]) -> None:
    """Add slides to the record of a folder of results; slides of earlier commands stay.

    A damaged record is written anew; one of a later version is left alone.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    asked = map(absolute, slides)
    busy = f"{out / BATCH_FILE}: another process has been writing it for {_WAIT_S:g} s; run again"
    with writing(out), take_lock(out / f"{BATCH_FILE}.lock", wait_s=_WAIT_S, busy=busy):
        try:
            earlier = read_batch(out).slides
        except LaterFormatError:
            return
        except OutputError:
            earlier = ()
        all_slides = tuple(dict.fromkeys((*earlier, *asked)))
        if all_slides != earlier:
            write_document(out / BATCH_FILE, BatchRecord(slides=all_slides))


def absolute(slide: Path) -> str:
    """Return the absolute path of a slide; links in it are not followed, which takes long."""
    path = os.path.abspath(slide)  # noqa: PTH100 - resolves '..', not links
    return path.encode(errors="replace").decode()  # a name that is no text


def file_name(path: str) -> str:
    """Return the name of a slide's file from its path, of whatever system."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]
