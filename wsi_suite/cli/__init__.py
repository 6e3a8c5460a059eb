"""The command line: ``wsi-suite``.

Progress and remarks go to stderr, results to stdout. Exit codes: 0 all done, 1 something failed on
the way (of several slides: some), 2 what was given cannot be used, 130 interrupted.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer

from wsi_suite.cli import (
    calibration,
    configuration,
    control,
    cores,
    corrections,
    crossvalidate,
    dataset_labels,
    dataset_sample,
    dataset_versions,
    datasets,
    evaluation,
    explain,
    learning_curve,
    look,
    models,
    projects,
    qupath,
    registry,
    report,
    run,
    score,
    serve,
    stains,
    status,
    studies,
    verbosity,
)
from wsi_suite.errors import WsiSuiteError

log = logging.getLogger(__name__)

_INTERRUPTED = 130  # click's exit code for Ctrl-C

# Typer 0.25 raises the errors of the package click; later versions those of a copy of their own.
_click_errors = sys.modules[typer.BadParameter.__module__]
_typer_suggests = _click_errors.__name__ != "click.exceptions"  # else click does

app = typer.Typer(
    name="wsi-suite",
    cls=verbosity.Program,
    help="From a whole-slide image to nuclei and a trusted IHC score.",
    epilog="Start with: wsi-suite demo\n\nThen: wsi-suite run SLIDE --out results",
    no_args_is_help=True,
    suggest_commands=_typer_suggests,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add(
    command: Callable[..., None],
    panel: str,
    *examples: str,
    name: str | None = None,
    group: typer.Typer = app,
) -> None:
    """Add a command; its docstring is the help, and examples stand at its end."""
    group.command(name, cls=verbosity.Command, rich_help_panel=panel, **_told(command, examples))(
        command
    )


def _add_group(command: Callable[..., None], panel: str, *examples: str, name: str) -> typer.Typer:
    """Add a command that others can be added under; by itself it does something too."""
    group = typer.Typer(suggest_commands=_typer_suggests)
    group.callback(invoke_without_command=True, **_told(command, examples))(command)
    app.add_typer(group, name=name, rich_help_panel=panel)
    return group


def _told(command: Callable[..., None], examples: Sequence[str]) -> dict[str, Any]:
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return {
        "help": "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
        "epilog": "\n\n".join(f"[dim]Example:[/dim] {example}" for example in examples),
    }


_add(
    run.run,
    "Score slides",
    "wsi-suite run B12_ER.svs --out results --set score.marker=ER",
    "wsi-suite run slides/ --out results --roi annotations/",
    "wsi-suite run manifest.csv --out results",
    "wsi-suite run --project study --in-class Tumor --set score.marker=ER",
)
_add(run.tile, "Score slides", "wsi-suite tile slides/ --out results")
_add(run.detect, "Score slides", "wsi-suite detect results/B12_ER --set score.marker=ER")
_add(
    score.score,
    "Score slides",
    "wsi-suite score results/B12_ER --set score.thresholds_od=[0.1,0.3,0.5]",
    "wsi-suite score results/B12_ER --roi hot.geojson --out hot --geojson ellipse --by-region",
)
_add(
    cores.cores,
    "Score slides",
    "wsi-suite cores TMA_ER.svs --out cores",
    "wsi-suite cores tma/ --out cores --rows 6 --columns 10 --diameter-um 1000",
)
_add(
    report.report,
    "Score slides",
    "wsi-suite report results/B12_ER",
    "wsi-suite report results --table study.xlsx --columns slide,h_score,positive_percent",
)
_add(
    status.status,
    "Score slides",
    "wsi-suite status results",
    "wsi-suite status results --watch",
)
_stains = typer.Typer(no_args_is_help=True, suggest_commands=_typer_suggests)
app.add_typer(
    _stains,
    name="stains",
    help="Stain vectors of a laboratory: estimate them, or take them from QuPath.",
    epilog="[dim]Example:[/dim] wsi-suite stains estimate slides/ --background --out lab.yaml",
    rich_help_panel="Score slides",
)
_add(
    stains.estimate,
    "Commands",
    "wsi-suite stains estimate slides/ --background --out lab.yaml",
    "wsi-suite stains estimate B12_ER.svs B13_ER.svs --method macenko --out lab.yaml",
    group=_stains,
)
_add(
    stains.from_qupath,
    "Commands",
    "wsi-suite stains from-qupath study/project.qpproj --image B12_ER.svs --out lab.yaml",
    "wsi-suite stains from-qupath stains.groovy --out lab.yaml",
    name="from-qupath",
    group=_stains,
)
_add(
    studies.compare,
    "Check scores",
    "wsi-suite compare results readers.xlsx --out agreement.html",
    "wsi-suite compare dr_a.csv dr_b.csv --score positive_percent --cutoff 1",
)
_add(
    calibration.calibrate,
    "Check scores",
    "wsi-suite calibrate results --grades corrected --out lab.yaml",
    "wsi-suite calibrate results --scores readers.csv --out lab.yaml --report lab.html",
)
_add(
    control.control_chart,
    "Check scores",
    "wsi-suite control-chart controls --slide ER_control --out chart.html",
    name="control-chart",
)
_add(
    models.train,
    "Train and evaluate models",
    "wsi-suite train train.yaml --data endonuke --out models/mine",
    "wsi-suite train train.yaml --data endonuke --out models/mine --init resnet18.pth",
    "wsi-suite train --from endonuke-resnet18 --data corrected --out models/mine",
)
_add(
    crossvalidate.crossvalidate,
    "Train and evaluate models",
    "wsi-suite crossvalidate train.yaml --data endonuke --out folds",
    "wsi-suite crossvalidate train.yaml --data endonuke --folds 3 --seed 0 --seed 1 --out folds",
    "wsi-suite crossvalidate train.yaml --data endonuke --out starts --variant scratch: "
    "--variant 'fine-tuned: init=r18.pth' --variant 'frozen: init=r18.pth "
    "optimiser.freeze=backbone'",
)
_add(
    learning_curve.learning_curve,
    "Train and evaluate models",
    "wsi-suite learning-curve train.yaml --data endonuke --out curve",
    "wsi-suite learning-curve train.yaml --data endonuke --out curve --shares 0.2,0.4,0.7,1 "
    "--repeats 5 --variant scratch: --variant 'fine-tuned: init=r18.pth' "
    "--variant 'frozen: init=r18.pth optimiser.freeze=backbone'",
    name="learning-curve",
)
_add(
    evaluation.evaluate,
    "Train and evaluate models",
    "wsi-suite evaluate --model models/mine --data endonuke --report mine.html",
)
_add(
    explain.explain,
    "Train and evaluate models",
    "wsi-suite explain B12_ER.svs --at 12040.5,8800 --out nucleus.png",
    "wsi-suite explain tile.png --mpp 0.5 --out doubtful.png",
)
_datasets = typer.Typer(no_args_is_help=True, suggest_commands=_typer_suggests)
app.add_typer(
    _datasets,
    name="dataset",
    help="Collect labelled nuclei in a dataset with versions.",
    epilog="[dim]Example:[/dim] wsi-suite dataset import endonuke mine --from tiles",
    rich_help_panel="Train and evaluate models",
)
_add(datasets.formats, "Other programs", "wsi-suite dataset formats", group=_datasets)
_add(
    datasets.import_labels,
    "Other programs",
    "wsi-suite dataset import endonuke mine --from tiles",
    "wsi-suite dataset import endonuke mine --from tiles --class Other= --replace",
    name="import",
    group=_datasets,
)
_add(
    datasets.export_labels,
    "Other programs",
    "wsi-suite dataset export mine tiles --to tiles --version 2",
    name="export",
    group=_datasets,
)
_add(
    datasets.copy,
    "Versions",
    "wsi-suite dataset copy mine s3://bucket/mine",
    "wsi-suite dataset copy s3://bucket/mine mine",
    group=_datasets,
)
_add(datasets.show, "Look around", "wsi-suite dataset show mine", group=_datasets)
_add(
    dataset_sample.sample,
    "Annotators",
    "wsi-suite dataset sample slides/ --fields 100 --out to-label",
    "wsi-suite dataset sample slides/ --out to-label --model endonuke-resnet18 --doubt flips",
    "wsi-suite dataset sample slides/ --out round --control expert --controls 10",
    group=_datasets,
)
_add(
    dataset_labels.agree,
    "Annotators",
    "wsi-suite dataset agree mine",
    "wsi-suite dataset agree mine --reference expert --passing 0.6",
    group=_datasets,
)
_add(dataset_labels.consensus, "Annotators", "wsi-suite dataset consensus mine", group=_datasets)
_add(
    dataset_labels.review,
    "Annotators",
    "wsi-suite dataset review mine --report review.html",
    group=_datasets,
)
_add(
    dataset_versions.split,
    "Versions",
    "wsi-suite dataset split mine",
    "wsi-suite dataset split mine --folds 5",
    group=_datasets,
)
_add(dataset_versions.log, "Versions", "wsi-suite dataset log mine", group=_datasets)
_add(dataset_versions.diff, "Versions", "wsi-suite dataset diff mine 1 2", group=_datasets)
_add(dataset_versions.verify, "Versions", "wsi-suite dataset verify mine", group=_datasets)
_add(dataset_versions.card, "Other programs", "wsi-suite dataset card mine", group=_datasets)
_add(
    dataset_versions.revoke,
    "Versions",
    "wsi-suite dataset revoke mine --patient P12 --reason 'consent withdrawn' --models models",
    group=_datasets,
)
_models = _add_group(
    registry.models, "Train and evaluate models", "wsi-suite models", name="models"
)
_add(registry.list_models, "Find models", "wsi-suite models list", name="list", group=_models)
_add(
    registry.show,
    "Find models",
    "wsi-suite models show endonuke-resnet18",
    group=_models,
)
_add(
    registry.verify,
    "Find models",
    "wsi-suite models verify",
    "wsi-suite models verify models/mine",
    group=_models,
)
_add(
    registry.add,
    "Keep models",
    "wsi-suite models add models/mine",
    "wsi-suite models add models/mine --name mine-2",
    group=_models,
)
_add(registry.remove, "Keep models", "wsi-suite models remove mine-2", group=_models)
_add(
    models.export,
    "Use models elsewhere",
    "wsi-suite models export endonuke-resnet18 --format instanseg --out endonuke-qupath",
    group=_models,
)
_add(
    projects.push,
    "Work with QuPath",
    "wsi-suite push results --project study --create",
    "wsi-suite push results/B12_ER --project study/project.qpproj",
)
_add(projects.pull, "Work with QuPath", "wsi-suite pull --project study --out corrected")
_add(
    corrections.corrections,
    "Work with QuPath",
    "wsi-suite corrections corrected",
    "wsi-suite corrections corrected --results results",
)
_add(
    serve.serve,
    "Work with QuPath",
    "wsi-suite serve --allow-root D:/slides",
    "wsi-suite serve --allow-root slides --idle-minutes 60",
)
_qupath = typer.Typer(no_args_is_help=True, suggest_commands=_typer_suggests)
app.add_typer(
    _qupath,
    name="qupath",
    help="Set up QuPath for the suite.",
    epilog="[dim]Example:[/dim] wsi-suite qupath install-scripts",
    rich_help_panel="Work with QuPath",
)
_add(
    qupath.install_scripts,
    "Commands",
    "wsi-suite qupath install-scripts",
    "wsi-suite qupath install-scripts --user-dir D:/QuPath",
    name="install-scripts",
    group=_qupath,
)
_add(look.demo, "Look around", "wsi-suite demo --out try-it")
_add(
    configuration.config,
    "Look around",
    "wsi-suite config --init lab.yaml",
    "wsi-suite config --init --schema lab.yaml",
    "wsi-suite config --check lab.yaml",
)
_add(look.info, "Look around", "wsi-suite info B12_ER.svs")
_add(look.doctor, "Look around", "wsi-suite doctor")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    if version:
        from wsi_suite import __version__

        typer.echo(f"wsi-suite {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code; the entry point.

    Parameters
    ----------
    arguments
        What was typed after the program's name; ``sys.argv`` by default.
    """
    _prepare_streams()
    verbosity.reset()
    sys.exit(_exit_code(arguments))


