"""``crossvalidate``."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_suite.cli.evaluation import Data, TileMpp
from wsi_suite.cli.models import HAndE, TrainConfig, TrainValue
from wsi_suite.cli.options import Debug, Device, Json
from wsi_suite.commands.checks import check_training_extra

if TYPE_CHECKING:
    from wsi_suite.training.crossvalidation import CrossValidation, Figures, Spread
    from wsi_suite.training.settings import TrainSettings
    from wsi_suite.training.trial import FigureDifference
    from wsi_suite.training.variants import VariantComparison

Folds = Annotated[
    int | None,
    typer.Option(
        "--folds", min=2, help="Number of folds; by default each run is one.", metavar="N"
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option(
        "--seed",
        min=0,
        help="Train each fold with this seed; may be repeated.",
        metavar="N",
        show_default="optimiser.seed of CONFIG",
    ),
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        help="A name and settings over CONFIG, as 'frozen: init=r18.pth "
        "optimiser.freeze=backbone'; give two or more, all are compared with the first.",
        metavar="NAME: KEY=VALUE...",
    ),
]
FoldsOut = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="Folder of the folds' models and of the figures as JSON.",
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
    variants: Variants = None,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    r"""Train without some runs and test on them, for all runs in turn.

    Shows the mean over folds and seeds, with the range, on the held-out tiles as they are and
    under simulated shifts of stain, focus, compression and resolution. Compare settings by this
    table, never by a single run: with --variant several settings are trained on the same folds and
    shown with their paired differences. A stopped cross-validation continues when the same command
    is given again. Needs the extra 'train': pip install 'wsi-suite\[train]'.
    """
    from wsi_suite.cli.progress import epoch_progress
    from wsi_suite.cli.terminal import print_json

    check_training_extra()
    settings = {
        name: read_settings(config, [*(set_ or []), *changes])
        for name, changes in split_variants(variants or ["CONFIG:"]).items()
    }
    common: dict[str, Any] = {
        "data": data,
        "out": out,
        "folds": folds,
        "seeds": tuple(dict.fromkeys(seeds)) if seeds else None,
        "h_and_e": h_and_e,
        "mpp": mpp,
        "device": device or "auto",
    }
    from wsi_suite.training.crossvalidation import cross_validate
    from wsi_suite.training.variants import compare_variants

    report: CrossValidation | VariantComparison
    with epoch_progress() as progress:
        if variants:
            report = comparison = compare_variants(settings, **common, progress=progress)
        else:
            report = validation = cross_validate(settings["CONFIG"], **common, progress=progress)
    if as_json:
        print_json(report.model_dump(mode="json"))
    elif variants:
        show_comparison(comparison)
    else:
        _show(validation)


def read_settings(config: Path, overrides: list[str]) -> TrainSettings:
    """Return the settings of a training, with changes over its file."""
    from wsi_suite.config import parse_settings
    from wsi_suite.settings_files import read_values
    from wsi_suite.training.settings import TrainSettings

    return parse_settings(TrainSettings, read_values(config, overrides=overrides), source=config)


def split_variants(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the settings of each variant by its name; blanks in quotes part nothing."""
    from wsi_suite.errors import ConfigError

    variants: dict[str, list[str]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        name = name.strip()
        if not colon or not name or "=" in name:
            raise ConfigError(
                f"--variant {text}: expected NAME: KEY=VALUE ..., as in 'small: "
                "network.channels=32'; no settings leave CONFIG as it is"
            )
        if name in variants:
            raise ConfigError(f"--variant {text}: the name '{name}' comes twice; choose another")
        parts = shlex.shlex(rest, posix=True)
        parts.whitespace_split, parts.commenters, parts.escape = True, "", ""
        try:
            variants[name] = list(parts)
        except ValueError as error:
            raise ConfigError(f"--variant {text}: a quote is not closed ({error})") from None
    return variants


def show_comparison(report: VariantComparison) -> None:
    """Print variants in one table, with their differences from the first."""
    from wsi_suite.cli.terminal import show_table
    from wsi_suite.training.crossvalidation import UNCHANGED, CrossValidation

    figures: dict[str, tuple[str, Callable[[Figures], float | None]]] = {
        "map": ("mAP", lambda figures: figures.map),
        "f1": ("F1", lambda figures: figures.f1),
        "f1_agnostic": ("F1, any class", lambda figures: figures.f1_without_classes),
    }
    rows = []
    for variant in report.variants:
        folds = CrossValidation(folds=variant.folds)
        for name, (words, figure) in figures.items():
            difference = variant.differences.get(name)
            rows.append(
                (
                    variant.name if name == "map" else "",
                    words,
                    spread_text(folds.spread(UNCHANGED, figure)),
                    *(("", "", "") if difference is None else _difference(difference)),
                )
            )
    first = report.variants[0].name
    show_table(("variant", "", "mean (range)", f"less {first}", "95 % interval", "p"), rows)


def _difference(difference: FigureDifference) -> tuple[str, str, str]:
    if difference.value is None:
        return "-", "-", "-"
    interval = f"{difference.low:+.3f} to {difference.high:+.3f}"
    return f"{difference.value:+.3f}", interval, f"{difference.p:.3f}"


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
        rows.append((shift, *(spread_text(report.spread(shift, column)) for column in columns)))
    show_table(
        ("held-out tiles", "mAP", *(f"AP {name}" for name in classes), "F1, any class"), rows
    )


def spread_text(spread: Spread) -> str:
    """Return a mean with its range; a dash of none."""
    if spread.mean != spread.mean:  # NaN: no fold has it
        return "-"
    return f"{spread.mean:.3f} ({spread.lowest:.2f}-{spread.highest:.2f})"
