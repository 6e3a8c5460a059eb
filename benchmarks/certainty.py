"""How often 95 % intervals of scores hold the true value, on synthetic tissue of known kinds.

Each line is one kind of tissue in pieces of one area. Beside the intervals of the suite stand two
that are easier: a binomial one, which takes nuclei for independent, and the percentiles of blocks
of 500 um, drawn again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from wsi_suite.scoring.uncertainty import BLOCK_UM, GRADES, POSITIVE, Blocks, Grid, find_interval
from wsi_suite.synthetic.heterogeneity import CELL_UM, Heterogeneity, draw_counts

Counts = npt.NDArray[np.int64]
_TIMES = (0.8, 1.1, 1.3, 1.6, 2.0)
_CLUSTERS = ((0, 0.0), (25, 0.5), (50, 0.5), (50, 0.8), (100, 0.5), (100, 0.8), (250, 0.8))
Limits = tuple[float, float] | None

KINDS = {
    "30 % positive": {},
    "30 %, denser where positive": {"tie": 0.6},
    "5 %, denser where positive": {"shares": (0.05, 0.025, 0.01), "tie": 0.5},
    "1.5 %, in few clusters": {"shares": (0.015, 0.01, 0.005), "common": 0.8},
    "85 % positive": {"shares": (0.85, 0.6, 0.3), "tie": 0.3},
}


def blocks_of(counts: Counts) -> Blocks:
    """Return blocks of the smallest side from the counts of cells."""
    cells = round(BLOCK_UM / CELL_UM)
    summed = summed_by(counts, cells)
    filled = np.argwhere(summed.any(axis=2))
    return Blocks(filled[:, ::-1].astype(np.int64), summed[*filled.T], BLOCK_UM)


def summed_by(counts: Counts, cells: int) -> Counts:
    """Return the counts of blocks of so many cells a side."""
    missing = -counts.shape[0] % cells
    padded = np.pad(counts, ((0, missing), (0, missing), (0, 0)))
    side = len(padded) // cells
    return padded.reshape(side, cells, side, cells, 4).sum(axis=(1, 3))


def of_suite(worth: tuple[int, int, int, int]) -> Callable[[Counts], Limits]:
    """Return the suite's way to an interval."""

    def limits(counts: Counts) -> Limits:
        found = find_interval(blocks_of(counts), worth, rng=np.random.default_rng(0))
        return None if found.low is None or found.high is None else (found.low, found.high)

    return limits


def binomial(counts: Counts) -> Limits:
    """Return Wilson's interval of positive %."""
    total = counts.sum(axis=(0, 1))
    n, z = total.sum(), 1.96
    share = total[1:].sum() / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return 100 * (middle - half), 100 * (middle + half)


