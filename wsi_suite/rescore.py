"""New scores from a table of nuclei: no pixels, no model, about a second for a million nuclei."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from wsi_suite.batch import Outcome, roi_file_of
from wsi_suite.config import ScoreSettings
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.qupath.rois import check_rois_inside, read_rois
from wsi_suite.scoring.summary import summarise


def rescore(
    result: Path,
    settings: ScoreSettings,
    *,
    given: Collection[str],
    rois: Path | None = None,
    several: bool = False,
) -> Outcome:
    """Score a result again.

    Parameters
    ----------
    result
        A results folder or its ``nuclei.parquet``.
    settings
        How to score; what is not among `given` is taken from the run.
    given
        Names of the settings that the user set.
    rois
        A GeoJSON file of regions, or a folder of them.
    several
        Whether other results are scored too, so that one file of regions cannot be meant.

    Raises
    ------
    DataError, RegionError, ConfigError
        The table, the regions or the settings cannot be used.
    """
    table = result / "nuclei.parquet" if result.is_dir() else result
    nuclei, metadata = read_nuclei(table, outline=False)
    kept = {key: value for key, value in metadata["score"].items() if key not in given}
    settings = ScoreSettings.model_validate({**settings.model_dump(), **kept})
    slide = Path(metadata["slide"])
    mpp = (metadata["mpp"][0], metadata["mpp"][1])
    regions = None
    file = roi_file_of(slide, rois, several=several)
    if file is not None:
        regions = read_rois(file)
        width, height = metadata["size_px0"]
        check_rois_inside(regions, width=width, height=height, path=file)
    summary = {
        "slide": metadata["slide"],
        "model": metadata["model"],
        **summarise(
            nuclei,
            settings,
            mpp=mpp,
            tissue_area_mm2=metadata["tissue_area_mm2"],
            rois=regions,
            glass_dab_od=metadata["glass_dab_od"],
        ),
    }
    return Outcome(slide, table.parent, state="done", summary=summary)