def _prepare_streams() -> None:
    for stream in (sys.stdout, sys.stderr):  # a file name may hold what a Windows pipe cannot
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    # Other libraries' remarks are for --debug: what the user should know is said by ourselves.
    logging.getLogger().addHandler(logging.NullHandler())
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of processes that are started


def _exit_code(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code; an error is shown as one line."""
    try:
        code = app(arguments, prog_name="wsi-suite", standalone_mode=False) or 0
    except _click_errors.NoArgsIsHelpError as error:
        error.show()
        return int(error.exit_code)
    except _click_errors.UsageError as error:
        program = error.ctx.command_path if error.ctx else "wsi-suite"
        message = error.format_message()
        stop = "" if message.endswith((".", "?")) else "."
        return _fail(f"{message}{stop} See '{program} --help'.", error.exit_code)
    except WsiSuiteError as error:
        return _fail(error, error.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}", 1)
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # of a cut-off file; click takes it for Ctrl-D
            raise error.__cause__ from None
        code = _INTERRUPTED
    return _fail("interrupted", code) if code == _INTERRUPTED else int(code)


def _fail(error: object, code: int) -> int:
    import traceback

    from wsi_suite.cli.terminal import show_error

    show_error(error)
    log.debug("%s", type(error).__name__, exc_info=isinstance(error, BaseException))
    if verbosity.debug():
        traceback.print_exc()
    return code