def percentiles(counts: Counts) -> Limits:
    """Return the percentiles of positive %, blocks of 500 um drawn again."""
    summed = summed_by(counts, round(500 / CELL_UM)).reshape(-1, 4)
    summed = summed[summed.any(axis=1)]
    size = len(summed)
    drawn = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), size=1000) @ summed
    low, high = np.quantile(100 * drawn[:, 1:].sum(axis=1) / drawn.sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def tried(found: list[Limits], truth: float) -> tuple[str, str, str]:
    """Return the share that holds the truth, the median width, and the share without interval."""
    limits = np.array([each for each in found if each is not None]).reshape(-1, 2)
    if not len(limits):
        return "-", "-", "100"
    held = 100 * np.mean((limits[:, 0] <= truth) & (truth <= limits[:, 1]))
    width = np.median(limits[:, 1] - limits[:, 0])
    return f"{held:.1f}", f"{width:.1f}", f"{100 * (1 - len(limits) / len(found)):.0f}"


def time_million() -> float:
    """Return the CPU seconds that both intervals of a million nuclei take."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 60_000, (1_000_000, 2))
    grades = rng.choice(4, len(points), p=[0.7, 0.15, 0.1, 0.05]).astype(np.uint8)
    start = time.process_time()
    blocks = Grid.of(points, mpp=(0.5, 0.5)).count(grades)
    for worth in (POSITIVE, GRADES):
        find_interval(blocks, worth, rng=np.random.default_rng(0))
    return time.process_time() - start


def try_tissue(kind: Heterogeneity, *, area_mm2: float, pieces: int) -> list[str]:
    """Return a line of the table, from so many pieces of tissue."""
    rng = np.random.default_rng(1)
    drawn = [draw_counts(kind, area_mm2=area_mm2, rng=rng) for _ in range(pieces)]
    percent, h_score = (list(map(of_suite(worth), drawn)) for worth in (POSITIVE, GRADES))
    easier = [list(map(way, drawn)) for way in (binomial, percentiles)]
    return [
        f"{kind.correlation_um:g}",
        f"{area_mm2:g}",
        *tried(percent, kind.positive_percent),
        *tried(h_score, kind.h_score)[:2],
        *(tried(found, kind.positive_percent)[0] for found in easier),
    ]


def try_extreme(kind: Heterogeneity, *, area_mm2: float, pieces: int) -> list[str]:
    """Return a line of the table of percentages near 0 or 100."""
    rng = np.random.default_rng(2)
    truth, held, binomials, right, none = kind.positive_percent, 0, 0, 0, 0
    for _ in range(pieces):
        blocks = blocks_of(draw_counts(kind, area_mm2=area_mm2, rng=rng))
        found = find_interval(blocks, POSITIVE, rng=np.random.default_rng(0))
        if found.low is None or found.high is None:
            none += 1
            continue
        holds = found.low <= truth <= found.high
        held += holds
        binomials += found.method == "binomial"
        right += holds and found.method == "binomial"
    told = pieces - none
    return [
        f"{truth:g}",
        f"{kind.correlation_um:g}" if kind.common else "alone",
        f"{area_mm2:g}",
        f"{100 * held / told:.1f}" if told else "-",
        f"{binomials} ({right} hold)",
        f"{100 * none / pieces:.0f}",
    ]


def print_extremes(console: Console, *, pieces: int) -> None:
    """Print how often intervals hold percentages near 0, near 100 and near cut-offs."""
    table = Table("true %", "clusters um", "mm2", "% held", "binomial", "none %")
    for percent in (0.2, 0.5, 1, 2, 10, 99.5):
        share = percent / 100
        for correlation_um, common in ((0, 0.0), (25, 0.5), (50, 0.5)):
            kind = Heterogeneity(correlation_um, (share, share / 2, share / 4), common=common)
            for area_mm2 in (0.75, 1.5, 6):
                table.add_row(*try_extreme(kind, area_mm2=area_mm2, pieces=pieces))
    console.print(table)


def print_limits(console: Console, *, pieces: int, density_per_mm2: float) -> None:
    """Print how often no nucleus is positive though more of them are than the limit tells.

    The limit of all negative nuclei misses the truth if a piece without a positive nucleus comes of
    tissue in which more than the limit are positive. That is likeliest where the truth lies just
    above the limit: columns go from 0.8 to 2 times the usual limit of such pieces. At most
    2.5 % of the pieces may miss.
    """
    table = Table("clusters um", "mm2", "limit %", *(f"{times:g} x" for times in _TIMES), "worst")
    for correlation_um, common in _CLUSTERS:
        for area_mm2 in (0.75, 1.5, 6):
            limit = _usual_limit(area_mm2, density_per_mm2)
            missed = [
                _missed_by_limit(
                    Heterogeneity(
                        correlation_um,
                        (share, share / 2, share / 4),
                        common=common,
                        density_per_mm2=density_per_mm2,
                    ),
                    area_mm2=area_mm2,
                    pieces=pieces,
                )
                for share in (times * limit / 100 for times in _TIMES)
            ]
            clusters = f"{correlation_um} ({common:g})" if common else "alone"
            cells = [f"{100 * each:.1f}" for each in missed]
            table.add_row(clusters, f"{area_mm2:g}", f"{limit:.2f}", *cells, max(cells, key=float))
    console.print(table)


def _usual_limit(area_mm2: float, density_per_mm2: float) -> float:
    """Return the median limit of pieces in which no nucleus is positive, in percent."""
    rng = np.random.default_rng(3)
    shares = (1e-9, 5e-10, 1e-10)
    kind = Heterogeneity(0, shares, common=0.0, density_per_mm2=density_per_mm2)
    found = (of_suite(POSITIVE)(draw_counts(kind, area_mm2=area_mm2, rng=rng)) for _ in range(50))
    return float(np.median([limits[1] for limits in found if limits is not None]))


def _missed_by_limit(kind: Heterogeneity, *, area_mm2: float, pieces: int) -> float:
    """Return the share of pieces that have no positive nucleus and a limit below the truth."""
    rng, missed = np.random.default_rng(4), 0
    for _ in range(pieces):
        counts = draw_counts(kind, area_mm2=area_mm2, rng=rng)
        if not counts[..., 1:].any():
            limits = of_suite(POSITIVE)(counts)
            missed += limits is not None and limits[1] < kind.positive_percent
    return missed / pieces


def main() -> None:
    """Print the table, and each line as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pieces", type=int, default=300, help="pieces of tissue a line")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind of tissue")
    parser.add_argument("--um", type=float, nargs="+", default=[0, 50, 100, 250, 500])
    parser.add_argument("--mm2", type=float, nargs="+", default=[0.75, 1.5, 3, 6, 12, 50])
    parser.add_argument("--extremes", action="store_true", help="percentages near 0 and 100 only")
    parser.add_argument("--density", type=float, default=1600, help="nuclei per mm2, for --limits")
    parser.add_argument("--limits", action="store_true", help="all nuclei negative only")
    options = parser.parse_args()
    if options.limits:
        print_limits(Console(width=130), pieces=options.pieces, density_per_mm2=options.density)
        return
    if options.extremes:
        print_extremes(Console(width=130), pieces=options.pieces)
        return
    columns = ["kind", "corr. um", "mm2"]
    columns += ["% held", "width", "none %", "H held", "width", "binomial", "500 um"]
    table = Table(*columns, title=f"{options.pieces} pieces a line; in percent, 95 is right")
    console = Console(width=130)
    for name in options.kind or KINDS:
        for correlation_um in options.um:
            kind = Heterogeneity(correlation_um, **KINDS[name])
            for area_mm2 in options.mm2:
                line = [name, *try_tissue(kind, area_mm2=area_mm2, pieces=options.pieces)]
                table.add_row(*line)
                console.print(*(f"{value:>8}" for value in line), style="dim", highlight=False)
    console.print(table)
    console.print(f"Both intervals of a million nuclei: {time_million():.2f} s of CPU")


if __name__ == "__main__":
    main()
