"""New scores from a table of nuclei: no pixels, no model, about a second for a million nuclei."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsi_suite.config import ScoreSettings
from wsi_suite.errors import DataError, RegionError
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.outcome import Outcome
from wsi_suite.qupath.rois import check_rois_inside, read_rois
from wsi_suite.run_folder import TABLE_NAME
from wsi_suite.scoring.regions import scored_rois
from wsi_suite.scoring.summary import summarise
from wsi_suite.sources import roi_file_of

_NEEDED = {
    *("slide", "size_px0", "mpp", "model", "score"),
    *("rois", "tissue_area_mm2", "glass_dab_od", "notes"),
}
_TOUCH_PX0 = 1.0  # regions drawn along each other's border share it within this


def rescore(
    result: Path, settings: ScoreSettings, *, rois: Path | None = None, several: bool = False
) -> Outcome:
    """Score a result again.

    Parameters
    ----------
    result
        A results folder or its ``nuclei.parquet``.
    settings
        How to score; what the user did not set (``model_fields_set``) is taken from the run.
    rois
        A GeoJSON file of regions, or a folder of them; without it those of the run.
    several
        Whether other results are scored too, so that one file of regions cannot be meant.

    Raises
    ------
    DataError, RegionError, ConfigError
        The table, the regions or the settings cannot be used.
    """
    table = result / TABLE_NAME if result.is_dir() else result
    nuclei, metadata = read_nuclei(table, outline=False)
    missing = sorted(_NEEDED - metadata.keys())
    if missing:
        raise DataError(
            f"{table}: no result of a run of this version, it lacks {', '.join(missing)}; give the "
            "nuclei.parquet of one"
        )
    settings = ScoreSettings(**{**metadata["score"], **settings.model_dump(exclude_unset=True)})
    file = roi_file_of(metadata["slide"], rois, several=several)
    summary = {
        "slide": metadata["slide"],
        "model": metadata["model"],
        "notes": metadata["notes"],
        **summarise(
            nuclei,
            settings,
            mpp=(metadata["mpp"][0], metadata["mpp"][1]),
            tissue_area_mm2=metadata["tissue_area_mm2"],
            rois=_stored_rois(metadata) if file is None else _given_rois(file, metadata),
            glass_dab_od=metadata["glass_dab_od"],
        ),
    }
    return Outcome(Path(metadata["slide"]), table.parent, state="done", summary=summary)


def _stored_rois(metadata: Mapping[str, Any]) -> tuple[Roi, ...] | None:
    """Return the regions that a run looked at, ``None`` where it was the whole slide."""
    from shapely import from_wkb

    if metadata["rois"] is None:
        return None
    return tuple(Roi(roi["name"], roi["class"], from_wkb(roi["wkb"])) for roi in metadata["rois"])


def _given_rois(file: Path, metadata: Mapping[str, Any]) -> Sequence[Roi]:
    """Read regions and refuse those where no nuclei were looked for."""
    from shapely.ops import unary_union

    rois = scored_rois(read_rois(file))
    width, height = metadata["size_px0"]
    check_rois_inside(rois, width=width, height=height, path=file)
    stored = _stored_rois(metadata)
    if stored is not None:
        looked_at = unary_union([roi.area for roi in stored]).buffer(_TOUCH_PX0)
        for roi in rois:
            if not looked_at.covers(roi.area):
                raise RegionError(
                    f"{file}: '{roi.name}' reaches beyond the regions that the run looked at; run "
                    "again with it"
                )
    return rois
