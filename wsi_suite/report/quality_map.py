"""Artefacts on the map of a slide, and a key that also names kinds that were not looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shapely.geometry import MultiPolygon

from wsi_suite.nuclei.quality import QualityKind, SlideQuality
from wsi_suite.report.words import percentage
from wsi_suite.scoring.quality import ArtefactFigures, QualityFigures

_TITLES = {
    "focus": "Out of focus",
    "pen": "Pen",
    "stain_outside": "Stain outside the tissue",
    "folds": "Folds",
    "bubbles": "Bubbles",
}


FEW_JUDGED = 0.5
"""Share of the tissue: if less of it could be judged, that nothing was found says little."""
BUBBLES_SEEN = "All tissue was looked at for dark rims that close, 76 µm across and more"
"""What the search for air bubbles can see."""
OFTEN_MISSED = {
    "folds": "About half of all folds are found: that none is, is weak evidence.",
    "bubbles": (
        "Pale ones are missed, and most in tissue full of DAB: that none is found is weak evidence."
    ),
}
"""What to say of kinds of which none was found, as measured in ``docs/scoring.md``."""


@dataclass(frozen=True)
class ShownKind:
    """A kind of artefact on the map.

    Attributes
    ----------
    name, title
        As in ``summary.json``, and for people.
    path
        Of its outline, level-0 pixels; an empty text if none was found.
    verdict, text
        What is known of it: in a few words, and the rest as a sentence.
    """

    name: str
    title: str
    path: str
    verdict: str
    text: str


@dataclass(frozen=True)
class QualityMap:
    """Artefacts of a slide.

    Attributes
    ----------
    kinds
        All kinds, in the order of ``summary.json``, those that were not looked for among them.
    unjudged
        Path of the outline of tissue whose focus could not be judged, or an empty text.
    """

    kinds: tuple[ShownKind, ...]
    unjudged: str


def show_quality(
    quality: SlideQuality | None,
    figures: QualityFigures | None,
    *,
    draw: Callable[[MultiPolygon], str],
) -> QualityMap | None:
    """Return the artefacts of a slide; ``None`` for results of versions that looked for none.

    Parameters
    ----------
    quality
        What was found on the slide.
    figures
        How much of it lies in what is scored.
    draw
        Returns the path of an area in level-0 pixels.
    """
    if quality is None or figures is None:
        return None
    found = dict(quality.kinds())
    nothing = QualityKind()
    kinds = tuple(
        ShownKind(
            name,
            _TITLES.get(name, name.capitalize()),
            draw(found.get(name, nothing).area()),
            *_in_words(name, kind, anywhere=not found.get(name, nothing).area().is_empty),
        )
        for name, kind in figures.artefacts.items()
    )
    return QualityMap(kinds, draw(quality.focus.unjudged_area()))


def _in_words(name: str, figures: ArtefactFigures, *, anywhere: bool) -> tuple[str, str]:
    """Return the finding of a kind of artefact: in a few words, and the rest as a sentence."""
    if not figures.looked_for:
        return "not looked for", _sentence(figures.reason or "no reason is known")
    judged = ""
    if figures.judged_share is not None and figures.judged_share < 1:
        judged = f" {percentage(100 * figures.judged_share)} of the tissue could be judged."
    if name == "bubbles":
        judged = f" {BUBBLES_SEEN}."
    place = f"Looked for at {figures.mpp:.3g} µm per pixel.{judged}"
    if not anywhere:
        few = figures.judged_share is not None and figures.judged_share < FEW_JUDGED
        weak = f" {OFTEN_MISSED[name]}" if name in OFTEN_MISSED else ""
        return "hardly judged" if few else "none found", place + weak
    if not figures.found_mm2:
        return "none in what is scored", place
    if name == "stain_outside":
        return f"{figures.found_mm2:.3g} mm², not scored", place
    counts = "left out" if figures.excluded else "scored, too"
    return f"{percentage(100 * (figures.found_share or 0.0))} of the tissue, {counts}", place


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
