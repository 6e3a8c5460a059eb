"""Measured nuclei of results folders, by slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wsi_suite.config import MeasureSettings, StainSettings
from wsi_suite.errors import DataError
from wsi_suite.files import name_key
from wsi_suite.nuclei.parquet import read_nuclei, read_provenance
from wsi_suite.nuclei.provenance import Provenance, parse_provenance
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.runs.folder import TABLE_NAME
from wsi_suite.runs.run_record import read_run
from wsi_suite.scoring.hscore import pooled_name
from wsi_suite.scoring.intensity import intensity_measurement
from wsi_suite.scoring.regions import nuclei_in_rois, scored_rois
from wsi_suite.staining.qupath_stains import stains_of_qupath
from wsi_suite.studies.score_lists import key_of, result_folders


@dataclass(frozen=True)
class MeasuredSlide:
    """Nuclei of a slide that have a DAB optical density, and how they were made.

    Attributes
    ----------
    table
        The file.
    nuclei
        Those that are measured.
    dab_od
        ``(N,)`` their densities.
    provenance
        Of the run.
    """

    table: Path
    nuclei: Nuclei
    dab_od: npt.NDArray[np.float32]
    provenance: Provenance

    @property
    def slide(self) -> str:
        """Name of the slide."""
        return self.provenance.slide

    def scored(self, class_name: str | None, *, region: str) -> npt.NDArray[np.float32]:
        """Return the densities of the nuclei that a score of a class is of.

        Parameters
        ----------
        class_name
            A class, or all by their joint name; ``None``: that of the headline.
        region
            Name of a region of the run; empty: the whole slide, or all regions of the run.

        Raises
        ------
        DataError
            There is no such class or region.
        """
        rows = np.ones(len(self.nuclei), bool)
        classes = self.nuclei.classes
        wanted = class_name or self.provenance.score.headline_class or pooled_name(classes)
        if wanted in classes:
            rows &= self.nuclei.label == classes.index(wanted)
        elif wanted != pooled_name(classes):
            known = ", ".join((*classes, pooled_name(classes)))
            raise DataError(f"{self.table}: no class '{wanted}' (--class); expected {known}")
        return self.dab_od[rows & self._inside(region)]

    def _inside(self, region: str) -> npt.NDArray[np.bool_]:
        regions = self.provenance.regions()
        if regions is None and not region:
            return np.ones(len(self.nuclei), bool)
        rois = [
            roi
            for roi in (scored_rois(regions) if regions else ())
            if not region or name_key(roi.name.strip()) == name_key(region.strip())
        ]
        if not rois:
            raise DataError(f"{self.table}: the run has no region '{region}'")
        inside = np.zeros(len(self.nuclei), bool)
        for rows in nuclei_in_rois(self.nuclei.points, rois):
            inside[rows] = True
        return inside


class SlideTable(NamedTuple):
    """Name of a slide, and the table of its nuclei."""

    slide: str
    table: Path


def measured_tables(results: Sequence[Path]) -> dict[str, SlideTable]:
    """Return the tables of nuclei in results folders, by the key of their slide.

    Raises
    ------
    DataError
        A slide is there twice, or they were measured in different ways.
    """
    tables: dict[str, SlideTable] = {}
    measured: dict[Path, tuple[MeasureSettings, str]] = {}
    for result in results:
        if not result.is_dir():
            raise DataError(f"{result}: no results folder; expected the --out of 'wsi-suite run'")
        for folder in result_folders(result):
            table = folder / TABLE_NAME
            provenance = read_provenance(table)
            key, _ = key_of(provenance.slide)
            if key in tables:
                raise DataError(
                    f"{table} and {tables[key].table} are of one slide, {provenance.slide}; give "
                    "one of them"
                )
            tables[key] = SlideTable(provenance.slide, table)
            measured[table] = provenance.measure, provenance.stain_vectors
    first = next(iter(measured))
    for table, settings in measured.items():
        if settings != measured[first]:
            named = "measure" if settings[0] != measured[first][0] else "stain"
            raise DataError(
                f"{table} and {first} were measured with different settings ({named}.*); "
                "thresholds hold for one of them: run one again"
            )
    return tables


def stain_settings(table: Path) -> StainSettings:
    """Return the stain settings that a table was measured with.

    Of a run they are what its record says; elsewhere, as beside new scores, they are the rounded
    vectors in the table.

    Raises
    ------
    DataError, OutputError
        Table or record cannot be read.
    """
    run = read_run(table.parent)
    if run is not None and "stain" in run.fingerprint.settings:
        return StainSettings.model_validate(run.fingerprint.settings["stain"])
    vectors = stains_of_qupath(read_provenance(table).stain_vectors, source=str(table)).vectors
    return StainSettings(
        hematoxylin=vectors.hematoxylin, dab=vectors.dab, background=vectors.background
    )


def read_measured(table: Path) -> MeasuredSlide:
    """Read the measured nuclei of a table.

    Raises
    ------
    DataError
        The file is no table of a run.
    """
    nuclei, metadata = read_nuclei(table, outline=False)
    provenance = parse_provenance(metadata, source=table)
    if not len(nuclei):
        return MeasuredSlide(table, nuclei, np.zeros(0, np.float32), provenance)
    dab_od = nuclei.measurements[intensity_measurement(nuclei.measurements)]
    there = ~np.isnan(dab_od)
    return MeasuredSlide(table, nuclei.take(there), dab_od[there], provenance)
