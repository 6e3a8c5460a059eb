"""Distance of a slide to its model's training data, in words."""

from __future__ import annotations

from wsi_suite.nuclei.familiarity import AspectFigures, Familiarity


def aspect_words(figures: AspectFigures) -> str:
    """Return how far a slide lies out under one aspect, such as "far (larger, 1.4)"."""
    details = [figures.differs, f"{figures.times_limit:.2g}"]
    return f"{figures.verdict} ({', '.join(filter(None, details))})"


def far_warnings(found: Familiarity | None) -> list[str]:
    """Return a warning if a slide is far from its model's training data."""
    if found is None or found.verdict != "far":
        return []
    far = sorted(
        (item for item in found.aspects.items() if item[1].verdict == "far"),
        key=lambda item: -item[1].times_limit,
    )
    named = ", ".join(
        f"{name} ({figures.differs}, {figures.times_limit:.2g})"
        if figures.differs
        else f"{name} ({figures.times_limit:.2g})"
        for name, figures in far
    )
    return [
        f"The slide is far from what the model has seen, by {named}, where 1 is the limit: check "
        "its nuclei and their classes before use."
    ]
