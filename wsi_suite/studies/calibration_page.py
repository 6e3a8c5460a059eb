"""The page of a calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsi_suite.nuclei.table import INTENSITIES
from wsi_suite.pages import inline, write_page
from wsi_suite.studies.calibration_document import LABELS, Calibration
from wsi_suite.studies.comparison import TOLERANCES
from wsi_suite.studies.pictures import draw_densities, draw_difference, draw_scatter
from wsi_suite.studies.score_lists import H_SCORE, POSITIVE_PERCENT


def write_calibration_page(path: Path, calibration: Calibration) -> None:
    """Write a calibration as one HTML file that needs no other.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    score = POSITIVE_PERCENT if calibration.kind == POSITIVE_PERCENT else H_SCORE
    held_out = calibration.held_out
    pictures = {}
    if held_out is not None:
        pairs = [
            (row.held_out, row.labelled) for row in calibration.slides if row.held_out is not None
        ]
        found, labelled = np.array(pairs, np.float64).T
        names = "thresholds", "labels"
        pictures = {
            "difference": inline(
                draw_difference(found, labelled, names=names, limits=held_out.limits)
            ),
            "scatter": inline(
                draw_scatter(found, labelled, names=names, tolerance=TOLERANCES[score])
            ),
        }
    write_page(
        path,
        "calibration_page.html",
        package="wsi_suite.studies",
        calibration=calibration,
        labels=LABELS[calibration.kind],
        score="positive %" if score == POSITIVE_PERCENT else "H-score",
        grades=INTENSITIES,
        tolerance=TOLERANCES[score],
        densities=inline(
            draw_densities(
                calibration.histogram,
                calibration.thresholds_od,
                runs_od=calibration.run_thresholds_od,
            )
        ),
        pictures=pictures,
    )
