"""Nuclei and stain scores of whole-slide images.

::

    import wsi_suite as ws

    with ws.open_slide("B12_ER.svs") as slide:
        print(slide.width, slide.height, slide.mpp)
        tissue = ws.find_tissue(slide)

    settings = ws.load_settings(overrides=["score.marker=ER"])
    outcome = ws.run_slide("B12_ER.svs", out="results", settings=settings)
    again = ws.rescore(outcome, settings={"score.thresholds_od": [0.1, 0.3, 0.5]})
    ws.push(outcome, project="study", create=True)
    nuclei, provenance = ws.read_nuclei(outcome.folder / "nuclei.parquet")
    summary = ws.summarise(nuclei, settings.score, mpp=(0.25, 0.25), tissue_area_mm2=None)

Every name here is loaded when it is first used: importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Analysed",
    "Box",
    "Detector",
    "Labels",
    "LaboratoryStains",
    "Nuclei",
    "Outcome",
    "ProjectRun",
    "Reports",
    "Roi",
    "Scale",
    "Settings",
    "Slide",
    "StainVectors",
    "TileStore",
    "TissueMask",
    "Trained",
    "Transfer",
    "WsiSuiteError",
    "__version__",
    "analyse",
    "calibrate",
    "compare",
    "corrections",
    "dataset",
    "estimate_stains",
    "evaluate",
    "export_model",
    "find_cores",
    "find_tissue",
    "h_score",
    "load_detector",
    "load_settings",
    "make_slide",
    "make_tile",
    "measure_nuclei",
    "open_slide",
    "optical_density",
    "plot",
    "pull",
    "push",
    "read_labels",
    "read_nuclei",
    "read_rois",
    "rescore",
    "rescore_batch",
    "run_batch",
    "run_project",
    "run_slide",
    "separate_stains",
    "summarise",
    "train",
    "write_geojson",
    "write_nuclei",
    "write_reports",
]

if TYPE_CHECKING:
    from wsi_suite import dataset
    from wsi_suite.analysis.analysed import Analysed, analyse
    from wsi_suite.commands.cores import find_cores
    from wsi_suite.commands.models import Trained, evaluate, export_model, train
    from wsi_suite.commands.projects import pull, push, run_project
    from wsi_suite.commands.reports import Reports, write_reports
    from wsi_suite.commands.scores import rescore, rescore_batch
    from wsi_suite.commands.stains import LaboratoryStains, estimate_stains
    from wsi_suite.commands.studies import calibrate, compare, corrections
    from wsi_suite.config import Settings, load_settings
    from wsi_suite.detector.detector import Detector, load_detector
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.geometry import Box, Roi, Scale
    from wsi_suite.nuclei.parquet import read_nuclei, write_nuclei
    from wsi_suite.nuclei.table import Nuclei
    from wsi_suite.overview.plot import plot
    from wsi_suite.qupath.geojson import write_geojson
    from wsi_suite.qupath.labels import Labels, read_labels
    from wsi_suite.qupath.rois import read_rois
    from wsi_suite.runs.batch import run_batch, run_slide
    from wsi_suite.runs.outcome import Outcome
    from wsi_suite.runs.project_run import ProjectRun
    from wsi_suite.runs.transfers import Transfer
    from wsi_suite.scoring.hscore import h_score
    from wsi_suite.scoring.summary import summarise
    from wsi_suite.slides.slide import Slide, open_slide
    from wsi_suite.slides.store import TileStore
    from wsi_suite.slides.tissue import TissueMask, find_tissue
    from wsi_suite.staining.deconvolution import StainVectors, optical_density, separate_stains
    from wsi_suite.staining.measurement import measure_nuclei
    from wsi_suite.synthetic import make_slide, make_tile

_HOMES = {
    "analysis.analysed": ("Analysed", "analyse"),
    "commands.cores": ("find_cores",),
    "commands.models": ("Trained", "evaluate", "export_model", "train"),
    "commands.projects": ("pull", "push", "run_project"),
    "commands.reports": ("Reports", "write_reports"),
    "commands.scores": ("rescore", "rescore_batch"),
    "commands.stains": ("LaboratoryStains", "estimate_stains"),
    "commands.studies": ("calibrate", "compare", "corrections"),
    "config": ("Settings", "load_settings"),
    "detector.detector": ("Detector", "load_detector"),
    "errors": ("WsiSuiteError",),
    "geometry": ("Box", "Roi", "Scale"),
    "nuclei.parquet": ("read_nuclei", "write_nuclei"),
    "nuclei.table": ("Nuclei",),
    "overview.plot": ("plot",),
    "qupath.geojson": ("write_geojson",),
    "qupath.labels": ("Labels", "read_labels"),
    "qupath.rois": ("read_rois",),
    "runs.batch": ("run_batch", "run_slide"),
    "runs.outcome": ("Outcome",),
    "runs.project_run": ("ProjectRun",),
    "runs.transfers": ("Transfer",),
    "scoring.hscore": ("h_score",),
    "scoring.summary": ("summarise",),
    "slides.slide": ("Slide", "open_slide"),
    "slides.store": ("TileStore",),
    "slides.tissue": ("TissueMask", "find_tissue"),
    "staining.deconvolution": ("StainVectors", "optical_density", "separate_stains"),
    "staining.measurement": ("measure_nuclei",),
    "synthetic": ("make_slide", "make_tile"),
}


def __getattr__(name: str) -> object:
    if name == "dataset":
        return import_module("wsi_suite.dataset")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"wsi_suite.{home}"), name)
    raise AttributeError(f"module 'wsi_suite' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
