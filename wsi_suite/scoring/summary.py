"""Scores of a slide, and the warnings that go with them.

What is scored is settled first (:mod:`~wsi_suite.scoring.scope`), then counted by class and region,
then asked what guidelines say of it. Verdicts are withheld, and warnings told, last: they follow
from the figures alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wsi_suite.config import ScoreSettings
from wsi_suite.errors import ConfigError, did_you_mean
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.familiarity import Familiarity
from wsi_suite.nuclei.provenance import StainCheck
from wsi_suite.nuclei.quality import SlideQuality
from wsi_suite.nuclei.seen import SeenFields
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.certainty import find_certainty
from wsi_suite.scoring.certainty_words import certainty_warnings
from wsi_suite.scoring.clinical import HeadlineNuclei, hot_spots_of, ki67_of, receptor_of
from wsi_suite.scoring.evenness import uneven_share, uneven_warnings
from wsi_suite.scoring.familiarity_words import far_warnings
from wsi_suite.scoring.hscore import pooled_name, score_nuclei
from wsi_suite.scoring.intensity import Grades, grade_nuclei, intensity_measurement
from wsi_suite.scoring.quality import quality_figures, quality_warnings
from wsi_suite.scoring.receptors import controls_warning
from wsi_suite.scoring.regions import without_areas
from wsi_suite.scoring.remarks import (
    count_warnings,
    glass_warnings,
    little_tissue_warnings,
    unfamiliar_warnings,
)
from wsi_suite.scoring.scope import Rows, Scope, ScoredRegion, find_scope
from wsi_suite.scoring.slide_scores import (
    Headline,
    RegionScores,
    ScoreFigures,
    SlideScores,
    named_h_scores,
)
from wsi_suite.scoring.stain_check import stain_figures, stain_warnings
from wsi_suite.scoring.uncertainty import Grid
from wsi_suite.scoring.verdicts import no_verdict_warnings, without_verdicts

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon


def summarise(
    nuclei: Nuclei,
    settings: ScoreSettings,
    *,
    mpp: tuple[float, float],
    tissue_area_mm2: float | None,
    tissue: MultiPolygon | None = None,
    size_px0: tuple[int, int] | None = None,
    rois: Sequence[Roi] | None = None,
    glass_dab_od: float | None = None,
    glass_rgb: tuple[float, float, float] | None = None,
    stains: StainCheck | None = None,
    tissue_warnings: Sequence[str] = (),
    quality: SlideQuality | None = None,
    seen: SeenFields | None = None,
    familiarity: Familiarity | None = None,
) -> SlideScores:
    """Return the scores of a slide.

    Parameters
    ----------
    nuclei
        All nuclei of the slide, with their measurements.
    settings
        Thresholds, marker and headline class; without one the headline is of all classes.
    mpp
        um per level-0 pixel, x and y.
    tissue_area_mm2
        Area of the tissue, ``None`` where unknown.
    tissue
        Its outline, for the areas of tissue in regions; ``None`` where unknown.
    size_px0
        Width and height of the slide: a region's area beyond it does not count. ``None``: regions
        lie on the slide.
    rois
        Regions as drawn. Scored are each and their union, without those of class ``Ignore*``; all
        other tissue, if all are of that class. ``None``: the whole slide.
    glass_dab_od
        See :func:`wsi_suite.staining.glass.glass_dab_od`.
    glass_rgb
        Colour of empty glass, to name in the warning of it.
    stains
        What stains the slide shows; ``None`` if that was not looked at.
    tissue_warnings
        What the search for tissue found doubtful.
    quality
        Artefacts that were found on the slide; ``None`` if none were looked for.
    seen
        What the model was trained on; ``None`` if it does not say.
    familiarity
        How far the slide lies from that; ``None`` if that was not looked at.

    Raises
    ------
    ConfigError
        The headline class is none of the table's.
    InputError
        The table lacks a measurement of DAB.
    RegionError
        A region lies wholly in others of class ``Ignore*``.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> rgb, truth = ws.make_tile(mpp=0.5)
    >>> settings = ws.Settings().score
    >>> scores = ws.summarise(truth.nuclei, settings, mpp=(0.5, 0.5), tissue_area_mm2=0.04)
    >>> {name: round(value) for name, value in scores.h_scores.items()}
    {'Stroma: H-score': 201, 'Epithelium: H-score': 251, 'Epithelium + Stroma: H-score': 206}
    """
    scope = find_scope(
        nuclei.points,
        rois or (),
        tissue=tissue,
        tissue_area_mm2=tissue_area_mm2,
        size_px0=size_px0,
        mpp=mpp,
    )
    counted = _Counted.of(nuclei, settings, mpp=mpp)
    name = counted.headline
    figures = counted.figures(scope.rows, areas_mm2=scope.areas_mm2)
    h_score = figures[name].h_score
    scores = SlideScores(
        tissue_area_mm2=tissue_area_mm2,
        scored_area_mm2=scope.area_mm2,
        scored_tissue_mm2=scope.tissue_mm2,
        ignored_area_mm2=scope.ignored_mm2,
        glass_dab_od=glass_dab_od,
        glass_rgb=glass_rgb,
        stains=stain_figures(
            stains, nuclei, settings, class_name=name, h_score=h_score, rows=scope.rows
        ),
        dab_uneven_share=uneven_share(nuclei, rows=scope.rows),
        quality=quality_figures(
            quality,
            tissue_mm2=scope.tissue_mm2,
            inside=scope.inside if scope.parts else None,
            ignored=scope.ignored,
            mpp=mpp,
        ),
        familiarity=familiarity,
        headline=Headline(
            name=f"{name}: H-score", class_name=name, value=h_score, reason=figures[name].reason
        ),
        h_scores=named_h_scores(figures),
        scores=figures,
        regions=tuple(counted.region(part) for part in scope.parts),
        warnings=(),
        **counted.held_against(),
        **counted.clinical(scope, quality=quality),
    )
    scores = without_verdicts(scores)
    warnings = (
        *_warnings_of_slide(scores, settings, tissue_warnings=tissue_warnings),
        *_warnings_of_nuclei(scores, nuclei, scope, seen=seen, mpp=mpp),
    )
    return scores.model_copy(update={"warnings": warnings})


@dataclass(frozen=True, eq=False)
class _Counted:
    """The nuclei of a slide with their intensities, to be counted wherever it is asked for.

    Attributes
    ----------
    nuclei, grades
        ``(N,)`` nuclei and their intensity.
    settings
        Marker and cut-offs.
    mpp
        Um per level-0 pixel, x and y.
    grid
        Blocks that intervals come from.
    headline
        The class that stands first, or the joint name of all.
    """

    nuclei: Nuclei
    grades: Grades
    settings: ScoreSettings
    mpp: tuple[float, float]
    grid: Grid
    headline: str

    @classmethod
    def of(cls, nuclei: Nuclei, settings: ScoreSettings, *, mpp: tuple[float, float]) -> _Counted:
        headline = _headline_class(settings, classes=nuclei.classes)
        grades = grade_nuclei(nuclei, settings.thresholds_od)
        return cls(nuclei, grades, settings, mpp, Grid.of(nuclei.points, mpp=mpp), headline)

    def figures(
        self, rows: Rows | None, *, areas_mm2: tuple[float | None, float | None]
    ) -> dict[str, ScoreFigures]:
        """Return figures by class; densities divide by the tissue's area, else by the whole."""
        certainty = find_certainty(
            self.nuclei, self.grades, grid=self.grid, settings=self.settings, rows=rows
        )
        whole_mm2, tissue_mm2 = areas_mm2
        area_mm2 = whole_mm2 if tissue_mm2 is None else tissue_mm2
        return {
            name: ScoreFigures.of(score, area_mm2=area_mm2, certainty=certainty[name])
            for name, score in score_nuclei(self.nuclei, self.grades, rows=rows).items()
        }

    def region(self, part: ScoredRegion) -> RegionScores:
        """Return the scores of a region."""
        figures = self.figures(part.rows, areas_mm2=part.areas_mm2)
        return RegionScores(
            name=part.roi.name,
            class_name=part.roi.class_name,
            area_mm2=part.areas_mm2[0],
            tissue_area_mm2=part.areas_mm2[1],
            h_scores=named_h_scores(figures),
            scores=figures,
        )

    def held_against(self) -> dict[str, Any]:
        """Return the fields of scores that name the measurement and its thresholds."""
        settings, nuclei = self.settings, self.nuclei
        return {
            "marker": settings.marker,
            "measurement": intensity_measurement(nuclei.measurements) if len(nuclei) else None,
            "thresholds_od": settings.thresholds_od,
            "thresholds_origin": settings.thresholds_origin,
            "thresholds_source": settings.thresholds_source,
        }

    def clinical(self, scope: Scope, *, quality: SlideQuality | None) -> dict[str, Any]:
        """Return the fields of scores that guidelines ask for, and hot-spots, of the headline."""
        nuclei = HeadlineNuclei.of(
            self.nuclei, self.grades, name=self.headline, rows=scope.rows, mpp=self.mpp
        )
        left_out = () if quality is None else quality.excluded_areas()
        inside = without_areas(scope.inside, left_out)
        hot_spots = hot_spots_of(nuclei, self.settings, inside=inside)
        return {
            "receptor": receptor_of(nuclei, self.settings),
            "ki67": ki67_of(nuclei, self.settings, hot_spots=hot_spots),
            "hot_spots": hot_spots,
        }


