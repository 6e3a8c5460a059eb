"""``evaluate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import Debug, Device, Json
from wsi_suite.commands.defaults import DEFAULT_MODEL, MATCH_UM, MIN_MATCH_UM

if TYPE_CHECKING:
    from wsi_suite.training.evaluation_report import EvaluationReport
    from wsi_suite.training.trial import FigureDifference, FigureInterval

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        help="Folder with images/, labels/ and tiles.csv (id, id_run, mpp).",
        metavar="FOLDER",
        show_default=False,
    ),
]
TileMpp = Annotated[
    float | None,
    typer.Option(
        "--mpp",
        help="um per pixel of the tiles, 0.05 to 10, where tiles.csv does not say.",
        metavar="UM",
    ),
]
TriedModel = Annotated[
    str,
    typer.Option(
        "--model",
        help="A model's name ('wsi-suite models' lists them), or a model folder.",
        metavar="NAME|FOLDER",
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        help="Another model of the same classes to compare with, on the same tiles.",
        metavar="NAME|FOLDER",
    ),
]
Runs = Annotated[
    list[str] | None,
    typer.Option("--run", help="Only tiles of this id_run; may be repeated.", metavar="ID"),
]
MatchUm = Annotated[
    float,
    typer.Option(
        "--match-um", min=MIN_MATCH_UM, help="Largest distance of a match, um.", metavar="UM"
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        "--part",
        help="Measure on one part of a dataset's split only, as test.",
        metavar="PART",
        show_default=False,
    ),
]
Stretched = Annotated[
    bool,
    typer.Option(
        "--stretched",
        help="Stretch each tile's contrast first, as QuPath's InstanSeg extension does.",
    ),
]
Normalise = Annotated[
    str | None,
    typer.Option(
        "--normalise",
        help="Give tiles the stain of --normalise-to first, by TIAToolbox: macenko, reinhard or "
        "vahadane.",
        metavar="METHOD",
    ),
]
NormaliseTo = Annotated[
    Path | None,
    typer.Option("--normalise-to", help="Picture with the wanted stain.", metavar="PICTURE"),
]
Flips = Annotated[
    bool,
    typer.Option("--flips", help="Average eight flips and turns, as detect.flips does."),
]
ReportPage = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write a page with pictures: curves, reliability, counts, the worst tiles.",
        metavar="FILE.html",
    ),
]


def evaluate(
    *,
    data: Data,
    model: TriedModel = DEFAULT_MODEL,
    against: Against = None,
    mpp: TileMpp = None,
    runs: Runs = None,
    part: Part = None,
    match_um: MatchUm = MATCH_UM,
    stretched: Stretched = False,
    normalise: Normalise = None,
    normalise_to: NormaliseTo = None,
    flips: Flips = False,
    report: ReportPage = None,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a model on labelled tiles: average precision, precision, recall, F1.

    A detection matches the nearest free nucleus of its class within --match-um, confident ones
    first. Precision, recall and F1 are those at the model's own threshold. Intervals come from
    runs, and tiles within them, drawn again 1,000 times.
    """
    from wsi_suite.cli.progress import messages
    from wsi_suite.cli.terminal import note, print_json
    from wsi_suite.commands import models

    with messages() as progress:
        figures = models.evaluate(
            model,
            data=data,
            against=against,
            mpp=mpp,
            runs=runs or (),
            part=part,
            match_um=match_um,
            stretched=stretched,
            normalise=normalise,
            normalise_to=normalise_to,
            flips=flips,
            report=report,
            device=device,
            tell=note,
            progress=progress,
        )
    if as_json:
        print_json(figures.as_json())
    else:
        show_figures(figures)


def show_figures(report: EvaluationReport) -> None:
    """Print figures as tables."""
    from wsi_suite.cli.terminal import show_table, stdout
    from wsi_suite.training.evaluation_report import model_names

    classes = [
        (name, _three(ap), _three(report.precision[name]), _three(report.recall[name]))
        for name, ap in report.ap.items()
    ]
    show_table(("class", "AP", "precision", "recall"), classes)
    names = {"map": "mAP", "f1": "F1", "f1_agnostic": "F1 without classes"}
    show_table(
        ("", "value", "95 % interval"),
        [
            (words, _three(getattr(report, name)), _range(report.intervals[name], _three))
            for name, words in names.items()
        ],
    )
    if report.against is not None:
        stdout.print(f"less the figures of {model_names(report)[1]} on the same tiles:")
        differences, others = report.against.differences, report.against.figures
        show_table(
            ("", "its value", "difference", "95 % interval"),
            [
                (
                    words,
                    _three(getattr(others, name)),
                    _signed(differences[name].value),
                    _range(differences[name], _signed),
                )
                for name, words in names.items()
            ],
        )
    stdout.print(
        f"calibration error {_three(report.calibration_error)}   "
        f"of the classes {_three(report.class_calibration_error)}"
    )
    stdout.print(
        f"{report.nuclei:,} nuclei in {_counted(report.tiles, 'tile')} of "
        f"{_counted(len(report.by_run), 'run')}; matches "
        f"within {report.match_um} um, confidence from {report.min_confidence}",
        style="dim",
    )


def _range(
    interval: FigureInterval | FigureDifference, as_text: Callable[[float | None], str]
) -> str:
    return "-" if interval.low is None else f"{as_text(interval.low)} to {as_text(interval.high)}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
