"""``hotspots.geojson``: hot-spots and the fields of Ki-67 as annotations for QuPath."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wsi_suite.analysis.summary import Summary
from wsi_suite.nuclei.provenance import Provenance
from wsi_suite.qupath.annotations import Annotation, write_annotations
from wsi_suite.qupath.objects import PathClass, origin_of
from wsi_suite.runs.folder import HOT_SPOTS_NAME
from wsi_suite.scoring.slide_scores import HotSpot
from wsi_suite.scoring.verdicts import marked

_HOT_SPOT_COLOUR = (200, 120, 20)  # QuPath's own of the class Hotspot
_FIELD = PathClass("Ki-67 field", (40, 120, 160))


def write_hot_spots(folder: Path, summary: Summary, *, provenance: Provenance) -> None:
    """Write ``hotspots.geojson``; where there are no hot-spots it is an empty collection.

    The annotations tell that they are ours, so that none is taken for a region of interest. Those
    of a slide without a verdict are marked in their names and in those of their scores.
    """
    write_annotations(
        [*_hot_spots(summary, mpp=provenance.mpp), *_fields(summary)],
        folder / HOT_SPOTS_NAME,
        origin=origin_of(provenance.as_json()),
    )


def _hot_spots(summary: Summary, *, mpp: tuple[float, float]) -> Iterator[Annotation]:
    for name, found in summary.hot_spots.items():
        path_class = PathClass(f"{name}: Hotspot", _HOT_SPOT_COLOUR)
        for number, spot in enumerate(found.spots, 1):
            title = marked(f"Hotspot {number} ({name})", summary)
            yield _circle(spot, title, path_class=path_class, mpp=mpp, summary=summary)


def _circle(
    spot: HotSpot,
    name: str,
    *,
    path_class: PathClass,
    mpp: tuple[float, float],
    summary: Summary,
) -> Annotation:
    width, height = spot.radius_um / mpp[0], spot.radius_um / mpp[1]
    return Annotation(
        name,
        path_class,
        left=spot.x_px0 - width,
        top=spot.y_px0 - height,
        right=spot.x_px0 + width,
        bottom=spot.y_px0 + height,
        is_ellipse=True,
        measurements=_measurements(spot, summary),
    )


def _measurements(spot: HotSpot, summary: Summary) -> dict[str, float]:
    figures = spot.figures
    values = {
        "wsi-suite: nuclei": figures.nuclei,
        marked("wsi-suite: Positive %", summary): figures.positive_percent,
        marked("wsi-suite: H-score", summary): figures.h_score,
        "wsi-suite: nuclei per mm^2": figures.density_per_mm2,
    }
    return {name: round(value, 4) for name, value in values.items() if value is not None}


def _fields(summary: Summary) -> Iterator[Annotation]:
    for number, field in enumerate(summary.ki67.fields if summary.ki67 else (), 1):
        yield Annotation(
            f"Ki-67 field {number} ({field.level})",
            _FIELD,
            left=field.x_px0,
            top=field.y_px0,
            right=field.x_px0 + field.width_px0,
            bottom=field.y_px0 + field.height_px0,
            measurements={
                "wsi-suite: nuclei": field.nuclei,
                "wsi-suite: Positive %": round(field.positive_percent, 4),
            },
        )
