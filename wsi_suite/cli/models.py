"""``train``, ``evaluate``, ``models`` and ``models export``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import Debug, Device, Json

if TYPE_CHECKING:
    from wsi_suite.training.evaluation import EvaluationFigures
    from wsi_suite.training.tiles import PixelChange

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
TrainConfig = Annotated[
    Path,
    typer.Argument(
        help="YAML of a training, as sample_configs/train_endonuke.yaml.",
        metavar="CONFIG",
        show_default=False,
    ),
]
TrainValue = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="One setting, as optimiser.epochs=20; may be repeated, goes over CONFIG.",
        metavar="KEY=VALUE",
    ),
]
HAndE = Annotated[
    Path | None,
    typer.Option(
        "--h-and-e",
        help="Folder of tiles stained with H&E, drawn again as H-DAB.",
        metavar="DIR",
        show_default=False,
    ),
]
ModelOut = Annotated[
    Path,
    typer.Option(
        "--out", "-o", help="Becomes the model's folder.", metavar="DIR", show_default=False
    ),
]
AnyModel = Annotated[
    str,
    typer.Option(
        "--model",
        help="A bundled model's name, or a model folder.",
        metavar="NAME|FOLDER",
        show_default=False,
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
ExportedModel = Annotated[
    str,
    typer.Argument(
        help="A bundled model's name, or a model folder.",
        metavar="NAME|FOLDER",
        show_default=False,
    ),
]
ExportFormat = Annotated[
    str,
    typer.Option(
        "--format", help="instanseg, onnx or torchscript.", metavar="FORMAT", show_default=False
    ),
]
ExportOut = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="The file, or for instanseg the folder; it must not be there yet.",
        metavar="PATH",
        show_default=False,
    ),
]

MATCH_UM = 3.5


def train(
    *,
    config: TrainConfig,
    data: Data,
    out: ModelOut,
    h_and_e: HAndE = None,
    mpp: TileMpp = None,
    set_: TrainValue = None,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    r"""Train a detector on labelled tiles.

    Figures on split.test_runs come at the end. A training that was stopped goes on when the same
    command is given again; 'tensorboard --logdir DIR' shows its curves. Needs the extra
    'train': pip install 'wsi-suite\[train]'.
    """
    from wsi_suite.cli.terminal import print_json, say
    from wsi_suite.config import parse_settings, read_values

    check_training_extra()
    from wsi_suite.cli.progress import epoch_progress
    from wsi_suite.training.settings import TrainSettings

    values = read_values(config, overrides=set_ or [])
    settings = parse_settings(TrainSettings, values, source=config)
    with epoch_progress() as progress:
        from wsi_suite.training.train import train_model  # takes seconds

        model = train_model(
            settings,
            data=data,
            out=out,
            h_and_e=h_and_e,
            mpp=mpp,
            device=device or "auto",
            progress=progress,
        )
    say(f"model: {model.path}")
    figures = None
    if settings.split.test_runs:
        figures = _evaluate(
            str(out), data=data, mpp=mpp, runs=settings.split.test_runs, device=device
        )
    if as_json:
        measured = None if figures is None else figures.as_json()
        print_json({"model": str(model.path), "hash": model.hash, "evaluation": measured})
    elif figures:
        _show_figures(figures)


def check_training_extra() -> None:
    """Raise ConfigError if the packages for training are not installed."""
    from wsi_suite.errors import ConfigError

    if find_spec("lightning") is None or find_spec("tensorboard") is None:
        raise ConfigError("training needs lightning: pip install 'wsi-suite[train]'")


def evaluate(
    *,
    model: AnyModel,
    data: Data,
    mpp: TileMpp = None,
    runs: Runs = None,
    match_um: MatchUm = MATCH_UM,
    stretched: Stretched = False,
    normalise: Normalise = None,
    normalise_to: NormaliseTo = None,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a model on labelled tiles: average precision, precision, recall, F1.

    A detection matches the nearest free nucleus of its class within --match-um, confident ones
    first. Precision, recall and F1 are those at the model's own threshold.
    """
    from wsi_suite.cli.terminal import print_json
    from wsi_suite.errors import ConfigError

    if (normalise is None) != (normalise_to is None):
        raise ConfigError("--normalise and --normalise-to: give both, or none")
    if normalise is not None and stretched:
        raise ConfigError("--stretched: shows tiles in another way than --normalise; give one")
    figures = _evaluate(
        model,
        data=data,
        mpp=mpp,
        runs=runs or (),
        match_um=match_um,
        stretched=stretched,
        normalise=normalise,
        normalise_to=normalise_to,
        device=device,
    )
    if as_json:
        print_json(figures.as_json())
    else:
        _show_figures(figures)


