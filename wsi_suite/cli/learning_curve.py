"""``learning-curve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.crossvalidate import read_settings, split_variants
from wsi_suite.cli.evaluation import Data, TileMpp
from wsi_suite.cli.models import HAndE, TrainConfig, TrainValue
from wsi_suite.cli.options import Debug, Device, Json
from wsi_suite.commands.checks import check_out, check_page, check_training_extra

if TYPE_CHECKING:
    from wsi_suite.training.learning_answer import AnswerRow
    from wsi_suite.training.learning_curve_document import LearningCurve

Shares = Annotated[
    str,
    typer.Option(
        "--shares", help="Shares of the cases to train on, with commas.", metavar="S,S,..."
    ),
]
Repeats = Annotated[
    int,
    typer.Option(
        "--repeats", min=1, help="Number of repeats, each with other test cases.", metavar="N"
    ),
]
TestShare = Annotated[
    float,
    typer.Option(
        "--test-share",
        min=0.01,
        max=0.9,
        help="Share of the cases that each repeat is tested on, at least one.",
        metavar="SHARE",
    ),
]
CurveVariants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        help="A name and settings over CONFIG, as 'frozen: init=r18.pth "
        "optimiser.freeze=backbone'; each has a curve on the same page.",
        metavar="NAME: KEY=VALUE...",
    ),
]
CurveOut = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="Folder of the models, of the page, and of the figures as JSON and CSV.",
        metavar="DIR",
        show_default=False,
    ),
]
CurvePage = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write the page here.",
        metavar="FILE.html",
        show_default="DIR/learning_curve.html",
    ),
]


def learning_curve(
    *,
    config: TrainConfig,
    data: Data,
    out: CurveOut,
    shares: Shares = "0.25,0.5,1",
    repeats: Repeats = 3,
    test_share: TestShare = 0.25,
    variants: CurveVariants = None,
    h_and_e: HAndE = None,
    mpp: TileMpp = None,
    set_: TrainValue = None,
    report: CurvePage = None,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    r"""Tell whether more annotation pays: train on growing shares of the cases.

    Each repeat holds out other cases (patients or slides), the same for all shares; test runs of
    CONFIG are not used. A power law is fitted to mAP and F1 and extrapolated to twice and four
    times the cases, with intervals, unless the points do not determine it. All trainings have
    equally many steps. The same command continues what was stopped and tries again what failed.
    Needs the extra 'train': pip install 'wsi-suite\[train]'.
    """
    from wsi_suite.cli.progress import epoch_progress
    from wsi_suite.cli.terminal import note, print_json, say

    check_training_extra()
    check_page(report, option="--report")
    check_out(out)
    wanted = _shares(shares)
    settings = {
        name: read_settings(config, [*(set_ or []), *changes])
        for name, changes in split_variants(variants or ["CONFIG:"]).items()
    }
    from wsi_suite.training.learning_curve import learn_curve
    from wsi_suite.training.learning_curve_page import PAGE_FILE, write_curve_page

    with epoch_progress() as progress:
        curve = learn_curve(
            settings,
            data=data,
            out=out,
            shares=wanted,
            repeats=repeats,
            test_share=test_share,
            h_and_e=h_and_e,
            mpp=mpp,
            device=device or "auto",
            progress=progress,
        )
    page = report or out / PAGE_FILE
    write_curve_page(page, curve)
    if as_json:
        print_json(curve.as_json())
    else:
        _show(curve)
    for warning in curve.warnings:
        note(warning)
    say(f"Page: {page}")
    if curve.failed:
        say(f"{len(curve.failed)} of {curve.planned} failed; the same command tries them again")
        raise typer.Exit(1)


def _shares(text: str) -> list[float]:
    """Return the shares of an option."""
    from wsi_suite.errors import ConfigError

    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f"--shares {text}: expected numbers, as 0.25,0.5,1") from None


def _show(curve: LearningCurve) -> None:
    from wsi_suite.cli.terminal import show_table, stdout
    from wsi_suite.training.learning_answer import answer_rows
    from wsi_suite.training.learning_curve_document import FIGURES
    from wsi_suite.training.trial import LEVEL

    several = len(curve.variants) > 1
    rows = []
    for variant in curve.variants:
        for name in ("map", "f1"):
            for row in answer_rows(variant, name):
                named = (variant.name,) if several else ()
                rows.append((*named, FIGURES[name][0], *_cells(row)))
    columns = ("figure", "share", "cases", "repeats", "score", f"{100 * LEVEL:g} % interval")
    show_table((*(("variant",) if several else ()), *columns, "gain of doubling"), rows)
    for variant in curve.variants:
        for name in ("map", "f1"):
            words = variant.outlooks[name].words
            text = f"{variant.name}: {words}" if several else words
            stdout.print(text, markup=False, highlight=False)


def _cells(row: AnswerRow) -> tuple[str | None, ...]:
    """Return the cells of a row of the answer."""
    gain = "not told" if row.is_last else None
    if row.doubled is not None:
        one = row.doubled
        gain = f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
    return (
        f"{100 * row.share:.0f} %",
        str(row.cases),
        f"{row.repeats} of {row.planned}",
        None if row.mean is None else f"{row.mean:.3f}",
        None if row.low is None else f"{row.low:.3f} to {row.high:.3f}",
        gain,
    )
