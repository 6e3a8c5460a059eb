"""Regions of interest as they are given: a file, a folder of files, or regions themselves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from wsi_suite.errors import RegionError
from wsi_suite.geometry import Roi
from wsi_suite.qupath.rois import missing_cores, read_rois
from wsi_suite.scoring.regions import scored_rois
from wsi_suite.slides.sources import check_roi_source, roi_file_of

RegionsLike: TypeAlias = str | Path | Iterable[Roi] | None
"""A GeoJSON file, a folder of them, regions themselves, or ``None`` for all tissue."""


class Regions(NamedTuple):
    """Regions of interest of one slide.

    Attributes
    ----------
    rois
        The regions as drawn; ``None`` for all tissue.
    missing_cores
        Names of the cores of a microarray that are missing.
    file
        Where they come from, if from a file.
    """

    rois: tuple[Roi, ...] | None = None
    missing_cores: tuple[str, ...] = ()
    file: Path | None = None


def check_regions(given: RegionsLike, *, several: bool) -> Path | tuple[Roi, ...] | None:
    """Return regions as given, in one form each.

    Parameters
    ----------
    given
        The regions.
    several
        Whether they are given for several slides.

    Raises
    ------
    RegionError
        One file, or regions themselves, are given for several slides, or something else is given.
    """
    if given is None:
        return None
    if isinstance(given, str | Path):
        path = Path(given)
        check_roi_source(path, several=several)
        return path
    rois: tuple[Roi, ...] = tuple(given) if isinstance(given, Iterable) else (given,)
    if not rois:
        raise RegionError("rois: an empty list; leave it out to score all tissue")
    for roi in rois:
        if not isinstance(roi, Roi):
            raise RegionError(
                f"rois: a {type(roi).__name__}: expected a GeoJSON file, a folder of them, or a "
                "list of Roi"
            )
    if several:
        raise RegionError(
            "rois: regions of one slide for several slides; give a folder with <slide's "
            "stem>.geojson for each"
        )
    return rois


def regions_of(name: str, given: RegionsLike, *, several: bool = False) -> Regions:
    """Return the regions of interest of a slide.

    Parameters
    ----------
    name
        The slide's file name.
    given, several
        As for :func:`check_regions`.

    Raises
    ------
    RegionError
        There are none for this slide, they cannot be read, or no area of them is left to score.
    """
    found = check_regions(given, several=several)
    if isinstance(found, tuple):
        regions = Regions(found)
    else:
        file = roi_file_of(name, found, several=several)
        if file is None:
            return Regions()
        regions = Regions(read_rois(file), missing_cores(file), file)
    scored_rois(regions.rois or ())  # refused here, before anything is done
    return regions