def list_models(context: typer.Context, *, as_json: Json = False, debug: Debug = False) -> None:
    """List the bundled models, or export one for other programs."""
    if context.invoked_subcommand is not None:
        return
    from wsi_suite.cli.terminal import print_json, say, show_table
    from wsi_suite.detector.model_folder import bundled_models, find_model

    folders = [find_model(name) for name in bundled_models()]
    if as_json:
        print_json(
            [
                {
                    "name": folder.spec.name,
                    "path": str(folder.path),
                    "hash": folder.hash,
                    "classes": folder.spec.classes,
                    "read_mpp": folder.spec.read_mpp,
                }
                for folder in folders
            ]
        )
        return
    if not folders:
        say("No model is bundled; give a model folder to --model.")
        return
    rows = (
        (
            folder.spec.name,
            ", ".join(folder.spec.classes),
            folder.spec.read_mpp,
            folder.spec.network.backbone,
            folder.hash[:12],
        )
        for folder in folders
    )
    show_table(("model", "classes", "um/px", "backbone", "hash"), rows)


def export(
    *,
    model: ExportedModel,
    format_name: ExportFormat,
    out: ExportOut,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    r"""Write a model for another program.

    instanseg: a folder that QuPath's InstanSeg extension runs by itself (QuPath 0.6 and later).
    torchscript: one file, from pixels to nuclei. onnx: one file, from pixels to maps of
    confidence; needs the extra 'export': pip install 'wsi-suite\[export]'. What is written has
    been run, and answers as the detector does.
    """
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note, print_json, say
    from wsi_suite.detector.model_folder import find_model
    from wsi_suite.export.formats import export_model

    with working(f"writing {out}"):
        written = export_model(find_model(model), out, format_name=format_name)
    difference = written.difference
    note(
        f"compared with the detector: confidences differ by {difference.confidence:.1g} at most, "
        f"positions by {difference.position_px:.1g} px"
    )
    if as_json:
        print_json({"path": str(written.path), "difference": vars(difference)})
    else:
        say(f"{format_name}: {written.path}")


def _evaluate(
    model: str,
    *,
    data: Path,
    mpp: float | None,
    runs: Sequence[str],
    device: str | None,
    match_um: float = MATCH_UM,
    stretched: bool = False,
    normalise: str | None = None,
    normalise_to: Path | None = None,
) -> EvaluationFigures:
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note
    from wsi_suite.detector.detector import load_detector
    from wsi_suite.detector.model_folder import trained_runs
    from wsi_suite.training.evaluation import EvaluationFigures
    from wsi_suite.training.labelled import load_tiles, read_rgb, tiles_of_runs
    from wsi_suite.training.normalisation import stain_normaliser
    from wsi_suite.training.tiles import as_in_instanseg, evaluate_model

    detector = load_detector(model, device=device or "auto")
    tiles = load_tiles(data, detector.spec.labels, mpp=mpp)
    if runs:
        tiles = tiles_of_runs(tiles, runs)
    trained_on = trained_runs(detector.spec.provenance)
    seen = sorted(trained_on & {tile.run for tile in tiles})
    if seen:
        note(f"the model was trained on some of these runs: {', '.join(seen)}")
    change: PixelChange | None = None
    if stretched:
        change = partial(as_in_instanseg, spec=detector.spec)
    if normalise is not None and normalise_to is not None:
        change = stain_normaliser(normalise, read_rgb(normalise_to))
    with working(f"detecting in {len(tiles)} tiles"):
        result = evaluate_model(detector, tiles, match_um=match_um, change=change)
    return EvaluationFigures.of(result)


def _show_figures(figures: EvaluationFigures) -> None:
    from wsi_suite.cli.terminal import show_table, stdout

    classes = [
        (name, _three(ap), _three(figures.precision[name]), _three(figures.recall[name]))
        for name, ap in figures.ap.items()
    ]
    show_table(("class", "AP", "precision", "recall"), classes)
    stdout.print(
        f"mAP {_three(figures.map)}   F1 {_three(figures.f1)}   "
        f"F1 without classes {_three(figures.f1_agnostic)}"
    )
    stdout.print(
        f"calibration error {_three(figures.calibration_error)}   "
        f"of the classes {_three(figures.class_calibration_error)}"
    )
    stdout.print(
        f"{figures.nuclei:,} nuclei in {figures.tiles} tiles; matches within "
        f"{figures.match_um} um, confidence from {figures.min_confidence}",
        style="dim",
    )


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
