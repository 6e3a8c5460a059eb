"""Result of a job, kept until it is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.results import Results, summary_of
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.qupath.geojson import PART_SIZE, feature_collection
from wsi_suite.qupath.objects import Shape, circle_radius_px0, origin_of
from wsi_suite.scoring.intensity import grade_nuclei
from wsi_suite.scoring.verdicts import shown_intensities


@dataclass(frozen=True, eq=False)
class Finding:
    """Result of an order, reduced to the parts that are sent.

    Attributes
    ----------
    nuclei, grades
        All nuclei, merged and sorted, and their intensities; no intensities if the slide gets no
        verdict.
    blocks
        Rows of the nuclei of each block that has some.
    shape, radius_px0, origin
        How they are drawn, and what each tells of its origin.
    summary
        What ``summary.json`` holds.
    timings
        Seconds by step.
    """

    nuclei: Nuclei
    grades: npt.NDArray[np.uint8] | None
    blocks: tuple[npt.NDArray[np.int_], ...]
    shape: Shape
    radius_px0: float
    origin: Mapping[str, str]
    summary: Mapping[str, Any]
    timings: Mapping[str, float]

    def collections(self) -> Iterator[Iterator[Any]]:
        """Yield a GeoJSON FeatureCollection per block, each in pieces of bytes.

        Features are those of a run's ``nuclei.geojson``; a block of more than ``PART_SIZE`` nuclei
        comes in several parts.
        """
        for rows in self.blocks:
            for first in range(0, len(rows), PART_SIZE):
                part = rows[first : first + PART_SIZE]
                yield feature_collection(
                    self.nuclei.take(part),
                    grades=None if self.grades is None else self.grades[part],
                    shape=self.shape,
                    radius_px0=self.radius_px0,
                    origin=self.origin,
                )


def finding_of(results: Results, *, shape: Shape, timings: Mapping[str, float]) -> Finding:
    """Score results and keep the parts that are sent."""
    provenance, summary = results.provenance.as_json(), summary_of(results)
    grades = grade_nuclei(results.nuclei, results.settings.score.thresholds_od)
    return Finding(
        nuclei=results.nuclei,
        grades=shown_intensities(grades, summary.no_verdict),
        blocks=_rows_by_block(results.nuclei, results.facts),
        shape=shape,
        radius_px0=circle_radius_px0(provenance),
        origin=origin_of(provenance),
        summary=summary.as_json(),
        timings=timings,
    )


def _rows_by_block(nuclei: Nuclei, facts: SlideFacts) -> tuple[npt.NDArray[np.int_], ...]:
    """Return the rows of the nuclei in each block that has some, in the order of the table."""
    cells = facts.scale.from_level0(nuclei.points) // facts.block_px
    columns = -(-facts.raster[0] // facts.block_px)
    number = cells[:, 1] * columns + cells[:, 0]
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order])) + 1
    return tuple(rows for rows in np.split(order, starts) if len(rows))
