"""Distance of a slide to its model's training data, from a sample of its tissue.

The fields are those that the stains are sampled from. They are described on the CPU in float32,
whatever the device and precision of the run, because the model's statistics were learned so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.analysis.blocks import SlideJob
from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.worker_cache import open_raster, open_store
from wsi_suite.geometry import Box
from wsi_suite.nuclei.familiarity import Familiarity, compare_with_known
from wsi_suite.slides.damage import read_around_damage

if TYPE_CHECKING:
    from wsi_suite.detector.model_folder import ModelFolder
    from wsi_suite.detector.network import NucleusNet

_SHARE = 1 / 8  # of the pixels to work on: more would be felt on a small slide
_FEWEST_FIELDS = 4
_DIGITS = 12  # of the name of a model's statistics


def find_familiarity(model: ModelFolder, facts: SlideFacts, job: SlideJob) -> Familiarity:
    """Return the distance of a slide to a model's training data.

    Parameters
    ----------
    model
        The model.
    facts
        Of the slide; they tell the fields.
    job
        Where pixels come from.

    Raises
    ------
    ModelError
        The model's statistics are damaged, of a later format, or not its own.
    SlideError
        The slide is not there any more.
    """
    from wsi_suite.detector.known_fields import read_known_fields

    found = read_known_fields(model)
    if found is None:
        return Familiarity(reason="the model does not say what its training fields look like")
    known, sha256 = found
    if facts.sample is None:
        return Familiarity(reason="the slide was looked at by an earlier version")
    boxes = list(chosen_fields(facts, field_px=known.field_px))
    with ThreadPoolExecutor(1, "wsi-familiarity", initializer=_compute_on_one_core) as thread:
        described = thread.submit(_describe, model, job, boxes).result()
    return compare_with_known(described, known, statistics=sha256[:_DIGITS])


def chosen_fields(facts: SlideFacts, *, field_px: int) -> Iterator[Box]:
    """Yield the middles of some fields of a slide's sample, evenly spread over it.

    They make up an eighth of the pixels to work on at most, or are four. None reaches into what
    cannot be read, of which stored tiles tell nothing.
    """
    large = [box for box in facts.sample or () if min(box.width, box.height) >= field_px]
    fields = [box for box in large if not _is_damaged(box, facts)]
    work_px = int(np.count_nonzero(facts.wanted)) * facts.chunk_px**2
    count = min(len(fields), max(_FEWEST_FIELDS, int(_SHARE * work_px / field_px**2)))
    for place in range(count):
        box = fields[(place * len(fields) + len(fields) // 2) // count]
        x, y = box.x + (box.width - field_px) // 2, box.y + (box.height - field_px) // 2
        yield Box(x, y, field_px, field_px)


def _is_damaged(field: Box, facts: SlideFacts) -> bool:
    from shapely.geometry import box

    if facts.quality is None or facts.quality.unreadable is None:
        return False
    x, y = facts.scale.x, facts.scale.y
    area = box(field.x * x, field.y * y, field.right * x, field.bottom * y)
    return bool(facts.quality.unreadable.area().intersects(area))


def _describe(
    model: ModelFolder, job: SlideJob, boxes: Sequence[Box]
) -> dict[str, npt.NDArray[np.float64]]:
    from wsi_suite.detector.field_description import describe_fields

    read: Callable[[Box], npt.NDArray[np.uint8]]
    if job.slide is not None:
        read = open_raster(
            job.slide, mpp_given=job.mpp_given, read_mpp=job.read_mpp, run=job.run
        ).read
    else:
        assert job.store is not None
        read = open_store(job.store, run=job.run).read
    whole = (
        pixels for pixels, lost in (read_around_damage(read, box) for box in boxes) if not lost
    )
    return describe_fields(_network(model.path, model.hash), whole, spec=model.spec)


@lru_cache(maxsize=1)
def _network(path: Path, _hash: str) -> NucleusNet:
    from wsi_suite.detector.model_folder import find_model, load_network

    return load_network(find_model(path))


def _compute_on_one_core() -> None:
    """Keep sums of this thread in one order, whatever the number of cores."""
    import torch

    torch.set_num_threads(1)
