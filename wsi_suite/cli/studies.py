"""``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import Debug, Json, OfClass, WhichScore, score_column

if TYPE_CHECKING:
    from wsi_suite.scoring.agreement import Figure
    from wsi_suite.studies.comparison import Agreement, Side

First = Annotated[
    Path,
    typer.Argument(
        help="Results folder, or table (CSV, XLSX) with a slide and its score in each row.",
        metavar="A",
        show_default=False,
    ),
]
Second = Annotated[
    Path, typer.Argument(help="The same, to compare with.", metavar="B", show_default=False)
]
ColumnA = Annotated[str | None, score_column("--column-a", of="Column of table A with")]
ColumnB = Annotated[str | None, score_column("--column-b", of="Column of table B with")]
Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        help="Difference of two scores that is tolerated.",
        metavar="X",
        show_default="H-score 20, percent 10",
    ),
]
Cutoff = Annotated[
    float | None,
    typer.Option(
        "--cutoff",
        help="Score from which a slide is positive; adds the agreement on that.",
        metavar="X",
    ),
]
Groups = Annotated[
    str | None,
    typer.Option(
        "--groups",
        help="Scores at which groups begin, for kappa.",
        metavar="X,X,...",
        show_default="H-score 50,100,200; percent 1,10",
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Write a page with plots and all scores.", metavar="FILE.html"
    ),
]

_SHOWN = 10  # names of slides in a remark


def compare(
    *,
    first: First,
    second: Second,
    score: WhichScore = "h_score",
    class_name: OfClass = None,
    column_a: ColumnA = None,
    column_b: ColumnB = None,
    tolerance: Tolerance = None,
    cutoff: Cutoff = None,
    groups: Groups = None,
    out: Page = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare scores of the same slides: readers, the suite and a reader, or two runs.

    Slides are matched by their names, without folder and ending. Those in one of the two alone are
    named and left out; a slide that comes twice is refused.
    """
    from wsi_suite.cli.terminal import print_json, say
    from wsi_suite.commands import studies

    agreement = studies.compare(
        first,
        second,
        score=score,
        class_name=class_name,
        column_a=column_a,
        column_b=column_b,
        tolerance=tolerance,
        cutoff=cutoff,
        groups=None if groups is None else _numbers(groups),
        out=out,
    )
    if as_json:
        print_json(agreement.as_json())
    else:
        _show_agreement(agreement)
    for side in (agreement.first, agreement.second):
        _tell_left_out(side)
    if out is not None:
        say(f"Page: {out}")


def _numbers(text: str) -> list[float]:
    from wsi_suite.errors import ConfigError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--groups {text}: expected rising scores, as in 50,100,200") from None


def _show_agreement(agreement: Agreement) -> None:
    from wsi_suite.cli.terminal import show_table, stdout

    limits, tolerance = agreement.limits, agreement.tolerance
    rows = [
        _row("ICC(2,1)", agreement.icc),
        _row("Lin's concordance", agreement.concordance),
        _row("bias, A less B", limits.bias, form="z.1f"),
        _row("lower limit of agreement", limits.lower, form="z.1f"),
        _row("upper limit of agreement", limits.upper, form="z.1f"),
        _row(f"share within {tolerance:g}", agreement.within),
        _row("kappa of groups, quadratic", agreement.kappa),
    ]
    if (at := agreement.at_cutoff) is not None:
        rows += [
            _row(f"share on one side of {at.cutoff:g}", at.agreement),
            _row(f"kappa at {at.cutoff:g}", at.kappa),
        ]
    show_table(("", "value", "95 % interval"), rows)
    stdout.print(
        f"{agreement.pairs} pair{'' if agreement.pairs == 1 else 's'}; "
        f"A: {agreement.first.name}, B: {agreement.second.name}; groups from "
        f"{', '.join(f'{value:g}' for value in agreement.groups)}",
        style="dim",
        markup=False,
        soft_wrap=True,
    )


def _row(words: str, figure: Figure, *, form: str = "z.3f") -> tuple[str, str, str]:
    value = "-" if figure.value is None else format(figure.value, form)
    if figure.low is None or figure.high is None:
        return words, value, figure.reason or "-"
    return words, value, f"{figure.low:{form}} to {figure.high:{form}}"


def _tell_left_out(side: Side) -> None:
    from wsi_suite.cli.terminal import note

    for slides, why in ((side.alone, "only in"), (side.without_score, "without a score in")):
        if slides:
            some = ", ".join(slides[:_SHOWN]) + (", ..." if len(slides) > _SHOWN else "")
            note(f"{why} {side.name} ({len(slides)}): {some}")
