"""``crossvalidate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.evaluation import Data, TileMpp
from wsi_suite.cli.models import HAndE, TrainConfig, TrainValue, check_training_extra
from wsi_suite.cli.options import Debug, Device, Json

if TYPE_CHECKING:
    from wsi_suite.training.crossvalidation import CrossValidation, Figures, Spread

Folds = Annotated[
    int | None,
    typer.Option(
        "--folds", min=2, help="Number of folds; by default each run is one.", metavar="N"
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seed", min=0, help="Train each fold with this seed, too.", metavar="N"),
]
FoldsOut = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="Folder of the folds' models and of crossvalidation.json.",
        metavar="DIR",
        show_default=False,
    ),
]


def crossvalidate(
    *,
    config: TrainConfig,
    data: Data,
    out: FoldsOut,
    folds: Folds = None,
    seeds: Seeds = None,
    h_and_e: HAndE = None,
    mpp: TileMpp = None,
    set_: TrainValue = None,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    r"""Train without some runs and test on them, for all runs in turn.

    Shows the mean over folds and seeds, with the range, on the held-out tiles as they are and
    under simulated shifts of stain, focus, compression and resolution. Compare settings by this
    table, never by a single run. A stopped cross-validation continues when the same command is
    given again. Needs the extra 'train': pip install 'wsi-suite\[train]'.
    """
    from wsi_suite.cli.progress import epoch_progress
    from wsi_suite.cli.terminal import print_json
    from wsi_suite.config import parse_settings, read_values

    check_training_extra()
    from wsi_suite.training.crossvalidation import cross_validate
    from wsi_suite.training.settings import TrainSettings

    settings = parse_settings(
        TrainSettings, read_values(config, overrides=set_ or []), source=config
    )
    with epoch_progress() as progress:
        report = cross_validate(
            settings,
            data=data,
            out=out,
            folds=folds,
            seeds=tuple(dict.fromkeys(seeds or [0])),
            h_and_e=h_and_e,
            mpp=mpp,
            device=device or "auto",
            progress=progress,
        )
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _show(report)


def _show(report: CrossValidation) -> None:
    from wsi_suite.cli.terminal import show_table

    classes = list(next(iter(report.folds[0].figures.values())).ap)
    rows = []
    for shift in report.folds[0].figures:
        columns: list[Callable[[Figures], float | None]] = [
            lambda figures: figures.map,
            *(lambda figures, name=name: figures.ap[name] for name in classes),
            lambda figures: figures.f1_without_classes,
        ]
        rows.append((shift, *(_text(report.spread(shift, column)) for column in columns)))
    show_table(
        ("held-out tiles", "mAP", *(f"AP {name}" for name in classes), "F1, any class"), rows
    )


def _text(spread: Spread) -> str:
    if spread.mean != spread.mean:  # NaN: no fold has it
        return "-"
    return f"{spread.mean:.3f} ({spread.lowest:.2f}-{spread.highest:.2f})"
