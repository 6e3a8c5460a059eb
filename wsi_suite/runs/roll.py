"""Which workers a cluster has at the moment, and which of them gets the next block.

Dask would take a worker of eight threads for one that does eight blocks at once, and leave others
idle. A block uses all threads of its worker, so each worker gets two at a time: while one ends, the
next is being read.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

BLOCKS_PER_WORKER = 2
_LOOK_S = 1.0  # between two looks at the workers


class Roll:
    """The workers of a scheduler, and how many blocks each of them has.

    Workers come and go: the scheduler is asked again every second. Only one thread may use it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._workers: dict[str, int] = {}
        self._looked = float("-inf")
        self._with: Counter[str] = Counter()
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether the connection to the scheduler was lost.

        Dask drops all work then, even if it can connect again. What is submitted while it tries is
        never begun, and its future stays pending for ever.
        """
        self._lost = self._lost or self._client.status != "running"
        return self._lost

    def workers(self) -> dict[str, int]:
        """Return the threads of the workers that are there, by their addresses."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            try:
                self._workers = dict(self._client.nthreads())
            # A client that has lost its scheduler has none to ask; `lost` tells.
            except (OSError, RuntimeError, ValueError, AttributeError):
                log.debug("scheduler does not answer", exc_info=True)
            self._looked = time.monotonic()
        return self._workers

    def next(self, *, without: Container[str] = ()) -> str | None:
        """Return the worker with the fewest blocks; ``None`` if all have enough.

        Parameters
        ----------
        without
            Addresses of workers that cannot do the block.
        """
        fit = [worker for worker in self.workers() if worker not in without]
        least = min(fit, key=self._with.__getitem__, default=None)
        return None if least is None or self._with[least] >= BLOCKS_PER_WORKER else least

    def give(self, worker: str) -> None:
        """Note that a worker gets a block."""
        self._with[worker] += 1

    def take(self, worker: str) -> None:
        """Note that a block of a worker is over."""
        self._with[worker] -= 1
        if not self._with[worker]:
            del self._with[worker]


@dataclass
class Demand:
    """How many workers the work could use.

    Attributes
    ----------
    workers
        Their number; it falls only when no other slide comes, because to start one takes long.
    """

    workers: int = 1

    def tell(self, *, blocks: int, more: bool) -> None:
        """Note how many blocks are not done, and whether others will come."""
        self.workers = max(self.workers, blocks) if more else blocks
