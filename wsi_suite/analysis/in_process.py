"""All blocks of a slide, done by threads of this process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from wsi_suite.analysis.blocks import SlideJob, pixels_to_do, process_block
from wsi_suite.geometry import Box
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.progress import Meter, Progress
from wsi_suite.slides.grid import TileGrid

_BLOCKS_AT_ONCE = 2  # while one block ends, the next is being read


def do_blocks(
    job: SlideJob, grid: TileGrid, *, progress: Progress
) -> tuple[list[Nuclei], list[Box]]:
    """Return the nuclei and the unreadable area of each block.

    If a block fails or `progress` raises, the others end, too.
    """
    lost: list[Box] = []
    name = str(job.slide)
    meter = Meter(progress, message="finding nuclei")
    meter.begin(name, total=sum(map(pixels_to_do, grid.blocks)))
    do = partial(
        process_block,
        job,
        report=partial(meter.advance, name),
        proceed=partial(meter.advance, name, 0),
        lose=lost.append,
    )
    with ThreadPoolExecutor(_BLOCKS_AT_ONCE, "wsi-block") as pool:
        futures = [pool.submit(do, block) for block in grid.blocks if block.tiles]
        try:
            tables = [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
    return [table for table in tables if table is not None], lost
