"""Output files of a run: table, GeoJSON, summary, hot-spots and picture."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.results import Results, summary_of
from wsi_suite.analysis.summary import Summary, write_summary
from wsi_suite.errors import OutputError
from wsi_suite.files import move_files
from wsi_suite.geometry import Box, Roi, Scale
from wsi_suite.nuclei.parquet import write_nuclei
from wsi_suite.overview import Caption, draw_overview
from wsi_suite.patience import with_patience
from wsi_suite.qupath.geojson import geojson_parts, write_geojson
from wsi_suite.qupath.objects import circle_radius_px0, origin_of
from wsi_suite.runs.folder import NUCLEI_NAME, OVERVIEW_NAME, TABLE_NAME
from wsi_suite.runs.hot_spot_file import write_hot_spots
from wsi_suite.runs.quality_file import write_quality
from wsi_suite.scoring.certainty_words import with_interval
from wsi_suite.scoring.intensity import grade_nuclei
from wsi_suite.scoring.regions import is_ignored
from wsi_suite.scoring.verdicts import NOT_TO_BE_USED, shown_intensities
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.store import TileStore
from wsi_suite.slides.store_layout import writing

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon

OVERVIEW_PX = 2000


def write_results(
    results: Results,
    folder: Path,
    *,
    slide: Path | None,
    store: TileStore | None,
    staging: Path,
) -> Summary:
    """Write all results of a slide and return the summary.

    They get their names together, once all are written.

    Parameters
    ----------
    results
        What to write.
    folder
        Where it goes.
    slide
        The slide to draw; without it the picture is drawn from `store`.
    store
        The tiles, if they are kept.
    staging
        A folder on the same disk that is made and filled first. Removing it, or the one that it is
        in, takes the right to write from whoever still uses it.
    """
    with writing(folder):
        staging.mkdir(exist_ok=True)
    try:
        summary = _write_files(results, staging, slide=slide, store=store)
    except OutputError as error:  # the user knows the place, not where files wait for their names
        message = str(error).replace(str(staging), str(folder))
        raise type(error)(message) from error.__cause__
    earlier = geojson_parts(folder / NUCLEI_NAME)
    names = {path.name for path in geojson_parts(staging / NUCLEI_NAME)}
    move_files(staging, folder)
    for part in earlier:
        if part.name not in names:
            part.unlink(missing_ok=True)
    return summary


def _write_files(
    results: Results, folder: Path, *, slide: Path | None, store: TileStore | None
) -> Summary:
    nuclei, provenance = results.nuclei, results.provenance.as_json()
    grades = grade_nuclei(nuclei, results.settings.score.thresholds_od)
    write_nuclei(nuclei, folder / TABLE_NAME, intensity=grades, metadata=provenance)
    summary = summary_of(results)
    write_geojson(
        nuclei,
        folder / NUCLEI_NAME,
        grades=shown_intensities(grades, summary.no_verdict),
        radius_px0=circle_radius_px0(provenance),
        origin=origin_of(provenance),
    )
    write_summary(folder, summary)
    write_hot_spots(folder, summary, provenance=results.provenance)
    write_quality(folder, provenance=results.provenance)
    _draw(results, folder / OVERVIEW_NAME, grades, summary, slide=slide, store=store)
    return summary


def _draw(
    results: Results,
    path: Path,
    grades: npt.NDArray[np.uint8],
    summary: Summary,
    *,
    slide: Path | None,
    store: TileStore | None,
) -> None:
    facts = results.facts
    draw = partial(
        draw_overview,
        path,
        mpp=facts.mpp,
        nuclei=results.nuclei,
        grades=grades,
        caption=_caption(summary, facts),
        tissue=facts.tissue,
        rois=[_named(roi) for roi in results.rois or ()],
        hot_spots=_hot_spots(summary, mpp=facts.mpp),
        artefacts=_hatched(facts),
        solid_class=_solid_class(results),
    )
    if slide is not None:

        def draw_slide() -> None:
            with open_slide(slide, mpp=results.settings.mpp, mend=True) as opened:
                thumbnail, scale = opened.thumbnail(OVERVIEW_PX)
                draw(thumbnail=thumbnail, scale=scale, read=partial(opened.read_level, 0))

        timeout_s = 60 * results.settings.run.read_timeout_min
        with_patience(draw_slide, path=slide, timeout_s=timeout_s)
    else:
        assert store is not None
        thumbnail, scale = stored_thumbnail(store, facts)
        draw(thumbnail=thumbnail, scale=scale, read=partial(read_enlarged, store, facts=facts))


def _hatched(facts: SlideFacts) -> list[MultiPolygon]:
    """Return the areas to hatch: artefacts and unreadable area."""
    if facts.quality is None:
        return []
    quality = facts.quality
    kinds = (quality.focus, quality.folds, quality.bubbles, quality.unreadable)
    return [kind.area() for kind in kinds if kind is not None]


def _named(roi: Roi) -> Roi:
    """Return a region whose name says if it is left out."""
    return replace(roi, name=f"{roi.name} (ignored)") if is_ignored(roi) else roi


def _hot_spots(summary: Summary, *, mpp: tuple[float, float]) -> list[Roi]:
    """Return the hot-spots of positive nuclei as regions to draw."""
    from shapely import MultiPolygon, Point
    from shapely.affinity import scale

    found = summary.hot_spots.get(f"{summary.headline.class_name}: Positive")
    circles = [
        scale(Point(spot.x_px0, spot.y_px0).buffer(spot.radius_um), 1 / mpp[0], 1 / mpp[1])
        for spot in (found.spots if found else ())
    ]
    return [
        Roi(f"hot-spot {number}", None, MultiPolygon([circle]))
        for number, circle in enumerate(circles, 1)
    ]


def _solid_class(results: Results) -> str | None:
    """Return the class whose outlines are drawn through; none if the headline is of all classes."""
    headline = results.settings.score.headline_class
    return headline if headline in results.nuclei.classes else None


def stored_thumbnail(store: TileStore, facts: SlideFacts) -> tuple[npt.NDArray[np.uint8], Scale]:
    """Return the level of a store that is nearest above the picture's size, and its scale."""
    sizes = store.layout.sizes
    fitting = [n for n, size in enumerate(sizes) if max(size) >= OVERVIEW_PX / 2]
    width, height = sizes[level := (fitting or [0])[-1]]
    pixels = store.read(Box(0, 0, width, height), level=level)
    return pixels, Scale(facts.scale.x * 2**level, facts.scale.y * 2**level)


