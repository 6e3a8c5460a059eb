"""``train`` and ``models export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsi_suite.cli.evaluation import Data, TileMpp, show_figures
from wsi_suite.cli.options import Debug, Device, Json

TrainConfig = Annotated[
    Path,
    typer.Argument(
        help="YAML of a training, as sample_configs/train_endonuke.yaml.",
        metavar="CONFIG",
        show_default=False,
    ),
]
TrainOrTuneConfig = Annotated[
    Path | None,
    typer.Argument(
        help="YAML of a training, as sample_configs/train_endonuke.yaml; with --from it may be left"
        " out, and is then sample_configs/fine_tune.yaml.",
        metavar="[CONFIG]",
        show_default=False,
    ),
]
FromModel = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Go on with this model: its weights, classes and resolution.",
        metavar="NAME|FOLDER",
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
Init = Annotated[
    Path | None,
    typer.Option(
        "--init",
        help="File of a ResNet's weights, .safetensors or .pth as of timm or torchvision, that the "
        "backbone starts from.",
        metavar="FILE",
        show_default=False,
    ),
]
ModelOut = Annotated[
    Path,
    typer.Option(
        "--out", "-o", help="Becomes the model's folder.", metavar="DIR", show_default=False
    ),
]
ExportedModel = Annotated[
    str,
    typer.Argument(
        help="A model's name, or a model folder.",
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


def train(
    *,
    config: TrainOrTuneConfig = None,
    data: Data,
    out: ModelOut,
    from_model: FromModel = None,
    h_and_e: HAndE = None,
    init: Init = None,
    mpp: TileMpp = None,
    set_: TrainValue = None,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    r"""Train a detector on labelled tiles.

    Figures on split.test_runs, or on the part test of a dataset, come at the end. A training that
    was stopped goes on when the same command is given again. Meanwhile 'tensorboard --logdir DIR'
    shows its curves, and some validation tiles with what is labelled and found. DIR/training keeps
    settings, curves, hashes of the data and versions. Needs the extra 'train': pip install
    'wsi-suite\[train]'.
    """
    from wsi_suite.cli.progress import epoch_progress, messages
    from wsi_suite.cli.terminal import note, print_json, say
    from wsi_suite.commands.models import figures_on_test_tiles, training_settings

    settings = training_settings(
        config, overrides=set_ or (), from_model=from_model, init=init, name_of_new=out.name
    )
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
            tell=note,
        )
    say(f"model: {model.path}")
    with messages() as progress:
        figures = figures_on_test_tiles(
            model, settings, data=data, mpp=mpp, device=device, tell=note, progress=progress
        )
    if as_json:
        measured = None if figures is None else figures.as_json()
        print_json({"model": str(model.path), "hash": model.hash, "evaluation": measured})
    elif figures:
        show_figures(figures)


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
    from wsi_suite.commands.models import export_model

    with working(f"writing {out}"):
        written = export_model(model, format=format_name, out=out)
    difference = written.difference
    note(
        f"compared with the detector: confidences differ by {difference.confidence:.1g} at most, "
        f"positions by {difference.position_px:.1g} px"
    )
    if as_json:
        print_json({"path": str(written.path), "difference": vars(difference)})
    else:
        say(f"{format_name}: {written.path}")
