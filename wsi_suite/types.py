"""Types of what public functions take and return.

They are made by the functions of :mod:`wsi_suite`; import them for annotations and checks, as in
``from wsi_suite.types import Summary``. Each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "Added",
    "Agreement",
    "Allred",
    "AllredFigures",
    "AnnotatorAgreement",
    "ArtefactFigures",
    "AspectFigures",
    "AugmentSettings",
    "Block",
    "BoxLike",
    "By",
    "CalibratedSlide",
    "Calibration",
    "Certainty",
    "Change",
    "ComputeRecord",
    "ControlScore",
    "ControlScores",
    "Core",
    "CoreGrid",
    "Corrections",
    "CountError",
    "Counts",
    "CutoffAgreement",
    "Dataset",
    "DatasetCard",
    "DatasetLog",
    "DetectSettings",
    "Doubt",
    "Entry",
    "Evaluation",
    "EvaluationFigures",
    "EvaluationReport",
    "Export",
    "ExportDifference",
    "ExportedLabels",
    "Familiarity",
    "Figure",
    "FigureDifference",
    "FigureInterval",
    "HAndESettings",
    "Headline",
    "HeldOut",
    "Histogram",
    "HotSpot",
    "HotSpots",
    "Interval",
    "Irs",
    "IrsFigures",
    "Ki67Field",
    "Ki67Figures",
    "LabelSpec",
    "Layout",
    "Leak",
    "Level",
    "Limits",
    "MeasureSettings",
    "Measured",
    "Mix",
    "ModelComparison",
    "ModelIdentity",
    "ModelSpec",
    "NearestCutOff",
    "NetworkSpec",
    "OptimiserSettings",
    "Outcomes",
    "Pair",
    "PairAgreement",
    "PartFigures",
    "Peaks",
    "Picture",
    "Progress",
    "Provenance",
    "QualityFigures",
    "QualityKind",
    "QualitySettings",
    "Raster",
    "ReceptorStatus",
    "RegionRecord",
    "RegionScores",
    "RegionsLike",
    "ResultLike",
    "Revocation",
    "RevokedData",
    "RunSettings",
    "Sampled",
    "Score",
    "ScoreFigures",
    "ScoreSettings",
    "SeenFields",
    "SettingsLike",
    "Shape",
    "Side",
    "SlideLike",
    "SlideQuality",
    "SlideScores",
    "SlideStains",
    "Split",
    "SplitSettings",
    "Stage",
    "StainCheck",
    "StainEstimate",
    "StainFigures",
    "StainSettings",
    "State",
    "Step",
    "Summary",
    "Tell",
    "Tile",
    "TileSettings",
    "TissueSettings",
    "TrainSettings",
    "Truth",
    "Verified",
    "Version",
    "VersionDifference",
]

if TYPE_CHECKING:
    from wsi_suite.analysis.given_regions import RegionsLike
    from wsi_suite.analysis.slide_stains import SlideStains
    from wsi_suite.analysis.summary import Summary
    from wsi_suite.commands.dataset_annotators import AnnotatorAgreement, ControlScores
    from wsi_suite.commands.dataset_files import Added, ExportedLabels
    from wsi_suite.commands.dataset_sample import Sampled
    from wsi_suite.commands.dataset_versions import (
        DatasetLog,
        RevokedData,
        Split,
        Verified,
        VersionDifference,
    )
    from wsi_suite.commands.results import ResultLike
    from wsi_suite.config import (
        DetectSettings,
        MeasureSettings,
        QualitySettings,
        RunSettings,
        ScoreSettings,
        StainSettings,
        TileSettings,
        TissueSettings,
    )
    from wsi_suite.datasets.agreement import PairAgreement
    from wsi_suite.datasets.card import DatasetCard
    from wsi_suite.datasets.controls import ControlScore
    from wsi_suite.datasets.history import Change
    from wsi_suite.datasets.splitting import Leak, PartFigures
    from wsi_suite.datasets.store import Dataset, Revocation, Version
    from wsi_suite.detector.label_spec import LabelSpec
    from wsi_suite.detector.model_folder import ModelSpec
    from wsi_suite.detector.network import Peaks
    from wsi_suite.detector.network_spec import NetworkSpec
    from wsi_suite.export.check import ExportDifference
    from wsi_suite.export.formats import Export
    from wsi_suite.given_settings import SettingsLike
    from wsi_suite.nuclei.familiarity import AspectFigures, Familiarity
    from wsi_suite.nuclei.provenance import (
        ComputeRecord,
        ModelIdentity,
        Provenance,
        RegionRecord,
        StainCheck,
    )
    from wsi_suite.nuclei.quality import QualityKind, SlideQuality
    from wsi_suite.nuclei.seen import SeenFields
    from wsi_suite.overview.plot import BoxLike
    from wsi_suite.overview.plot_shades import By
    from wsi_suite.progress import Progress, Step
    from wsi_suite.qupath.objects import Shape
    from wsi_suite.runs.entry import Entry
    from wsi_suite.runs.given_slides import SlideLike
    from wsi_suite.runs.outcome import Outcomes, Tell
    from wsi_suite.runs.request import Stage
    from wsi_suite.runs.state import State
    from wsi_suite.scoring.agreement import Figure, Limits
    from wsi_suite.scoring.certainty import Certainty, Doubt, NearestCutOff
    from wsi_suite.scoring.hscore import Allred, Irs, Score
    from wsi_suite.scoring.ki67 import Ki67Field, Ki67Figures
    from wsi_suite.scoring.quality import ArtefactFigures, QualityFigures
    from wsi_suite.scoring.receptors import ReceptorStatus
    from wsi_suite.scoring.slide_scores import (
        AllredFigures,
        Headline,
        HotSpot,
        HotSpots,
        IrsFigures,
        RegionScores,
        ScoreFigures,
        SlideScores,
    )
    from wsi_suite.scoring.stain_check import StainFigures
    from wsi_suite.scoring.uncertainty import Interval
    from wsi_suite.slides.cores import Core, CoreGrid
    from wsi_suite.slides.grid import Block, Tile
    from wsi_suite.slides.pictures import Picture
    from wsi_suite.slides.reader import Level
    from wsi_suite.slides.slide import Raster
    from wsi_suite.slides.store_layout import Layout
    from wsi_suite.staining.estimation import StainEstimate
    from wsi_suite.staining.measurement import Measured
    from wsi_suite.studies.calibration_document import (
        CalibratedSlide,
        Calibration,
        HeldOut,
        Histogram,
    )
    from wsi_suite.studies.comparison import Agreement, CutoffAgreement, Pair, Side
    from wsi_suite.studies.corrections import Corrections
    from wsi_suite.synthetic.cells import Mix
    from wsi_suite.synthetic.truth import Truth
    from wsi_suite.training.augment import AugmentSettings
    from wsi_suite.training.evaluation import Counts, Evaluation, EvaluationFigures
    from wsi_suite.training.evaluation_report import CountError, EvaluationReport, ModelComparison
    from wsi_suite.training.settings import (
        HAndESettings,
        OptimiserSettings,
        SplitSettings,
        TrainSettings,
    )
    from wsi_suite.training.trial import FigureDifference, FigureInterval

_HOMES = {
    "analysis.given_regions": ("RegionsLike",),
    "analysis.slide_stains": ("SlideStains",),
    "analysis.summary": ("Summary",),
    "commands.dataset_annotators": (
        "AnnotatorAgreement",
        "ControlScores",
    ),
    "commands.dataset_files": (
        "Added",
        "ExportedLabels",
    ),
    "commands.dataset_sample": ("Sampled",),
    "commands.dataset_versions": (
        "DatasetLog",
        "RevokedData",
        "Split",
        "Verified",
        "VersionDifference",
    ),
    "commands.results": ("ResultLike",),
    "config": (
        "DetectSettings",
        "MeasureSettings",
        "QualitySettings",
        "RunSettings",
        "ScoreSettings",
        "StainSettings",
        "TileSettings",
        "TissueSettings",
    ),
    "datasets.agreement": ("PairAgreement",),
    "datasets.card": ("DatasetCard",),
    "datasets.controls": ("ControlScore",),
    "datasets.history": ("Change",),
    "datasets.splitting": (
        "Leak",
        "PartFigures",
    ),
    "datasets.store": (
        "Dataset",
        "Revocation",
        "Version",
    ),
    "detector.label_spec": ("LabelSpec",),
    "detector.model_folder": ("ModelSpec",),
    "detector.network": ("Peaks",),
    "detector.network_spec": ("NetworkSpec",),
    "export.check": ("ExportDifference",),
    "export.formats": ("Export",),
    "given_settings": ("SettingsLike",),
    "nuclei.familiarity": (
        "AspectFigures",
        "Familiarity",
    ),
    "nuclei.provenance": (
        "ComputeRecord",
        "ModelIdentity",
        "Provenance",
        "RegionRecord",
        "StainCheck",
    ),
    "nuclei.quality": (
        "QualityKind",
        "SlideQuality",
    ),
    "nuclei.seen": ("SeenFields",),
    "overview.plot": ("BoxLike",),
    "overview.plot_shades": ("By",),
    "progress": (
        "Progress",
        "Step",
    ),
    "qupath.objects": ("Shape",),
    "runs.entry": ("Entry",),
    "runs.given_slides": ("SlideLike",),
    "runs.outcome": ("Outcomes", "Tell"),
    "runs.request": ("Stage",),
    "runs.state": ("State",),
    "scoring.agreement": (
        "Figure",
        "Limits",
    ),
    "scoring.certainty": (
        "Certainty",
        "Doubt",
        "NearestCutOff",
    ),
    "scoring.hscore": (
        "Allred",
        "Irs",
        "Score",
    ),
    "scoring.ki67": (
        "Ki67Field",
        "Ki67Figures",
    ),
    "scoring.quality": (
        "ArtefactFigures",
        "QualityFigures",
    ),
    "scoring.receptors": ("ReceptorStatus",),
    "scoring.slide_scores": (
        "AllredFigures",
        "Headline",
        "HotSpot",
        "HotSpots",
        "IrsFigures",
        "RegionScores",
        "ScoreFigures",
        "SlideScores",
    ),
    "scoring.stain_check": ("StainFigures",),
    "scoring.uncertainty": ("Interval",),
    "slides.cores": (
        "Core",
        "CoreGrid",
    ),
    "slides.grid": (
        "Block",
        "Tile",
    ),
    "slides.pictures": ("Picture",),
    "slides.reader": ("Level",),
    "slides.slide": ("Raster",),
    "slides.store_layout": ("Layout",),
    "staining.estimation": ("StainEstimate",),
    "staining.measurement": ("Measured",),
    "studies.calibration_document": (
        "CalibratedSlide",
        "Calibration",
        "HeldOut",
        "Histogram",
    ),
    "studies.comparison": (
        "Agreement",
        "CutoffAgreement",
        "Pair",
        "Side",
    ),
    "studies.corrections": ("Corrections",),
    "synthetic.cells": ("Mix",),
    "synthetic.truth": ("Truth",),
    "training.augment": ("AugmentSettings",),
    "training.evaluation": (
        "Counts",
        "Evaluation",
        "EvaluationFigures",
    ),
    "training.evaluation_report": (
        "CountError",
        "EvaluationReport",
        "ModelComparison",
    ),
    "training.settings": (
        "HAndESettings",
        "OptimiserSettings",
        "SplitSettings",
        "TrainSettings",
    ),
    "training.trial": (
        "FigureDifference",
        "FigureInterval",
    ),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"wsi_suite.{home}"), name)
    raise AttributeError(f"module 'wsi_suite.types' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
