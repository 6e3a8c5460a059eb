"""The main job on an example whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsi_suite.config import Settings
from wsi_suite.detector.model_folder import find_model
from wsi_suite.errors import ConfigError
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.progress import Progress, no_progress
from wsi_suite.qupath.geojson import write_geojson
from wsi_suite.runs.batch import run_batch
from wsi_suite.runs.outcome import Outcome, Tell, log_errors
from wsi_suite.synthetic import Truth, make_slide, read_truth, write_truth
from wsi_suite.training.evaluation import count_matches
from wsi_suite.training.matches import MATCH_UM, Labelled, match_all

SLIDE_NAME = "synthetic_ER.tif"
TRUTH_NAME = "truth.parquet"


@dataclass(frozen=True)
class Row:
    """True and detected nuclei of one class, or of all classes.

    Attributes
    ----------
    name
        The class, or the classes joined as QuPath joins them.
    there, found
        Numbers of nuclei.
    f1
        Of matches within 3.5 um.
    h_score, measured
        The true H-score and the one of the run.
    """

    name: str
    there: int
    found: int
    f1: float
    h_score: float | None
    measured: float | None


@dataclass(frozen=True)
class Comparison:
    """Detected nuclei compared with the truth.

    Attributes
    ----------
    outcome
        Of the run.
    truth
        The slide's nuclei.
    found
        The detector's.
    """

    outcome: Outcome
    truth: Truth
    found: Nuclei

    def rows(self) -> Iterator[Row]:
        """Yield a row for each class and one for all."""
        classes = self.found.classes
        there = _labelled(self.truth.nuclei, self.truth.mpp, classes=classes)
        found = _labelled(self.found, self.truth.mpp, classes=classes)
        for index, name in enumerate(classes):
            yield self._row(name, there.of_class(index), found.of_class(index), h_of=name)
        yield self._row(" + ".join(sorted(classes)), there, found, h_of=None)

    def _row(self, name: str, there: Labelled, found: Labelled, *, h_of: str | None) -> Row:
        hit = match_all([there], [found], MATCH_UM).hit
        assert self.outcome.summary is not None
        return Row(
            name,
            there=len(there.points),
            found=len(found.points),
            f1=count_matches(hit, len(there.points)).f1,
            h_score=self.truth.h_score(h_of),
            measured=self.outcome.summary.scores[name].h_score,
        )


def make_example(folder: Path, *, side_px: int, overwrite: bool = False) -> Path:
    """Write the example slide and its truth into a folder, unless they are there already.

    Parameters
    ----------
    folder
        Made if it does not exist.
    side_px
        Width and height of the slide, pixels of 0.25 um.
    overwrite
        Draw it again.
    """
    slide, truth_path = folder / SLIDE_NAME, folder / TRUTH_NAME
    there = slide.exists() and truth_path.exists() and not overwrite
    if there and read_truth(truth_path).width == side_px:
        return slide
    folder.mkdir(parents=True, exist_ok=True)
    truth = make_slide(slide, width=side_px, height=side_px, mpp=0.25, tissue_fraction=1 / 3)
    write_geojson(truth.nuclei, folder / "truth.geojson", grades=truth.grades())
    write_truth(truth, truth_path)  # last: where it is, the slide is whole
    return slide


def run_example(
    slide: Path,
    *,
    settings: Settings,
    overwrite: bool = False,
    progress: Progress = no_progress,
    tell: Tell = log_errors,
) -> Comparison:
    """Run the example as a user would and compare with its truth.

    Raises
    ------
    WsiSuiteError
        The run failed, or the model's classes are not those of the example.
    """
    truth = read_truth(slide.parent / TRUTH_NAME)
    classes = find_model(settings.detect.model).spec.classes
    if set(classes) != set(truth.nuclei.classes):
        raise ConfigError(
            f"model '{settings.detect.model}' knows {', '.join(classes)}; the example has "
            f"{', '.join(truth.nuclei.classes)}"
        )
    (outcome,) = run_batch(
        [slide],
        out=slide.parent / "results",
        settings=settings,
        overwrite=overwrite,
        progress=progress,
        tell=tell,
    )
    if outcome.error is not None:
        raise outcome.error
    assert outcome.folder is not None
    found, _ = read_nuclei(outcome.folder / "nuclei.parquet")
    return Comparison(outcome, truth, found)


def _labelled(nuclei: Nuclei, mpp: float, *, classes: tuple[str, ...]) -> Labelled:
    index = np.array([classes.index(name) for name in nuclei.classes], np.uint8)
    return Labelled(nuclei.points * mpp, index[nuclei.label], nuclei.confidence)
