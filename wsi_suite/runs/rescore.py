"""New scores from a table of nuclei: no pixels, no model, seconds for a million nuclei."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsi_suite.analysis.given_regions import Regions, RegionsLike, regions_of
from wsi_suite.analysis.summary import compose_summary
from wsi_suite.config import MeasureSettings, ScoreSettings, StainSettings
from wsi_suite.errors import ConfigError, DataError, RegionError
from wsi_suite.files import file_names
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.nuclei.provenance import Provenance, parse_provenance
from wsi_suite.qupath.geojson import write_geojson
from wsi_suite.qupath.objects import Shape, at_centroids, circle_radius_px0, origin_of
from wsi_suite.qupath.rois import check_rois_inside
from wsi_suite.runs.folder import TABLE_NAME
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.state import State
from wsi_suite.scoring.intensity import grade_nuclei
from wsi_suite.scoring.regions import (
    IGNORED_CLASS,
    ignored_area,
    nuclei_in_rois,
    rows_that_count,
    scored_rois,
)
from wsi_suite.scoring.verdicts import shown_intensities, why_no_verdict
from wsi_suite.settings_files import REPLACED_BY
from wsi_suite.staining.qupath_stains import stains_of_qupath

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_ROUNDED_STAIN = 1e-4  # tables keep five decimals of the unit vectors
_ROUNDED_PX0 = 0.05  # QuPath's files and its single precision keep a border within this


def rescore(
    result: Path,
    settings: ScoreSettings,
    *,
    measure: MeasureSettings | None = None,
    stain: StainSettings | None = None,
    rois: RegionsLike = None,
    several: bool = False,
) -> Outcome:
    """Score a result again.

    Parameters
    ----------
    result
        A results folder or its ``nuclei.parquet``.
    settings
        How to score; what the user did not set (``model_fields_set``) is taken from the run.
    measure, stain
        How the nuclei must have been measured, as far as it is set; ``None``: in any way.
    rois
        Regions: a GeoJSON file, a folder of them, or as they are; without them those of the run.
    several
        Whether other results are scored too, so that one file of regions cannot be meant.

    Raises
    ------
    DataError, RegionError, ConfigError
        The table, the regions or the settings cannot be used.
    """
    table = table_of(result)
    nuclei, metadata = read_nuclei(table, outline=False)
    provenance = _provenance(metadata, table)
    _check_measured(provenance, measure, table=table)
    _check_stained(provenance, stain, table=table)
    settings = _completed(settings, provenance)
    regions = _regions(provenance, rois, several=several)
    summary = compose_summary(
        nuclei,
        settings,
        provenance=provenance,
        rois=regions.rois,
        missing_cores=regions.missing_cores,
    )
    return Outcome(Path(provenance.slide), table.parent, state=State.DONE, summary=summary)


def write_rescored(
    result: Path,
    folder: Path,
    *,
    settings: ScoreSettings,
    shape: Shape = "polygon",
    by_region: bool = False,
    rois: RegionsLike = None,
    several: bool = False,
) -> list[Path]:
    """Write the nuclei that :func:`rescore` counts as GeoJSON, with the classes it gives them.

    Parameters
    ----------
    result, settings, rois, several
        As for :func:`rescore`.
    folder
        Where ``nuclei.geojson`` goes, or one ``nuclei_<region>.geojson`` per region.
    shape
        Polygons, ellipses or points.
    by_region
        One file per region, with the nuclei in it.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DataError, RegionError, ConfigError
        The table, the regions or the settings cannot be used, or there are no regions.
    OutputError
        A file cannot be written.
    """
    nuclei, metadata = read_nuclei(table_of(result))
    provenance = _provenance(metadata, table_of(result))
    grades = shown_intensities(
        grade_nuclei(nuclei, _completed(settings, provenance).thresholds_od),
        why_no_verdict(provenance.stains),
    )
    regions = _regions(provenance, rois, several=several).rois
    radius_px0 = circle_radius_px0(metadata)
    counted = at_centroids(nuclei, shape=shape, radius_px0=radius_px0)
    if by_region:
        scored = scored_rois(regions or ())
        if not scored:
            raise RegionError(f"{result}: the run has no regions to split by; give some with --roi")
        names = file_names(roi.name for roi in scored)
        inside = nuclei_in_rois(counted.points, scored)
        parts = dict(zip([f"nuclei_{name}.geojson" for name in names], inside, strict=True))
    else:
        parts = {"nuclei.geojson": rows_that_count(counted.points, regions or ())}
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, rows in parts.items():
        written += write_geojson(
            nuclei.take(rows),
            folder / name,
            grades=None if grades is None else grades[rows],
            shape=shape,
            radius_px0=radius_px0,
            origin=origin_of(metadata),
        )
    return written


def table_of(result: Path) -> Path:
    """Return the table of a results folder, or the table that was given itself."""
    return result / TABLE_NAME if result.is_dir() else result


def _provenance(metadata: Mapping[str, Any], table: Path) -> Provenance:
    """Return the provenance of a table whose nuclei can be scored."""
    provenance = parse_provenance(metadata, source=table)
    if provenance.tissue_wkt is None:
        raise DataError(
            f"{table}: no result of a run of this version, it lacks the outline of the tissue; run "
            "again with --overwrite"
        )
    return provenance


def _completed(settings: ScoreSettings, provenance: Provenance) -> ScoreSettings:
    """Return settings, those of the run if the user set none."""
    stored, given = provenance.score.model_dump(), settings.model_dump(exclude_unset=True)
    for replaced in (name for key in given for name in REPLACED_BY.get(key, ())):
        stored.pop(replaced, None)  # it was said of the run's
    return ScoreSettings(**{**stored, **given})


def _check_measured(provenance: Provenance, wanted: MeasureSettings | None, *, table: Path) -> None:
    """Refuse nuclei that were measured otherwise than the thresholds are meant for."""
    if wanted is None:
        return
    measured = provenance.measure.model_dump()
    for name, value in wanted.model_dump(exclude_unset=True).items():
        if measured[name] != value:
            raise ConfigError(
                f"{table}: nuclei were measured with measure.{name} = {measured[name]}, but the "
                f"configuration has {value}; run again with it, or score without its section "
                "'measure'"
            )


def _check_stained(provenance: Provenance, wanted: StainSettings | None, *, table: Path) -> None:
    """Refuse nuclei that were measured with other stain vectors than thresholds are meant for."""
    if wanted is None:
        return
    measured = stains_of_qupath(provenance.stain_vectors, source=str(table)).vectors
    for name, value in wanted.model_dump(exclude_unset=True).items():
        there, given = (np.array(vector) for vector in (getattr(measured, name), value))
        if name != "background":
            there, given = there / np.linalg.norm(there), given / np.linalg.norm(given)
        if np.abs(there - given).max() > _ROUNDED_STAIN:
            raise ConfigError(
                f"{table}: nuclei were measured with stain.{name} = {getattr(measured, name)}, but "
                f"the configuration has {value}; run again with it, or score without its section "
                "'stain'"
            )


def _regions(provenance: Provenance, given: RegionsLike, *, several: bool) -> Regions:
    """Return regions as drawn: those that are given, else those of the run."""
    regions = regions_of(provenance.slide, given, several=several)
    if regions.rois is None:
        rois = provenance.regions()
        return Regions(None if rois is None else tuple(rois), provenance.missing_cores)
    _refuse_not_looked_at(regions.rois, provenance, source=regions.file or "rois")
    return regions


def _refuse_not_looked_at(
    rois: Sequence[Roi], provenance: Provenance, *, source: Path | str
) -> None:
    """Refuse regions where no nuclei were looked for."""
    from shapely.geometry import box

    width, height = provenance.size_px0
    check_rois_inside(rois, width=width, height=height, path=source)
    stored = provenance.regions()
    if stored is not None:
        slide = box(0, 0, width, height)
        looked_at = _counting_area(stored, slide).buffer(_ROUNDED_PX0)
        for roi in scored_rois(rois):
            if not looked_at.covers(roi.area.intersection(slide)):
                raise RegionError(
                    f"{source}: '{roi.name}' reaches beyond the regions that the run looked at; "
                    "run again with it"
                )
        if not looked_at.covers(_counting_area(rois, slide)):
            raise RegionError(
                f"{source}: all regions are of class '{IGNORED_CLASS}', so that all other tissue "
                "is to be scored, but the run did not look at all of it; run again with them"
            )


def _counting_area(rois: Sequence[Roi], slide: BaseGeometry) -> BaseGeometry:
    """Return the area on the slide in which nuclei count."""
    from shapely import union_all

    scored = [roi.area for roi in scored_rois(rois)]
    area = union_all(scored) if scored else slide.difference(ignored_area(rois))
    return area.intersection(slide)
