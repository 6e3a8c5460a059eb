"""The command line: ``wsi-suite``.

Progress and remarks go to stderr, results to stdout. Exit codes: 0 all done, 1 something failed on
the way (of several slides: some), 2 what was given cannot be used, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from wsi_suite.cli import inspect, models, run, show
from wsi_suite.cli.options import debug_wanted
from wsi_suite.cli.terminal import show_error
from wsi_suite.errors import WsiSuiteError

app = typer.Typer(
    name="wsi-suite",
    help="From a whole-slide image to nuclei and a trusted IHC score.",
    epilog="Start with: wsi-suite demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_SCORE, _MODELS, _LOOK = "Score slides", "Train and evaluate models", "Look around"
app.command(rich_help_panel=_SCORE)(run.run)
app.command(rich_help_panel=_SCORE)(run.tile)
app.command(rich_help_panel=_SCORE)(run.detect)
app.command(rich_help_panel=_SCORE)(run.score)
app.command(rich_help_panel=_MODELS)(models.train)
app.command(rich_help_panel=_MODELS)(models.evaluate)
app.command("models", rich_help_panel=_MODELS)(models.list_models)
app.command(rich_help_panel=_LOOK)(show.demo)
app.command(rich_help_panel=_LOOK)(inspect.info)
app.command(rich_help_panel=_LOOK)(inspect.doctor)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    if version:
        from wsi_suite import __version__

        typer.echo(f"wsi-suite {__version__}")
        raise typer.Exit


def main() -> NoReturn:
    """Run the command line; the entry point."""
    try:
        app()
    except WsiSuiteError as error:
        show_error(error)
        if debug_wanted():
            raise
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        show_error("interrupted; run the same command again to go on")
        sys.exit(130)
    sys.exit(0)
