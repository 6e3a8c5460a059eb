"""Results folders with nuclei of given densities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry import MultiPolygon, box

from wsi_suite.analysis.summary import compose_summary, write_summary
from wsi_suite.config import ScoreSettings
from wsi_suite.measurements import NUCLEUS_DAB
from wsi_suite.nuclei.parquet import write_nuclei
from wsi_suite.nuclei.provenance import RegionRecord, parse_provenance
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.intensity import grade_nuclei
from wsi_suite.staining.deconvolution import H_DAB, StainVectors

MPP = 0.5
STEP_PX0 = 20.0


def places(number: int) -> np.ndarray:
    """Return ``(N, 2)`` points, 10 um apart, level-0 pixels."""
    rows, columns = np.divmod(np.arange(number), 50)
    return np.column_stack([columns, rows]) * STEP_PX0 + 30.0


def write_result(
    folder: Path,
    dab_od: Sequence[float] | np.ndarray,
    *,
    slide: str | None = None,
    regions: Sequence[RegionRecord] | None = None,
    method: str = "nucleus",
    stains: StainVectors = H_DAB,
    model: str = "m",
    marker: str = "ER",
    scan: str | None = None,
) -> Path:
    """Write table and summary of a slide, called like its folder; all nuclei are Epithelium."""
    folder.mkdir(parents=True)
    points = places(len(dab_od))
    nuclei = Nuclei(
        x=points[:, 0],
        y=points[:, 1],
        confidence=np.ones(len(points), np.float32),
        label=np.ones(len(points), np.uint8),
        classes=("Stroma", "Epithelium"),
        measurements={NUCLEUS_DAB: np.asarray(dab_od, np.float32)},
    )
    metadata: dict[str, Any] = {
        "slide": slide or f"{folder.name}.svs", "slide_sha256": scan or str(folder),
        "size_px0": [2000, 2000], "mpp": [MPP, MPP], "read_mpp": [MPP, MPP],
        "model": {"name": model, "hash": "0"},
        "compute": {"device": "cpu", "precision": "fp32", "batch": 1}, "min_confidence": 0.4,
        "measure": {"method": method}, "stain_vectors": stains.to_qupath(),
        "score": {"headline_class": "Epithelium", "marker": marker},
        "rois": None if regions is None else [region.as_json() for region in regions],
        "tissue_area_mm2": 1.0, "tissue_wkt": MultiPolygon([box(0, 0, 2000, 2000)]).wkt,
        "glass_dab_od": None, "wsi_suite": "0",
    }  # fmt: skip
    settings = ScoreSettings.from_result(metadata["score"])
    grades = grade_nuclei(nuclei, settings.thresholds_od)
    write_nuclei(
        nuclei,
        folder / "nuclei.parquet",
        intensity=grades,
        metadata=metadata,
    )
    provenance = parse_provenance(metadata, source=folder)
    rois = provenance.regions()
    write_summary(folder, compose_summary(nuclei, settings, provenance=provenance, rois=rois))
    return folder


def densities(seed: int, *, number: int = 300, strength: float = 0.3) -> np.ndarray:
    """Return ``(N,)`` densities of a slide, below 1.2."""
    spread = np.random.default_rng(seed).gamma(1 + seed % 3, strength / (1 + seed % 3), number)
    return np.minimum(spread, 1.2).astype(np.float32)
