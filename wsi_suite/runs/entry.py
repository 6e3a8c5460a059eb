"""A slide of a batch and the settings of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wsi_suite.config import Settings


@dataclass(frozen=True)
class Entry:
    """A slide of a batch, with its facts from a manifest; ``None`` where there is none.

    Attributes
    ----------
    slide
        The slide's file; for ``detect`` the folder with its tiles.
    mpp, marker
        Its settings ``mpp`` and ``score.marker``, which go over those of the batch.
    rois
        A GeoJSON file of its regions of interest, which goes over that of the batch.
    case
        The case or patient it belongs to, for ``summary.csv``.
    """

    slide: Path
    mpp: float | None = None
    marker: Literal["ER", "PR", "Ki-67", "other"] | None = None
    rois: Path | None = None
    case: str | None = None

    def over(self, settings: Settings) -> Settings:
        """Return the settings of a batch with those of the slide over them."""
        mpp = settings.mpp if self.mpp is None else self.mpp
        score = settings.score
        if self.marker is not None:
            score = score.model_copy(update={"marker": self.marker})
        return settings.model_copy(update={"mpp": mpp, "score": score})
