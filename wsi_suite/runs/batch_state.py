"""State of a batch while it runs: its slides, and the blocks that they are cut into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from wsi_suite.analysis.blocks import SlideJob
from wsi_suite.errors import WsiSuiteError
from wsi_suite.progress import Meter
from wsi_suite.runs.cluster import Cluster
from wsi_suite.runs.outcome import Outcome, Tell
from wsi_suite.runs.probing import Check
from wsi_suite.runs.request import Request
from wsi_suite.runs.run_plan import SlideRun
from wsi_suite.runs.sharing import Sharing
from wsi_suite.runs.staging import Staging
from wsi_suite.slides.grid import Block


@dataclass
class Batch:
    """State of a batch.

    Attributes
    ----------
    cluster
        Where blocks are done.
    finisher
        A thread that writes the results of slides while others are being done.
    locks
        Unlocks the folders at the end, whatever happens.
    meter
        Working pixels done and in all, by slide.
    tell
        Receives outcomes as slides end.
    outcomes
        How slides ended, by their file.
    stopped
        Set if nothing more can be done: returns the error of a slide, by how far it has come
        ("stopped", "not begun").
    sharing
        Set if other processes do slides of the same batch.
    staging
        Set if slides are copied before they are read.
    left_out
        Addresses of workers that were told to be of no use for a slide.
    """

    cluster: Cluster
    finisher: ThreadPoolExecutor
    locks: ExitStack
    meter: Meter
    tell: Tell
    outcomes: dict[Path, Outcome] = field(default_factory=dict)
    stopped: Callable[[Request, str], WsiSuiteError] | None = None
    sharing: Sharing | None = None
    staging: Staging | None = None
    left_out: set[str] = field(default_factory=set)

    def drop_copy(self, request: Request) -> None:
        """Remove the copy of a slide that is over."""
        if self.staging is not None:
            self.staging.release(request.slide)

    def end(self, outcome: Outcome, *, told: bool = False) -> None:
        """Note how a slide ended, and tell it unless it was told already."""
        self.outcomes[outcome.slide] = outcome
        if not told:
            self.tell(outcome)


@dataclass(eq=False)
class ActiveSlide:
    """A slide whose blocks are being done.

    Attributes
    ----------
    run
        Its run.
    pending
        Blocks that were to do at its start.
    left
        How many of them are not recorded yet.
    sent
        How many are with the workers now; the folder stays locked until none is.
    failed
        Whether the slide has failed, so that no more blocks are sent.
    check
        What a worker of a cluster needs for it.
    unfit
        Why workers cannot do it, by their addresses.
    """

    run: SlideRun
    pending: list[tuple[SlideJob, Block]]
    left: int
    sent: int = 0
    failed: bool = False
    check: Check | None = None
    unfit: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BlockToDo:
    """A block to send; `alone` if no other is sent with it, because its worker died before."""

    slide: ActiveSlide
    job: SlideJob
    block: Block
    alone: bool = False


def leave_out(batch: Batch, slide: ActiveSlide, unfit: Mapping[str, str]) -> None:
    """Send workers no more blocks of a slide, and tell why, once for each of them."""
    slide.unfit.update(unfit)
    for worker, reason in unfit.items():
        if worker not in batch.left_out:
            batch.left_out.add(worker)
            batch.tell(f"{reason}; it is left out")
