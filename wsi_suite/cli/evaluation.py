"""``evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import Debug, Device, Json, check_page

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Detector
    from wsi_suite.training.evaluation_report import EvaluationReport
    from wsi_suite.training.tiles import PixelChange
    from wsi_suite.training.trial import Difference, Interval

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
    typer.Option("--match-um", min=0.1, help="Largest distance of a match, um.", metavar="UM"),
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

DEFAULT_MODEL = "endonuke-resnet18"
MATCH_UM = 3.5


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
    from wsi_suite.cli.terminal import print_json
    from wsi_suite.errors import ConfigError

    if (normalise is None) != (normalise_to is None):
        raise ConfigError("--normalise and --normalise-to: give both, or none")
    if normalise is not None and stretched:
        raise ConfigError("--stretched: shows tiles in another way than --normalise; give one")
    check_page(report, option="--report")
    figures = evaluate_on_tiles(
        model,
        data=data,
        mpp=mpp,
        runs=runs or (),
        part=part,
        match_um=match_um,
        stretched=stretched,
        normalise=normalise,
        normalise_to=normalise_to,
        flips=flips,
        device=device,
        against=against,
        page=report,
    )
    if as_json:
        print_json(figures.as_json())
    else:
        show_figures(figures)


def evaluate_on_tiles(
    model: str,
    *,
    data: Path,
    mpp: float | None,
    runs: Sequence[str],
    device: str | None,
    part: str | None = None,
    match_um: float = MATCH_UM,
    stretched: bool = False,
    normalise: str | None = None,
    normalise_to: Path | None = None,
    flips: bool = False,
    against: str | None = None,
    page: Path | None = None,
) -> EvaluationReport:
    """Return the figures of a model, told as they come; options as those of the command."""
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note
    from wsi_suite.datasets.pictures import read_rgb
    from wsi_suite.detector.detector import load_detector
    from wsi_suite.detector.model_folder import trained_runs
    from wsi_suite.training.evaluation_report import report_trial, write_page
    from wsi_suite.training.labelled import load_tiles, tiles_of_part, tiles_of_runs
    from wsi_suite.training.normalisation import stain_normaliser
    from wsi_suite.training.tiles import as_in_instanseg
    from wsi_suite.training.trial import Trial, try_model

    detectors = [
        load_detector(name, device=device or "auto", flips=flips)
        for name in (model, against)
        if name is not None
    ]
    tiles = load_tiles(data, detectors[0].spec.labels, mpp=mpp)
    if runs:
        tiles = tiles_of_runs(tiles, runs)
    if part is not None:
        tiles = tiles_of_part(tiles, part)

    def attempt(detector: Detector) -> Trial:
        trained_on = trained_runs(detector.spec.provenance)
        seen = sorted(trained_on & {tile.run for tile in tiles})
        if seen:
            name = "the model" if against is None else detector.spec.name
            note(f"{name} was trained on some of these runs: {', '.join(seen)}")
        change: PixelChange | None = None
        if stretched:
            change = partial(as_in_instanseg, spec=detector.spec)
        if normalise is not None and normalise_to is not None:
            change = stain_normaliser(normalise, read_rgb(normalise_to))
        with working(f"detecting in {len(tiles)} tiles"):
            return try_model(detector, tiles, match_um=match_um, change=change)

    trial, *others = [attempt(detector) for detector in detectors]
    with working("drawing tiles again"):
        report = report_trial(trial, against=others[0] if others else None)
        if page is not None:
            write_page(page, report, trial, read_mpp=detectors[0].spec.read_mpp)
    return report


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


def _range(interval: Interval | Difference, as_text: Callable[[float | None], str]) -> str:
    return "-" if interval.low is None else f"{as_text(interval.low)} to {as_text(interval.high)}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
