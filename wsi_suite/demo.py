"""The main job on an example whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsi_suite.batch import Outcome, Progress, run_batch
from wsi_suite.config import Settings
from wsi_suite.nuclei.evaluation import Counts, Labelled, count_matches
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.qupath.geojson import write_geojson
from wsi_suite.synthetic import Truth, make_slide, read_truth, write_truth

MATCH_UM = 3.5
SLIDE_NAME = "synthetic_ER.tif"


@dataclass(frozen=True)
class Comparison:
    """What was found beside what is there.

    Attributes
    ----------
    outcome
        Of the run.
    truth
        The slide's nuclei.
    found
        The detector's.
    all
        Matches within 3.5 um, classes ignored.
    by_class
        The same within each class.
    """

    outcome: Outcome
    truth: Truth
    found: Nuclei
    all: Counts
    by_class: dict[str, Counts]


def make_example(folder: Path, *, side_px: int) -> Path:
    """Write the example slide and its truth into a folder, unless they are there already."""
    slide = folder / SLIDE_NAME
    truth_path = folder / "truth.parquet"
    if slide.exists() and truth_path.exists() and read_truth(truth_path).width == side_px:
        return slide
    folder.mkdir(parents=True, exist_ok=True)
    truth = make_slide(slide, width=side_px, height=side_px, mpp=0.25, tissue_fraction=1 / 3)
    write_truth(truth, truth_path)
    write_geojson(truth.nuclei, folder / "truth.geojson", grades=truth.grades())
    return slide


def run_example(
    slide: Path, *, settings: Settings, progress: Progress
) -> Comparison:
    """Run the example as a user would and compare with its truth.

    Raises
    ------
    WsiSuiteError
        The run failed.
    """
    truth = read_truth(slide.parent / "truth.parquet")
    (outcome,) = run_batch(
        [slide], out=slide.parent / "results", settings=settings, progress=progress
    )
    if outcome.error is not None:
        raise outcome.error
    assert outcome.folder is not None
    found, _ = read_nuclei(outcome.folder / "nuclei.parquet")
    there = _labelled(truth.nuclei, truth.mpp, classes=found.classes)
    here = _labelled(found, truth.mpp, classes=found.classes)
    by_class = {
        name: count_matches([there.of_class(index)], [here.of_class(index)], MATCH_UM)
        for index, name in enumerate(found.classes)
    }
    return Comparison(
        outcome, truth, found, count_matches([there], [here], MATCH_UM), by_class
    )


def _labelled(nuclei: Nuclei, mpp: float, *, classes: tuple[str, ...]) -> Labelled:
    index = np.array([classes.index(name) for name in nuclei.classes], np.uint8)
    return Labelled(nuclei.points * mpp, index[nuclei.label], nuclei.score)
