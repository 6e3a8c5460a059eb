"""``demo``: the main job on an example whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import Debug, Device, Workers, settings_from

if TYPE_CHECKING:
    from wsi_suite.demo import Comparison


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for slide and results.", metavar="DIR")
    ] = Path("wsi-suite-demo"),
    side: Annotated[
        int, typer.Option(min=2048, max=100_000, help="Side of the slide, px of 0.25 um.")
    ] = 8000,
    device: Device = None,
    workers: Workers = None,
    debug: Debug = False,
) -> None:
    """Make a synthetic slide with known nuclei, run on it and compare.

    About two minutes on two cores. Look at overview.png in the results.
    """
    from wsi_suite.cli.terminal import SlideProgress, stderr, stdout
    from wsi_suite.demo import make_example, run_example

    settings = settings_from(None, ["score.marker=ER"], run__device=device, run__workers=workers)
    with stderr.status(f"drawing a synthetic slide of {side} x {side} px"):
        slide = make_example(out, side_px=side)
    with SlideProgress() as progress:
        result = run_example(slide, settings=settings, progress=progress)
    _show(result)
    folder = result.outcome.folder
    for name, what in (
        ("overview.png", "the picture: look at this first"),
        ("summary.json", "counts and scores"),
        ("nuclei.geojson", "drag it onto the slide in QuPath"),
        ("nuclei.parquet", "one row a nucleus"),
    ):
        stdout.print(f"{folder}/{name}", soft_wrap=True, end="  ", style="bold", markup=False)
        stdout.print(what, style="dim")
    stdout.print(f"{slide}", soft_wrap=True, end="  ", style="bold", markup=False)
    stdout.print("the slide; truth.geojson beside it", style="dim")


def _show(result: Comparison) -> None:
    from wsi_suite.cli.terminal import show_table

    summary = result.outcome.summary or {}
    truth, found = result.truth, result.found
    rows = []
    for name in found.classes:
        counts = result.by_class[name]
        index = truth.nuclei.classes.index(name)
        rows.append((
            name,
            f"{int((truth.nuclei.label == index).sum()):,}",
            f"{counts.matched + counts.spurious:,}",
            f"{counts.f1:.2f}",
            f"{truth.h_score(name):.0f}",
            _score(summary["scores"][name]["h_score"]),
        ))
    pooled = " + ".join(sorted(found.classes))
    rows.append((
        pooled, f"{len(truth):,}", f"{len(found):,}", f"{result.all.f1:.2f}",
        f"{truth.h_score():.0f}", _score(summary["scores"][pooled]["h_score"]),
    ))
    show_table("", ("class", "nuclei", "found", "F1", "H-score", "measured"), rows)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
