"""Scores of a slide, and the warnings that go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from wsi_suite.config import ScoreSettings
from wsi_suite.errors import ConfigError, did_you_mean
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.provenance import StainCheck
from wsi_suite.nuclei.quality import SlideQuality
from wsi_suite.nuclei.seen import SeenFields
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.certainty import Certainty, find_certainty
from wsi_suite.scoring.certainty_words import certainty_warnings
from wsi_suite.scoring.clinical import HeadlineNuclei, hot_spots_of, ki67_of, receptor_of
from wsi_suite.scoring.evenness import uneven_share, uneven_warnings
from wsi_suite.scoring.hscore import Score, pooled_name, score_nuclei
from wsi_suite.scoring.intensity import grade_nuclei, intensity_measurement
from wsi_suite.scoring.quality import quality_figures, quality_warnings
from wsi_suite.scoring.receptors import controls_warning
from wsi_suite.scoring.remarks import (
    count_warnings,
    glass_warnings,
    little_tissue_warnings,
    unfamiliar_warnings,
)
from wsi_suite.scoring.scope import ScoredRegion, find_scope
from wsi_suite.scoring.slide_scores import (
    Headline,
    RegionScores,
    ScoreFigures,
    SlideScores,
    named_h_scores,
)
from wsi_suite.scoring.stain_check import stain_figures, stain_warnings
from wsi_suite.scoring.uncertainty import Grid

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

    Raises
    ------
    ConfigError
        The headline class is none of the table's.
    InputError
        The table lacks a measurement of DAB.
    RegionError
        A region lies wholly in others of class ``Ignore*``.
    """
    headline = _headline_class(settings, classes=nuclei.classes)
    grades = grade_nuclei(nuclei, settings.thresholds_od)
    sure = partial(
        find_certainty, nuclei, grades, grid=Grid.of(nuclei.points, mpp=mpp), settings=settings
    )
    scope = find_scope(
        nuclei.points,
        rois or (),
        tissue=tissue,
        tissue_area_mm2=tissue_area_mm2,
        size_px0=size_px0,
        mpp=mpp,
    )
    regions = [
        _region(
            part,
            score_nuclei(nuclei, grades, rows=part.rows),
            certainty=sure(rows=part.rows),
        )
        for part in scope.parts
    ]
    scored = scope.rows
    scores = score_nuclei(nuclei, grades, rows=scored)
    receptor = receptor_of(scores[headline], settings, class_name=headline)
    of_headline = HeadlineNuclei.of(nuclei, grades, name=headline, rows=scored, mpp=mpp)
    hot_spots = hot_spots_of(of_headline, settings, inside=scope.inside)
    figures = _figures(scores, areas_mm2=scope.areas_mm2, certainty=sure(rows=scored))
    uneven = uneven_share(nuclei, rows=scored)
    in_parts = [(part.roi.name, nuclei.take(part.rows)) for part in scope.parts]
    shown = stain_figures(
        stains,
        nuclei,
        settings,
        class_name=headline,
        h_score=scores[headline].h_score,
        rows=scored,
    )
    found = quality_figures(
        quality,
        tissue_mm2=scope.tissue_mm2,
        inside=scope.inside if scope.parts else None,
        ignored=scope.ignored,
        mpp=mpp,
    )
    return SlideScores(
        marker=settings.marker,
        measurement=intensity_measurement(nuclei.measurements) if len(nuclei) else None,
        thresholds_od=settings.thresholds_od,
        thresholds_origin=settings.thresholds_origin,
        thresholds_source=settings.thresholds_source,
        tissue_area_mm2=tissue_area_mm2,
        scored_area_mm2=scope.area_mm2,
        scored_tissue_mm2=scope.tissue_mm2,
        ignored_area_mm2=scope.ignored_mm2,
        glass_dab_od=glass_dab_od,
        glass_rgb=glass_rgb,
        stains=shown,
        dab_uneven_share=uneven,
        quality=found,
        headline=Headline(
            name=f"{headline}: H-score",
            class_name=headline,
            value=scores[headline].h_score,
            reason=scores[headline].why_no_score,
        ),
        h_scores=named_h_scores(scores),
        scores=figures,
        regions=tuple(regions),
        receptor=receptor,
        ki67=ki67_of(of_headline, settings, hot_spots=hot_spots),
        hot_spots=hot_spots,
        warnings=(
            *little_tissue_warnings(scope.tissue_mm2, regions),
            *tissue_warnings,
            *quality_warnings(found),
            *stain_warnings(shown, has_tissue=scope.tissue_mm2 != 0),
            *uneven_warnings(uneven),
            *unfamiliar_warnings(nuclei, scored, regions=in_parts, seen=seen, mpp=mpp),
            *count_warnings(scores[pooled_name(nuclei.classes)], settings),
            *glass_warnings(glass_dab_od, glass_rgb),
            *(controls_warning(receptor) if receptor else ()),
            *certainty_warnings(headline, figures[headline], regions=regions),
        ),
    )


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


def _region(
    part: ScoredRegion, scores: Mapping[str, Score], *, certainty: Mapping[str, Certainty]
) -> RegionScores:
    return RegionScores(
        name=part.roi.name,
        class_name=part.roi.class_name,
        area_mm2=part.areas_mm2[0],
        tissue_area_mm2=part.areas_mm2[1],
        h_scores=named_h_scores(scores),
        scores=_figures(scores, areas_mm2=part.areas_mm2, certainty=certainty),
    )


def _figures(
    scores: Mapping[str, Score],
    *,
    areas_mm2: tuple[float | None, float | None],
    certainty: Mapping[str, Certainty],
) -> dict[str, ScoreFigures]:
    """Return figures by class; densities divide by the tissue's area, else by the whole area."""
    whole_mm2, tissue_mm2 = areas_mm2
    area_mm2 = whole_mm2 if tissue_mm2 is None else tissue_mm2
    return {
        name: ScoreFigures.of(score, area_mm2=area_mm2, certainty=certainty[name])
        for name, score in scores.items()
    }
