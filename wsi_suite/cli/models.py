"""``train``, ``evaluate`` and ``models``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from wsi_suite.cli.options import Debug, Device, Json, SetValue

Data = Annotated[
    Path,
    typer.Option(help="Folder with images/, labels/ and tiles.csv (id, id_run, mpp).",
                 metavar="FOLDER"),
]
TileMpp = Annotated[
    float | None,
    typer.Option(help="um per pixel of the tiles, where tiles.csv does not say.", metavar="F"),
]


def train(
    config: Annotated[
        Path, typer.Argument(help="YAML of a training (see sample_configs/).", metavar="CONFIG")
    ],
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Becomes the model's folder.", metavar="DIR")
    ],
    mpp: TileMpp = None,
    set_: SetValue = None,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a detector on labelled tiles; the same command again goes on.

    Needs the extra 'train': pip install 'wsi-suite\\[train]'. Curves: tensorboard --logdir DIR.

    wsi-suite train sample_configs/train_endonuke.yaml --data endonuke --out models/mine
    """
    from wsi_suite.cli.terminal import stderr
    from wsi_suite.config import parse_settings, read_values
    from wsi_suite.errors import ConfigError

    try:
        import lightning  # noqa: F401 - only to say in one line that it is missing
    except ImportError:
        raise ConfigError("training needs lightning: pip install 'wsi-suite[train]'") from None
    from wsi_suite.nuclei.training import train_model
    from wsi_suite.nuclei.training_settings import TrainSettings

    settings = parse_settings(TrainSettings, read_values(config, overrides=set_ or []),
                              source=config)
    with _epochs() as told:
        folder = train_model(settings, data=data, out=out, mpp=mpp, device=device or "auto",
                             progress=told)
    stderr.print(f"model: {folder.path}", markup=False, soft_wrap=True)
    if settings.split.test_runs:
        runs = settings.split.test_runs
        _evaluate(str(out), data=data, mpp=mpp, runs=list(runs), match_um=3.5,
                  device=device or "auto", as_json=as_json)


def evaluate(
    model: Annotated[
        str, typer.Option(help="A bundled model's name, or a model folder.", metavar="NAME|FOLDER")
    ],
    data: Data,
    mpp: TileMpp = None,
    runs: Annotated[
        list[str] | None,
        typer.Option("--run", help="Only tiles of this id_run; may be repeated.", metavar="ID"),
    ] = None,
    match_um: Annotated[
        float, typer.Option(min=0.1, help="Largest distance of a match, um.", metavar="F")
    ] = 3.5,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a model on labelled tiles: average precision, precision, recall, F1.

    wsi-suite evaluate --model endonuke-resnet18 --data endonuke --run 386-456 --run 1574-1595
    """
    _evaluate(model, data=data, mpp=mpp, runs=runs or [], match_um=match_um,
              device=device or "auto", as_json=as_json)


def list_models(as_json: Json = False, debug: Debug = False) -> None:
    """List the bundled models."""
    from wsi_suite.cli.terminal import show_table, stdout
    from wsi_suite.nuclei.weights import bundled_models, find_model

    folders = [find_model(name) for name in bundled_models()]
    if as_json:
        stdout.file.write(json.dumps(
            [{"name": f.spec.name, "path": str(f.path), "hash": f.hash,
              "classes": f.spec.classes, "read_mpp": f.spec.read_mpp} for f in folders],
            indent=2) + "\n")
        return
    show_table("", ("model", "classes", "um/px", "backbone", "hash"), [
        (f.spec.name, ", ".join(f.spec.classes), f.spec.read_mpp, f.spec.network.backbone,
         f.hash[:12]) for f in folders])


def _evaluate(
    model: str, *, data: Path, mpp: float | None, runs: list[str], match_um: float, device: str,
    as_json: bool,
) -> None:
    from wsi_suite.cli.terminal import stderr, stdout
    from wsi_suite.nuclei.detector import load_detector
    from wsi_suite.nuclei.evaluation import evaluation_as_dict
    from wsi_suite.nuclei.labelled import load_tiles, tiles_of_runs
    from wsi_suite.nuclei.tiles import evaluate_model

    detector = load_detector(model, device=device)
    tiles = load_tiles(data, detector.spec.labels, mpp=mpp)
    if runs:
        tiles = tiles_of_runs(tiles, runs)
    seen = set(detector.spec.provenance.get("runs", {}).get("train", []))
    if seen & {tile.run for tile in tiles}:
        stderr.print("[yellow]note:[/yellow] the model was trained on some of these runs: "
                     + ", ".join(sorted(seen & {tile.run for tile in tiles})))
    with stderr.status(f"{len(tiles)} tiles"):
        figures = evaluation_as_dict(evaluate_model(detector, tiles, match_um=match_um))
    if as_json:
        stdout.file.write(json.dumps(figures, indent=2) + "\n")
    else:
        _show_figures(figures)


def _show_figures(figures: dict[str, Any]) -> None:
    from wsi_suite.cli.terminal import show_table, stdout

    show_table("", ("class", "AP", "precision", "recall"), [
        (name, _three(ap), _three(figures["precision"][name]), _three(figures["recall"][name]))
        for name, ap in figures["ap"].items()])
    stdout.print(f"mAP {_three(figures['map'])}   F1 {_three(figures['f1'])}   "
                 f"F1 without classes {_three(figures['f1_agnostic'])}")
    stdout.print(f"{figures['nuclei']} nuclei in {figures['tiles']} tiles; matches within "
                 f"{figures['match_um']} um, scores from {figures['min_score']}", style="dim")


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _epochs() -> Any:  # noqa: ANN401 - a context manager of rich's
    """Show a bar of epochs with the loss, and a line per look at the validation runs."""
    from contextlib import contextmanager

    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from wsi_suite.cli.terminal import stderr

    @contextmanager
    def bar() -> Any:  # noqa: ANN401
        with Progress(TextColumn("epoch {task.completed}/{task.total}"), BarColumn(bar_width=24),
                      TextColumn("{task.description}"), TimeRemainingColumn(compact=True),
                      console=stderr) as progress:
            task = progress.add_task("", total=None)

            def told(epoch: int, epochs: int, metrics: dict[str, float]) -> None:
                text = "  ".join(
                    f"{name.rpartition('/')[2]} {value:.3f}" for name, value in metrics.items()
                    if name in ("train/loss", "validation/map", "validation/f1"))
                progress.update(task, completed=epoch, total=epochs, description=text)

            yield told

    return bar()
