"""``quality.geojson``: artefacts of a slide as annotations for QuPath."""

from __future__ import annotations

from pathlib import Path

from wsi_suite.nuclei.provenance import Provenance
from wsi_suite.nuclei.quality import SlideQuality
from wsi_suite.qupath.annotations import Annotation, write_annotations
from wsi_suite.qupath.objects import PathClass, origin_of
from wsi_suite.runs.folder import QUALITY_NAME

_NAMES = {
    "focus": "Out of focus",
    "pen": "Pen",
    "folds": "Fold",
    "bubbles": "Air bubble",
    "stain_outside": "Stain outside the tissue",
    "unreadable": "Unreadable",
}
_COLOUR = (150, 60, 150)
_IGNORED = PathClass("Ignore*", (180, 180, 180))  # QuPath's own


def write_quality(folder: Path, *, provenance: Provenance) -> None:
    """Write ``quality.geojson``, one annotation a kind; an empty collection if none was found.

    What counts as tissue is of a class of its own, what was left out of class ``Ignore*``. The
    annotations tell that they are ours, so that none is taken for a region of interest.
    """
    quality = provenance.quality
    write_annotations(
        [] if quality is None else _annotations(quality),
        folder / QUALITY_NAME,
        origin=origin_of(provenance.as_json()),
    )


def _annotations(quality: SlideQuality) -> list[Annotation]:
    annotations = []
    for kind, found in quality.kinds():
        area = found.area()
        if not area.is_empty:
            left, top, right, bottom = area.bounds
            ignored = quality.is_left_out(kind)
            annotations.append(
                Annotation(
                    _NAMES[kind],
                    _IGNORED if ignored else PathClass(_NAMES[kind], _COLOUR),
                    left=left,
                    top=top,
                    right=right,
                    bottom=bottom,
                    area=area,
                )
            )
    return annotations
