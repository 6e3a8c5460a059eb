"""Scores of a slide and of its regions, as ``summary.json`` holds them.

A value that does not exist is null, never 0 and never NaN, and ``reason`` says why: scores do not
exist without measurable nuclei. If all nuclei are negative, scores are 0. Densities count all
nuclei; scores leave out those that are not measurable. Nuclei count in tissue only, and densities
divide by its area; if that is not known, by the whole area.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from wsi_suite.config import ThresholdsOrigin
from wsi_suite.documents import Part
from wsi_suite.nuclei.familiarity import Familiarity
from wsi_suite.scoring.certainty import Certainty
from wsi_suite.scoring.hscore import Score
from wsi_suite.scoring.ki67 import Ki67Figures
from wsi_suite.scoring.quality import QualityFigures
from wsi_suite.scoring.receptors import ReceptorStatus
from wsi_suite.scoring.stain_check import StainFigures
from wsi_suite.scoring.uncertainty import Interval

NO_INTERVAL = "no interval"
"""In place of a verdict of a cut-off, where nothing tells how far the score may be off."""


class AllredFigures(Part):
    """Allred score; see :class:`~wsi_suite.scoring.hscore.Allred`."""

    proportion: int
    intensity: int
    score: int


class IrsFigures(Part):
    """Immunoreactive score; see :class:`~wsi_suite.scoring.hscore.Irs`."""

    proportion: int
    intensity: int
    score: int


class ScoreFigures(Part):
    """Counts and scores of a class, or of all classes together.

    Attributes
    ----------
    nuclei, not_measurable
        All nuclei, and those without a measurement.
    negative, one, two, three
        Nuclei that are Negative, 1+, 2+, 3+.
    reason
        Why there is no score, or ``None``.
    certainty
        How sure the scores are; ``None`` in results that did not keep it.
    """

    nuclei: int
    not_measurable: int
    negative: int = Field(alias="Negative")
    one: int = Field(alias="1+")
    two: int = Field(alias="2+")
    three: int = Field(alias="3+")
    density_per_mm2: float | None
    positive_percent: float | None
    h_score: float | None
    allred: AllredFigures | None
    irs: IrsFigures | None = None
    reason: str | None
    certainty: Certainty | None = None

    @classmethod
    def of(
        cls, score: Score, *, area_mm2: float | None, certainty: Certainty | None = None
    ) -> ScoreFigures:
        """Return the figures of a score; `area_mm2` is the divisor of its density."""
        return cls(
            nuclei=score.nuclei,
            not_measurable=score.not_measurable,
            negative=score.negative,
            one=score.one,
            two=score.two,
            three=score.three,
            density_per_mm2=score.nuclei / area_mm2 if area_mm2 else None,
            positive_percent=score.positive_percent,
            h_score=score.h_score,
            allred=AllredFigures(**score.allred._asdict()) if score.allred else None,
            irs=IrsFigures(**score.irs._asdict()) if score.irs else None,
            reason=score.why_no_score,
            certainty=certainty,
        )

    @property
    def measured(self) -> int:
        """Nuclei with a measurement: the denominator of the scores."""
        return self.nuclei - self.not_measurable

    @property
    def h_score_interval(self) -> Interval | None:
        """Interval of the H-score, as far as it was kept."""
        return None if self.certainty is None else self.certainty.h_score

    @property
    def positive_percent_interval(self) -> Interval | None:
        """Interval of positive %, as far as it was kept."""
        return None if self.certainty is None else self.certainty.positive_percent

    @property
    def verdict(self) -> str | None:
        """Verdict of the nearest cut-off: "no interval" tells none; ``None`` without a cut-off."""
        near = None if self.certainty is None else self.certainty.cut_off
        return None if near is None else near.verdict or NO_INTERVAL


class RegionScores(Part):
    """Scores of a region of interest; of one that reaches beyond the slide, of the part on it.

    Attributes
    ----------
    name, class_name
        As its author called it, and its class in QuPath.
    area_mm2, tissue_area_mm2
        Its area, and that of the tissue in it if the tissue is known.
    h_scores, scores
        As in :class:`SlideScores`.
    """

    name: str
    class_name: str | None = Field(alias="class")
    area_mm2: float
    tissue_area_mm2: float | None = None
    h_scores: dict[str, float | None]
    scores: dict[str, ScoreFigures]


class HotSpot(Part):
    """A circle in which much is positive, or much of the headline class is.

    Attributes
    ----------
    x_px0, y_px0, radius_um
        Its centre in level-0 pixels, and its radius.
    area_mm2
        Its area, by which its density divides.
    figures
        Counts and scores of the headline class in it.
    """

    x_px0: float
    y_px0: float
    radius_um: float
    area_mm2: float
    figures: ScoreFigures


class HotSpots(Part):
    """The hottest circles that do not overlap, the hottest first; or why there are none.

    Attributes
    ----------
    spots
        The circles; maybe fewer than were asked for.
    reason
        Why there is none, or ``None``.
    """

    spots: tuple[HotSpot, ...]
    reason: str | None


class Headline(Part):
    """The H-score that stands first: its name, its class, and its value or why there is none."""

    name: str
    class_name: str = Field(alias="class")
    value: float | None
    reason: str | None


class SlideScores(Part):
    """Scores of a slide.

    Attributes
    ----------
    marker
        ER, PR, Ki-67, other, or ``None``.
    measurement
        What the thresholds are held against, such as "Nucleus: DAB OD mean"; ``None`` without
        nuclei.
    thresholds_od
        Where 1+, 2+ and 3+ begin.
    thresholds_origin
        "user" if somebody set them, maybe to the default values, "calibrated" if ``wsi-suite
        calibrate`` fitted them; ``None`` in results that did not keep it.
    thresholds_source
        Labels that they are calibrated on, and a hash of the calibration.
    tissue_area_mm2
        Area of the tissue, if it is known.
    scored_area_mm2
        Area that the scores stand for: the regions' union on the slide, else the tissue.
    scored_tissue_mm2
        Area of the tissue in that, by which densities divide; ``None`` if it is not known.
    ignored_area_mm2
        Area on the slide that regions of class ``Ignore*`` leave out; ``None`` without any.
    glass_dab_od, glass_rgb
        DAB that empty glass seems to hold, and its colour; ``None`` if there is no glass.
    stains
        Stains that the slide shows, against the vectors in use; ``None`` in earlier results.
    dab_uneven_share
        Share of the nuclei with DAB in which it is uneven: many in membranous and cytoplasmic
        stains; ``None`` if few hold DAB.
    quality
        Artefacts that were looked for, found and left out; ``None`` in earlier results.
    familiarity
        How far a sample of the tissue lies from what the model has seen; ``None`` in earlier
        results.
    headline
        The H-score that stands first.
    h_scores
        H-scores by their names, such as "Epithelium: H-score" and "Epithelium + Stroma: H-score".
    scores
        Figures of each class, and last of all classes together.
    regions
        Regions of interest, if some were given.
    no_verdict
        Why the slide gets no verdict, such as "the slide shows hematoxylin and eosin, not
        hematoxylin and DAB": its figures are not to be used. ``None``: it gets one.
    receptor
        Status of ER or PR by ASCO/CAP 2020, if that is the marker.
    ki67
        Ki-67 as the International Ki67 in Breast Cancer Working Group scores it, if that is the
        marker.
    hot_spots
        Hot-spots of the headline class: the densest under its name, such as "Epithelium", and those
        with the largest share of positive nuclei as "Epithelium: Positive"; empty if none were
        wanted.
    warnings
        Sentences that everybody who uses the figures should read.
    """

    marker: str | None
    measurement: str | None
    thresholds_od: tuple[float, float, float]
    thresholds_origin: ThresholdsOrigin | None = None
    thresholds_source: str | None = None
    tissue_area_mm2: float | None
    scored_area_mm2: float | None
    scored_tissue_mm2: float | None = None
    ignored_area_mm2: float | None = None
    glass_dab_od: float | None
    glass_rgb: tuple[float, float, float] | None = None
    stains: StainFigures | None = None
    dab_uneven_share: float | None = None
    quality: QualityFigures | None = None
    familiarity: Familiarity | None = None
    headline: Headline
    h_scores: dict[str, float | None]
    scores: dict[str, ScoreFigures]
    regions: tuple[RegionScores, ...]
    no_verdict: str | None = None
    receptor: ReceptorStatus | None = None
    ki67: Ki67Figures | None = None
    hot_spots: dict[str, HotSpots] = Field(default_factory=dict)
    warnings: tuple[str, ...]

    @property
    def thresholds_said(self) -> str:
        """Who chose the thresholds, in words."""
        if self.thresholds_origin == "calibrated":
            return f"calibrated on {self.thresholds_source or 'labels'}"
        words = {"user": "set by the user", "default": "defaults, not calibrated"}
        return words.get(self.thresholds_origin or "", "of unknown origin")

    @property
    def verdict(self) -> str | None:
        """Verdict of the nearest cut-off, or why there is none; ``None`` without cut-offs."""
        if self.no_verdict is not None:
            return f"no verdict: {self.no_verdict}"
        return self.scores[self.headline.class_name].verdict

    @property
    def pooled(self) -> ScoreFigures:
        """Figures of all classes together."""
        return list(self.scores.values())[-1]


def named_h_scores(scores: Mapping[str, ScoreFigures]) -> dict[str, float | None]:
    """Return H-scores by the names that QuPath gives them."""
    return {f"{name}: H-score": score.h_score for name, score in scores.items()}
