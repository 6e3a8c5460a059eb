"""The bundled model against a count by eye, in three fields of a tumour stained for Ki-67.

``ki67_nuclei.csv`` holds 153 nuclei in fields of 290 px of ki67-OS-2-vsi.ome.tif, marked by a
developer, not by a pathologist: x and y in level-0 pixels, the class, and the stain: negative,
positive, or doubtful (grey, neither clearly blue nor brown).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from wsi_suite.config import MeasureSettings, load_settings
from wsi_suite.detector.detector import load_detector
from wsi_suite.geometry import Box
from wsi_suite.slides.slide import open_slide
from wsi_suite.staining.deconvolution import H_DAB
from wsi_suite.staining.measurement import measure_nuclei
from wsi_suite.training.matches import Labelled, match_all
from wsi_suite.training.tiles import pad_white

FIELDS_PX0 = ((120, 150), (620, 560), (1080, 1000))
SIDE_PX0 = 290


def in_fields(points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    inside = [((points >= f) & (points < np.add(f, SIDE_PX0))).all(axis=1) for f in FIELDS_PX0]
    return np.asarray(np.any(inside, axis=0))


@dataclass(frozen=True)
class Agreement:
    """Shares of the counted nuclei, and labelling indices in percent."""

    precision: float
    recall: float
    positive_recall: float
    index: float
    counted: tuple[float, float]


def agreement(real_data: Path, *, min_confidence: float | None) -> Agreement:
    count = (Path(__file__).parent / "ki67_nuclei.csv").read_text("utf-8")
    rows = list(csv.DictReader(count.splitlines()))
    counted = np.array([(float(row["x"]), float(row["y"])) for row in rows])
    stain = np.array([row["stain"] for row in rows])
    detector = load_detector("endonuke-resnet18", device="cpu", precision="fp32")
    with open_slide(real_data / "slides" / "ki67-OS-2-vsi.ome.tif") as slide:
        raster = slide.raster(detector.spec.read_mpp)
        window = pad_white(raster.read(raster.box), detector.spec.network.align_px)
        (peaks,) = detector.detect(window[None], min_confidence=min_confidence)
        points = peaks.points * raster.factor
        rgb = slide.read_level(0, Box(0, 0, slide.width, slide.height))
        mpp = slide.mpp
    measured = measure_nuclei(rgb, points, mpp=mpp, stains=H_DAB, settings=MeasureSettings())
    dab = measured.values["Nucleus: DAB OD mean"]
    chosen = in_fields(points)

    def hits(of: npt.NDArray[np.bool_]) -> int:
        there, here = (
            Labelled(
                places * mpp,
                np.zeros(len(places), np.uint8),
                np.asarray(confidence, np.float32),
            )
            for places, confidence in (
                (counted[of], np.ones(of.sum())),
                (points[chosen], peaks.confidence[chosen]),
            )
        )
        return int(match_all([there], [here], match_um=3.5).hit.sum())

    everything = np.ones(len(rows), bool)
    return Agreement(
        precision=hits(everything) / chosen.sum(),
        recall=hits(everything) / len(rows),
        positive_recall=hits(stain == "positive") / (stain == "positive").sum(),
        index=100 * float(np.mean(dab[chosen] >= 0.2)),
        counted=(
            100 * float(np.mean(stain == "positive")),
            100 * float(np.mean(stain != "negative")),
        ),
    )


@pytest.mark.realdata
def test_it_finds_what_was_counted_and_all_positive_nuclei_but_for_one(real_data: Path):
    found = agreement(real_data, min_confidence=None)
    assert found.precision > 0.9
    assert found.recall > 0.75
    assert found.positive_recall > 0.96
    lowest, highest = found.counted
    assert lowest < found.index < highest + 2.5  # pale nuclei are missed


@pytest.mark.realdata
def test_from_the_confidence_of_the_preset_the_labelling_index_is_that_of_the_count(
    real_data: Path,
):
    preset = load_settings(Path(__file__).parents[2] / "sample_configs" / "ki67.yaml")
    found = agreement(real_data, min_confidence=preset.detect.min_confidence)
    assert found.precision > 0.88
    assert found.recall > 0.85
    lowest, highest = found.counted
    assert lowest < found.index < highest