def read_enlarged(store: TileStore, box: Box, *, facts: SlideFacts) -> npt.NDArray[np.uint8]:
    """Return level-0 pixels of a box, as well as stored tiles can tell."""
    x = ((np.arange(box.x, box.right) + 0.5) / facts.scale.x).astype(int)
    y = ((np.arange(box.y, box.bottom) + 0.5) / facts.scale.y).astype(int)
    part = Box(int(x[0]), int(y[0]), int(x[-1] - x[0]) + 1, int(y[-1] - y[0]) + 1)
    pixels: npt.NDArray[np.uint8] = store.read(part)[np.ix_(y - part.y, x - part.x)]
    return pixels


def _caption(summary: Summary, facts: SlideFacts) -> Caption:
    headline = summary.headline
    name, value = headline.class_name, headline.value
    figures = summary.scores[name]
    percent = with_interval(
        figures.positive_percent,
        figures.positive_percent_interval,
        highest=100,
        digits=1,
        unit=" %",
    )
    h_score = with_interval(value, figures.h_score_interval, highest=300, digits=0)
    mark = "" if summary.no_verdict is None else f", {NOT_TO_BE_USED}"
    area = summary.scored_tissue_mm2
    assert area is not None, "a run knows the area of its tissue"
    detail = name if percent is None else f"{name}, {percent} positive"
    return Caption(
        title=facts.name,
        headline="No H-score" if h_score is None else f"H-score {h_score}{mark}",
        detail=f"{name}: {headline.reason}" if h_score is None else detail,
        facts=(
            f"{area:.3g} mm² of tissue{' in regions' if summary.regions else ''}",
            f"marker: {summary.marker or 'not set'}",
            _thresholds(summary),
            f"model {summary.model.name}",
            f"{facts.mpp[0]:.3g} µm per pixel, read at {facts.working_mpp[0]:.3g}",
        ),
        warnings=summary.warnings,
    )


def _thresholds(summary: Summary) -> str:
    values = " / ".join(f"{value:g}" for value in summary.thresholds_od)
    said = summary.thresholds_said
    if summary.thresholds_origin == "calibrated":  # a long name of labels has no room there
        said = "calibrated"
    return f"thresholds {values} ({said})"
