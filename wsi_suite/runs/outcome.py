"""Outcome of one slide of a batch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.analysis.summary import Summary
from wsi_suite.errors import WsiSuiteError
from wsi_suite.runs.state import State

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a slide ended.

    Attributes
    ----------
    slide
        Its file; for ``detect`` the folder with its tiles.
    folder
        Where its results are.
    state
        ``DONE``, ``TILED`` or ``FAILED``.
    summary
        Its scores, as ``summary.json`` holds them, if it was scored.
    error
        Why it failed.
    case
        The case it belongs to; ``None`` if no manifest says so.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> outcome = ws.run_slide("slides/B12_ER.svs", out="results", settings="lab.yaml")
    >>> outcome.state.value, outcome.folder.name
    ('done', 'B12_ER')
    >>> outcome.summary.headline.name, round(outcome.summary.headline.value)
    ('Epithelium: H-score', 243)
    """

    slide: Path
    folder: Path | None
    state: State
    summary: Summary | None = None
    error: WsiSuiteError | None = None
    case: str | None = None

    def __repr__(self) -> str:
        from wsi_suite.runs.card import in_words

        return in_words(self)

    def _repr_html_(self) -> str:
        from wsi_suite.runs.card import as_card

        return as_card(self)

    @property
    def is_partial(self) -> bool:
        """Whether some of the tissue could not be read, so that the scores lack it."""
        quality = None if self.summary is None else self.summary.quality
        return quality is not None and quality.unreadable is not None


class Outcomes(list[Outcome]):
    """How the slides of a batch ended: a list, which notebooks show as a table."""

    def _repr_html_(self) -> str:
        from wsi_suite.runs.card import as_table

        return as_table(self)


Tell = Callable[[Outcome | WsiSuiteError | str], None]
"""Callback of a batch. It receives the outcome of each slide as it ends, errors of the batch as a
whole, such as of its table, and remarks."""


def log_errors(news: Outcome | WsiSuiteError | str) -> None:
    """Log remarks and errors of a batch as a whole; outcomes are returned at the end anyway."""
    if isinstance(news, WsiSuiteError):
        log.warning("%s", news)
    elif isinstance(news, str):
        log.info("%s", news)
