"""Aperio ImageScope's XML: layers are classes, their regions are nuclei."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wsi_suite.datasets.formats import ReadOptions
from wsi_suite.datasets.formats.slide_xml import read_xml
from wsi_suite.datasets.labelled_image import LabelledImage


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of a folder of ``<picture>.xml``; the pixel size is ImageScope's."""
    return read_xml(source, options, kind="imagescope")
