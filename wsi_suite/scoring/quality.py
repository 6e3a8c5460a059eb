"""Artefacts in the scored tissue: how much was looked at, found and left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import field_validator

from wsi_suite.documents import Part
from wsi_suite.nuclei.quality import QualityKind, SlideQuality

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_NO_TISSUE = ("pen", "stain_outside")  # they were never part of it
_IN_WORDS = {"focus": "out of focus", "folds": "folded", "bubbles": "under air bubbles"}
_HARM = {
    "focus": "where nuclei are missed and classes are doubtful",
    "folds": "where nuclei lie on nuclei and read too dense",
    "bubbles": "where nuclei are blurred, and dark at the rim",
}
_NOT_LOOKED_FOR = {
    "folds": "a version before this one did not; draw them as regions of class Ignore*",
    "bubbles": "a version before this one did not; draw them as regions of class Ignore*",
}
QUALITY_TOLD = {"focus": 0.1, "folds": 0.02, "bubbles": 0.01}
"""Share of the tissue from which an artefact is warned of, by kind."""
_MOSTLY = 0.5
_MISSED_SHARE, _MISSED_MM2 = 0.02, 0.01  # real slides: up to 0.005, and 0.002 mm2


class ArtefactFigures(Part):
    """One kind of artefact in the scored tissue.

    Attributes
    ----------
    looked_for
        Whether it was looked for; if not, `reason` says why.
    mpp
        Micrometres per pixel that it was looked for at.
    sampled_share, judged_share
        Share of the slide's tissue whose pixels were looked at, and that these stand for. For the
        rest nothing is known. `judged_share` is ``None`` for bubbles: their search sees all tissue
        and misses pale rims, so that no share of it is sure to have none.
    found_mm2, found_share
        What was found in the scored area, and its share of the tissue there with what was left
        out of it.
    excluded
        Whether it was left out of the tissue.
    """

    looked_for: bool
    mpp: float | None = None
    sampled_share: float | None = None
    judged_share: float | None = None
    found_mm2: float | None = None
    found_share: float | None = None
    excluded: bool = False
    reason: str | None = None


class QualityFigures(Part):
    """Artefacts in the scored tissue.

    Attributes
    ----------
    artefacts
        By kind: ``focus`` (out of focus), ``pen`` (strokes of a marker pen), ``stain_outside``
        (stain that lies outside the tissue, and is not scored), ``folds``, ``bubbles`` (air under
        the cover glass), and ``unreadable`` if the file is damaged in tissue. Kinds that the
        version which wrote a document did not know are there as not looked for.
    lost_mm2, lost_share
        Area that was taken out of the tissue, as ``quality.exclude`` wants or because it cannot be
        read, and its share of the tissue before.
    """

    artefacts: dict[str, ArtefactFigures]
    lost_mm2: float
    lost_share: float | None

    @field_validator("artefacts")
    @classmethod
    def _name_those_not_looked_for(
        cls, artefacts: dict[str, ArtefactFigures]
    ) -> dict[str, ArtefactFigures]:
        nothing = {
            name: ArtefactFigures(looked_for=False, reason=reason)
            for name, reason in _NOT_LOOKED_FOR.items()
        }
        return artefacts | {name: nothing[name] for name in nothing if name not in artefacts}

    @property
    def unreadable(self) -> ArtefactFigures | None:
        """Tissue that could not be read, if there is some in the scored area."""
        kind = self.artefacts.get("unreadable")
        return kind if kind is not None and kind.found_mm2 else None


def quality_figures(
    quality: SlideQuality | None,
    *,
    tissue_mm2: float | None,
    inside: BaseGeometry | None,
    ignored: BaseGeometry,
    mpp: tuple[float, float],
) -> QualityFigures | None:
    """Return the figures of artefacts.

    Parameters
    ----------
    quality
        What was found on the slide; ``None`` in results of earlier versions.
    tissue_mm2
        Area of the tissue that is scored, without what was left out.
    inside
        The regions that are scored, level-0 pixels; ``None``: the whole slide.
    ignored
        Area of the regions of class ``Ignore*``.
    mpp
        um per level-0 pixel, x and y.
    """
    if quality is None:
        return None
    from shapely.ops import unary_union

    def mm2(area: BaseGeometry) -> float:
        part = (area if inside is None else area.intersection(inside)).difference(ignored)
        return float(part.area) * mpp[0] * mpp[1] / 1e6

    lost_mm2 = mm2(unary_union(quality.excluded_areas()))
    before_mm2 = (tissue_mm2 or 0.0) + lost_mm2
    artefacts = {}
    for name, kind in quality.kinds():
        found_mm2 = mm2(kind.area())
        of_mm2 = before_mm2 + (found_mm2 if name in _NO_TISSUE else 0.0)
        artefacts[name] = _figures(
            name,
            kind,
            excluded=name == "stain_outside" or quality.is_left_out(name),
            found_mm2=found_mm2,
            of_mm2=of_mm2,
        )
    share = lost_mm2 / before_mm2 if before_mm2 else None
    return QualityFigures(artefacts=artefacts, lost_mm2=lost_mm2, lost_share=share)


def quality_warnings(figures: QualityFigures | None) -> list[str]:
    """Return a sentence for each kind that was left out, or that much of the tissue shows."""
    if figures is None:
        return []
    warnings = _unreadable_warnings(figures)
    for name, words in _IN_WORDS.items():
        kind = figures.artefacts[name]
        share = kind.found_share or 0.0
        percent = f"{100 * share:.1f} %"
        if kind.excluded and share:
            warnings.append(f"{percent} of the tissue is {words} and was left out.")
        elif share >= QUALITY_TOLD[name]:
            warnings.append(
                f"{percent} of the tissue is {words}, {_HARM[name]}: check it, or leave it out "
                f"(--set quality.exclude=[{name}])."
            )
        if share >= _MOSTLY:
            warnings.append(f"Most of the tissue is {words}: scan the slide again.")
    return warnings + _missed_warnings(figures.artefacts.get("stain_outside"))


def _missed_warnings(missed: ArtefactFigures | None) -> list[str]:
    area_mm2, share = (missed.found_mm2, missed.found_share) if missed else (None, None)
    if area_mm2 is None or share is None or area_mm2 < _MISSED_MM2 or share < _MISSED_SHARE:
        return []
    return [
        f"{area_mm2:.2f} mm2 ({100 * share:.1f} %) is stained and lies outside the tissue: nuclei "
        "there are in no score; check it on the picture (tissue.min_area_um2 keeps smaller "
        "pieces, tissue.whole_slide all)."
    ]


def mostly_bad(figures: QualityFigures | None) -> str | None:
    """Return the prevailing artefact, such as "mostly out of focus"; ``None``: none prevails."""
    if figures is None:
        return None
    shares = {words: figures.artefacts[name].found_share for name, words in _IN_WORDS.items()}
    if figures.unreadable is not None:
        shares["unreadable"] = figures.unreadable.found_share
    bad = [words for words, share in shares.items() if (share or 0.0) >= _MOSTLY]
    return f"mostly {' and '.join(bad)}" if bad else None


def _unreadable_warnings(figures: QualityFigures) -> list[str]:
    kind = figures.unreadable
    if kind is None:
        return []
    share = kind.found_share or 0.0
    warnings = [
        f"{100 * share:.1f} % of the tissue ({kind.found_mm2:.2f} mm²) cannot be read and was left "
        "out: the slide's file is damaged there (see quality.geojson). Copy the slide again, then "
        "give the same command; it reads these places again."
    ]
    if share >= _MOSTLY:
        warnings.append("Most of the tissue cannot be read: the scores do not stand for the slide.")
    return warnings


def _figures(
    name: str, kind: QualityKind, *, excluded: bool, found_mm2: float, of_mm2: float
) -> ArtefactFigures:
    if kind.mpp is None:
        return ArtefactFigures(looked_for=False, reason=kind.reason)
    return ArtefactFigures(
        looked_for=True,
        mpp=kind.mpp,
        sampled_share=kind.sampled_share,
        # Earlier versions told that all tissue was judged for bubbles.
        judged_share=None if name == "bubbles" else kind.judged_share,
        found_mm2=found_mm2,
        found_share=found_mm2 / of_mm2 if of_mm2 else None,
        excluded=excluded,
    )
