"""``control-chart``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsi_suite.cli.options import Debug, Json, OfClass, WhichScore
from wsi_suite.commands.checks import check_page

Runs = Annotated[
    Path,
    typer.Argument(
        help="Folder with a results folder for each run, in the order of their names.",
        metavar="DIR",
        show_default=False,
    ),
]
ControlSlide = Annotated[
    str | None,
    typer.Option("--slide", help="The control slide, where runs hold others too.", metavar="NAME"),
]
Baseline = Annotated[
    int,
    typer.Option(
        "--baseline", min=11, help="Number of first runs that limits are set from.", metavar="N"
    ),
]
Page = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Write a page with the chart.", metavar="FILE.html"),
]


def control_chart(
    *,
    runs: Runs,
    slide: ControlSlide = None,
    score: WhichScore = "h_score",
    class_name: OfClass = None,
    baseline: Baseline = 20,
    out: Page = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Chart a control slide over its runs, and name those that break Westgard's rules.

    1-3s: more than 3 standard deviations from the mean. 2-2s: two in a row more than 2, on the
    same side.
    """
    from wsi_suite.cli.terminal import note, print_json, say, show_table, stdout
    from wsi_suite.studies.control_chart import chart_runs, write_control_page

    check_page(out, option="--out")
    chart = chart_runs(runs, slide=slide, score=score, class_name=class_name, baseline=baseline)
    if out is not None:
        write_control_page(out, chart)
    if as_json:
        print_json(chart.as_json())
    else:
        rows = [
            (
                run.run,
                f"{run.score:.1f}",
                f"{run.z:+.2f}",
                ", ".join(run.broken) or None,
                ", ".join(run.changed) or None,
            )
            for run in chart.runs
        ]
        show_table(("run", score, "z", "breaks", "set otherwise"), rows)
        stdout.print(
            f"{chart.slide}, {chart.class_name}: mean {chart.limits.mean:.1f}, standard deviation "
            f"{chart.limits.deviation:.2f} of the first {chart.limits.runs} runs",
            style="dim",
            markup=False,
            soft_wrap=True,
        )
    for warning in chart.warnings:
        note(warning)
    if out is not None:
        say(f"Page: {out}")
