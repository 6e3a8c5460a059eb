"""The hot-spots of a slide as its page shows them, in a table and on the map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wsi_suite.analysis.summary import Summary
from wsi_suite.scoring.slide_scores import ScoreFigures


@dataclass(frozen=True)
class ShownSpot:
    """A hot-spot in the table and on the map.

    Attributes
    ----------
    name
        Of the spot, such as "H1".
    kind
        What there is much of.
    x, y, radius
        Level-0 pixels.
    radius_um
        The same in um.
    figures
        Of the class of the headline in it.
    """

    name: str
    kind: str
    x: float
    y: float
    radius: float
    radius_um: float
    figures: ScoreFigures


def hot_spots_of(summary: Summary, *, mpp: tuple[float, float]) -> list[ShownSpot]:
    """Return the hot-spots of a slide, those with the largest share of positive nuclei first."""
    return [
        ShownSpot(
            name=f"{letter}{number}",
            kind=kind,
            x=spot.x_px0,
            y=spot.y_px0,
            radius=spot.radius_um / mpp[0],
            radius_um=spot.radius_um,
            figures=spot.figures,
        )
        for letter, kind, name in _kinds(summary)
        for number, spot in enumerate(summary.hot_spots[name].spots, start=1)
    ]


def no_hot_spots(summary: Summary) -> list[str]:
    """Return why there are no hot-spots of a kind."""
    return [
        f"{kind}: {summary.hot_spots[name].reason}"
        for _, kind, name in _kinds(summary)
        if summary.hot_spots[name].reason
    ]


def _kinds(summary: Summary) -> Iterator[tuple[str, str, str]]:
    """Yield letter, words and key of the kinds of hot-spots that a summary holds."""
    name = summary.headline.class_name
    for letter, kind, key in (
        ("P", "positive nuclei", f"{name}: Positive"),
        ("D", "density", name),
    ):
        if key in summary.hot_spots:
            yield letter, kind, key
