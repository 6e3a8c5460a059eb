"""A process that runs slides, for tests that start several, stop and kill them.

python sharer.py '{"model": ..., "slides": [...], "out": ..., "share": true}'
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]


def start(**asked: Any) -> subprocess.Popen[str]:
    """Start a process; keys as :func:`main` takes them."""
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(asked, default=str)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def main(
    *,
    model: str,
    slides: list[str],
    out: str,
    share: bool = True,
    workers: int | None = None,
    pause_s: float = 0.0,
    stale_s: float = 120.0,
) -> None:
    """Run slides in small blocks, `pause_s` seconds after each, and print how they ended."""
    from bench import Bench, set_sides

    from wsi_suite import leases
    from wsi_suite.runs import outputs, scheduling, sharing

    patch = pytest.MonkeyPatch()
    set_sides(patch)
    patch.setattr(leases, "STALE_S", stale_s)
    patch.setattr(leases, "BEAT_S", stale_s / 12)
    patch.setattr(leases, "_SECOND_LOOK_S", stale_s / 6)
    patch.setattr(sharing, "POLL_S", 0.2)
    patch.setattr(outputs, "draw_overview", lambda path, **_: Path(path).write_bytes(b"PNG"))
    record = scheduling.record_block

    def slow(*arguments: Any, **named: Any) -> None:
        time.sleep(pause_s)
        record(*arguments, **named)

    patch.setattr(scheduling, "record_block", slow)
    overrides = [] if workers is None else [f"run.workers={workers}"]
    bench = Bench(Path(model), Path(slides[0]))
    outcomes = bench.run(Path(out), *overrides, slides=list(map(Path, slides)), share=share)
    ends = {end.slide.name: str(end.error or end.state) for end in outcomes}
    sys.stdout.write(json.dumps(ends))
    sys.exit(any(end.error for end in outcomes))


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    main(**json.loads(sys.argv[1]))
