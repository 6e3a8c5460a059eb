"""``calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import (
    ConfigOut,
    Debug,
    Json,
    OfClass,
    OverwriteConfig,
    score_column,
)

if TYPE_CHECKING:
    from wsi_suite.scoring.calibration import Range
    from wsi_suite.studies.calibration_document import Calibration

MeasuredResults = Annotated[
    list[Path],
    typer.Argument(
        help="Results folders of the labelled slides.", metavar="RESULT...", show_default=False
    ),
]
GradeLabels = Annotated[
    Path | None,
    typer.Option(
        "--grades",
        help="Graded nuclei: the folder that 'wsi-suite pull' wrote, or a table with slide, x, y "
        "and grade.",
        metavar="FOLDER|TABLE",
    ),
]
ScoreLabels = Annotated[
    Path | None,
    typer.Option(
        "--scores",
        help="Scores by pathologists: a table with slide, maybe region, and h_score or "
        "positive_percent.",
        metavar="TABLE",
    ),
]
Reviewed = Annotated[
    str | None,
    typer.Option(
        "--reviewed",
        help="With a pulled folder: only nuclei in annotations of this name or class.",
        metavar="NAME",
    ),
]
WhichScore = Annotated[
    str | None,
    typer.Option(
        "--score",
        help="With --scores: h_score or positive_percent.",
        metavar="NAME",
        show_default="h_score",
    ),
]
Column = Annotated[str | None, score_column("--column", of="With --scores: the column with")]
ReportPage = Annotated[
    Path | None,
    typer.Option(
        "--report", help="Write a page with errors, plots and slides.", metavar="FILE.html"
    ),
]


def calibrate(
    *,
    results: MeasuredResults,
    grades: GradeLabels = None,
    scores: ScoreLabels = None,
    reviewed: Reviewed = None,
    score: WhichScore = None,
    column: Column = None,
    class_name: OfClass = None,
    out: ConfigOut = None,
    report: ReportPage = None,
    overwrite: OverwriteConfig = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit the intensity thresholds to your own labels: graded nuclei, or scores of slides.

    The fit is an exact search. Each slide is left out in turn, for an error on slides that the
    thresholds were not fitted to. Needs 10 nuclei of each grade, or 5 slides with scores.
    """
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note, print_json, say
    from wsi_suite.commands import studies

    with working("reading nuclei and fitting"):
        found = studies.calibrate(
            results,
            grades=grades,
            scores=scores,
            reviewed=reviewed,
            score=score,
            column=column,
            class_name=class_name,
            out=out,
            report=report,
            overwrite=overwrite,
        )
    if as_json:
        print_json(found.as_json())
    else:
        _show_calibration(found)
    for warning in found.warnings:
        note(warning)
    if out is not None:
        say(f"For later runs: --config {out}")
    if report is not None:
        say(f"Page: {report}")


def _show_calibration(found: Calibration) -> None:
    from wsi_suite.cli.terminal import show_table, stdout
    from wsi_suite.nuclei.table import INTENSITIES

    held_out = found.held_out
    rows: list[tuple[str, ...]] = [
        ("fitted", *(f"{value:g}" for value in found.thresholds_od)),
        ("95 % interval", *map(_span, found.ranges_od)),
    ]
    if held_out is not None:
        rows.append(("with a slide left out", *map(_span, held_out.thresholds_od)))
    for words, cuts in (
        ("of the runs", found.run_thresholds_od),
        ("Otsu's cuts, not used", found.otsu_od),
        ("quartiles, not used", found.quartiles_od),
    ):
        if cuts is not None:
            rows.append((words, *(f"{value:.3f}" for value in cuts)))
    show_table(("DAB OD from which", *INTENSITIES[1:]), rows)
    what = {"grades": "of grades", "h_score": "of H-scores"}.get(found.kind, "of positive %")
    left_out = "" if held_out is None else f", {held_out.error:.3g} on slides left out"
    nuclei, slides = sum(slide.nuclei for slide in found.slides), len(found.slides)
    stdout.print(
        f"root mean squared error {what} {found.error:.3g}{left_out}; {nuclei:,} nuclei of "
        f"{slides} {'slide or region' if slides == 1 else 'slides or regions'}; "
        f"{100 * found.strong_share:.0f} % of all nuclei are 3+",
        style="dim",
        markup=False,
        soft_wrap=True,
    )


def _span(inside: Range | None) -> str:
    return "-" if inside is None else f"{inside[0]:.3f} to {inside[1]:.3f}"
