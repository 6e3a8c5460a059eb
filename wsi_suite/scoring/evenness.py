"""Whether DAB fills the nuclei, as a nuclear marker does, or crosses them in lines and patches.

A membranous or cytoplasmic stain lies over a nucleus in part. Then DAB varies much within it. The
mean DAB in a ring about each nucleus was tried, too, and does not tell them apart: masks follow all
stain and take thin membranes in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wsi_suite.measurements import NUCLEUS_DAB, NUCLEUS_DAB_HIGHEST, NUCLEUS_DAB_SPREAD
from wsi_suite.nuclei.table import Nuclei

UNEVEN_LIMIT = 0.3

# Measured: 0.65 on a slide with membranous DAB; 0.06 on one of Ki-67; on 101 tiles of ER and PR
# (EndoNuke) 0.09 at most, in the median 0.01.
_DAB_OD = 0.3  # at the darkest pixel
_UNEVEN = 0.5  # standard deviation over mean
_FEWEST = 50


def uneven_share(nuclei: Nuclei, *, rows: npt.NDArray[np.int_] | None = None) -> float | None:
    """Return the share of nuclei with DAB in which DAB varies by more than half its mean.

    Parameters
    ----------
    nuclei
        With the measurements of nuclear masks.
    rows
        Nuclei that count, or ``None`` for all.

    Returns
    -------
    float or None
        ``None`` if discs were measured, or fewer than 50 nuclei hold DAB.
    """
    names = (NUCLEUS_DAB, NUCLEUS_DAB_SPREAD, NUCLEUS_DAB_HIGHEST)
    if not all(name in nuclei.measurements for name in names):
        return None
    mean, spread, highest = (
        nuclei.measurements[name] if rows is None else nuclei.measurements[name][rows]
        for name in names
    )
    holds = np.isfinite(mean) & np.isfinite(spread) & (highest >= _DAB_OD)  # NaN reaches nothing
    count = int(np.count_nonzero(holds))
    if count < _FEWEST:
        return None
    return float(np.count_nonzero(spread[holds] > _UNEVEN * mean[holds])) / count


def uneven_warnings(share: float | None) -> list[str]:
    """Return a warning if DAB is uneven in many nuclei."""
    if share is None or share <= UNEVEN_LIMIT:
        return []
    return [
        f"In {100 * share:.0f} % of the nuclei that hold DAB it is uneven, as where a membranous "
        "or cytoplasmic stain lies over them: a nuclear H-score means nothing for such a stain."
    ]
