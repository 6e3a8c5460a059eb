"""Quality of a slide, as ``slide.json`` and the metadata of a table of nuclei hold it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from wsi_suite.config import Artefact
from wsi_suite.documents import Part

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon


class QualityKind(Part):
    """Result of the search for one kind of artefact; or why it was not looked for.

    Attributes
    ----------
    mpp
        Micrometres per pixel that it was looked for at; ``None``: it was not looked for.
    sampled_share
        Share of the tissue whose pixels were looked at.
    judged_share
        Share of the tissue that these stand for; ``None`` for air bubbles, where it is not known.
    wkt, unjudged_wkt
        Outlines of what was found and of the tissue that was not judged, level-0 pixels.
    reason
        Why it was not looked for.
    """

    mpp: float | None = None
    sampled_share: float | None = None
    judged_share: float | None = None
    wkt: str | None = None
    unjudged_wkt: str | None = None
    reason: str | None = None

    def area(self) -> MultiPolygon:
        """Return the area of the artefact, level-0 pixels; maybe empty."""
        return _area(self.wkt)

    def unjudged_area(self) -> MultiPolygon:
        """Return the tissue that was not judged, level-0 pixels; maybe empty, or not known."""
        return _area(self.unjudged_wkt)


class SlideQuality(Part):
    """Artefacts of a slide.

    Attributes
    ----------
    focus, pen
        What was found of each kind.
    folds, bubbles, stain_outside
        Folded tissue, tissue under air bubbles, and stain outside the tissue; ``None`` in results
        of earlier versions.
    excluded
        Kinds that were taken out of the tissue.
    unreadable
        Tissue that cannot be read, which is always taken out; ``None`` if there is none.
    """

    focus: QualityKind
    pen: QualityKind
    folds: QualityKind | None = None
    bubbles: QualityKind | None = None
    stain_outside: QualityKind | None = None
    excluded: tuple[Artefact, ...] = ()
    unreadable: QualityKind | None = None

    def kinds(self) -> Iterator[tuple[str, QualityKind]]:
        """Yield the name and the finding of each kind of artefact."""
        yield "focus", self.focus
        yield "pen", self.pen
        if self.unreadable is not None:
            yield "unreadable", self.unreadable
        if self.folds is not None:
            yield "folds", self.folds
        if self.bubbles is not None:
            yield "bubbles", self.bubbles
        if self.stain_outside is not None:
            yield "stain_outside", self.stain_outside

    def is_left_out(self, kind: str) -> bool:
        """Return whether a kind is not part of the tissue."""
        return kind in ("pen", "unreadable") or kind in self.excluded

    def excluded_areas(self) -> list[MultiPolygon]:
        """Return the areas taken out of the tissue, level-0 pixels."""
        return [
            found.area()
            for kind, found in self.kinds()
            if kind != "pen" and self.is_left_out(kind)  # pen was no tissue before, either
        ]


def _area(wkt: str | None) -> MultiPolygon:
    from shapely import from_wkt

    return cast("MultiPolygon", from_wkt(wkt or "MULTIPOLYGON EMPTY"))
