"""What is said of a slide that is far from what its model has seen."""

from __future__ import annotations

import numpy as np

from wsi_suite.config import ScoreSettings
from wsi_suite.measurements import NUCLEUS_DAB
from wsi_suite.nuclei.familiarity import FEATURES, SHARPNESS, SIZE, AspectFigures, Familiarity
from wsi_suite.nuclei.seen import SeenFields
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.familiarity_words import aspect_words, far_warnings
from wsi_suite.scoring.slide_scores import SlideScores
from wsi_suite.scoring.summary import summarise

INSIDE = AspectFigures(
    verdict="inside", nearer_percent=40, times_limit=0.5, outside_share=0, differs="blurred"
)
LARGER = AspectFigures(
    verdict="far", nearer_percent=100, times_limit=1.44, outside_share=0.8, differs="larger"
)
OTHER = AspectFigures(verdict="far", nearer_percent=100, times_limit=2.74, outside_share=1)
FAR = Familiarity(
    verdict="far",
    fields=16,
    field_um=96,
    aspects={SIZE: LARGER, SHARPNESS: INSIDE, FEATURES: OTHER},
    statistics="abc",
)


def test_far_slides_are_warned_of_by_the_aspects_that_are_far_the_farthest_first() -> None:
    assert far_warnings(FAR) == [
        "The slide is far from what the model has seen, by features of the network (2.7), size of "
        "nuclei (larger, 1.4), where 1 is the limit: check its nuclei and their classes before use."
    ]
    for verdict in ("inside", "at the rim", None):
        assert far_warnings(FAR.model_copy(update={"verdict": verdict})) == []
    assert far_warnings(None) == []


def test_an_aspect_in_words() -> None:
    assert aspect_words(LARGER) == "far (larger, 1.4)"
    assert aspect_words(OTHER) == "far (2.7)"


def scores(familiarity: Familiarity | None) -> SlideScores:
    nuclei = Nuclei(
        x=np.arange(20.0),
        y=np.arange(20.0),
        confidence=np.ones(20, np.float32),
        label=np.zeros(20, np.uint8),
        classes=("a",),
        measurements={NUCLEUS_DAB: np.full(20, 0.9, np.float32)},
    )
    return summarise(
        nuclei,
        ScoreSettings(),
        mpp=(0.5, 0.5),
        tissue_area_mm2=None,
        seen=SeenFields(min_confidence=0.3, medians={NUCLEUS_DAB: (0.1, 0.2)}),
        familiarity=familiarity,
    )


def test_a_slide_is_warned_of_once() -> None:
    def told(familiarity: Familiarity | None) -> list[str]:
        return [text for text in scores(familiarity).warnings if "what the model" in text]

    assert told(FAR) == far_warnings(FAR)
    (fields,) = told(FAR.model_copy(update={"verdict": "inside"}))
    assert "more DAB" in fields
    assert told(None) == [fields]
    assert scores(FAR).familiarity == FAR
