"""States of the run of one slide."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """State of a slide's run, as in ``run.json`` and ``summary.csv``.

    ========= ============================================ ===========================
    from      event                                        to
    ========= ============================================ ===========================
    (none)    a run claims the folder                      RUNNING
    RUNNING   killed; the same command again               RUNNING
    RUNNING   tiles, or tiles and results, are complete    TILED, DONE
    RUNNING   an error                                     FAILED
    TILED     ``detect`` or ``run`` claims the folder      RUNNING
    FAILED    the same command again                       RUNNING
    DONE      tiles are stored after the results           DONE
    any       ``--overwrite``                              DISCARDED, then RUNNING
    ========= ============================================ ===========================
    """

    RUNNING = "running"
    TILED = "tiled"
    DONE = "done"
    FAILED = "failed"
    DISCARDED = "discarded"
    """Results are being removed: nothing in the folder may be used."""