def _headline_class(settings: ScoreSettings, *, classes: tuple[str, ...]) -> str:
    wanted, known = settings.headline_class, (*classes, pooled_name(classes))
    if wanted is None:
        return pooled_name(classes)
    if wanted not in known:
        hint = did_you_mean(wanted, known)
        raise ConfigError(
            f"score.headline_class = '{wanted}': expected one of {', '.join(known)}{hint}"
        )
    return wanted


def _warnings_of_slide(
    scores: SlideScores, settings: ScoreSettings, *, tissue_warnings: Sequence[str]
) -> Iterator[str]:
    """Yield warnings of the slide, its stain and the settings."""
    yield from no_verdict_warnings(scores)
    yield from little_tissue_warnings(scores)
    yield from tissue_warnings
    yield from quality_warnings(scores.quality)
    yield from stain_warnings(scores.stains, has_tissue=scores.scored_tissue_mm2 != 0)
    yield from uneven_warnings(scores.dab_uneven_share)
    yield from count_warnings(scores.pooled, settings)
    yield from glass_warnings(scores.glass_dab_od, scores.glass_rgb)


def _warnings_of_nuclei(
    scores: SlideScores,
    nuclei: Nuclei,
    scope: Scope,
    *,
    seen: SeenFields | None,
    mpp: tuple[float, float],
) -> Iterator[str]:
    """Yield warnings of the nuclei, and of the certainty of the headline."""
    parts = [(part.roi.name, nuclei.take(part.rows)) for part in scope.parts]
    far = far_warnings(scores.familiarity)  # says more than that fields are unlike
    yield from far or unfamiliar_warnings(nuclei, scope.rows, regions=parts, seen=seen, mpp=mpp)
    if scores.receptor is not None:
        yield from controls_warning(scores.receptor)
    name = scores.headline.class_name
    yield from certainty_warnings(name, scores.scores[name], regions=scores.regions)
