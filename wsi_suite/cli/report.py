"""``report``: pages to read, print and sign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsi_suite.cli.options import Debug

ReportFolders = Annotated[
    list[Path],
    typer.Argument(
        help="Results folders of slides, or the folder that holds those of a batch.",
        metavar="DIR...",
        show_default=False,
    ),
]
Tables = Annotated[
    list[Path] | None,
    typer.Option(
        "--table",
        help="Write the table of all slides here too: .csv, .parquet or .xlsx; may be repeated.",
        metavar="FILE",
        show_default=False,
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="Columns of the tables, separated by commas, such as 'slide,h_score,Epithelium*'.",
        metavar="NAMES",
        show_default="all",
    ),
]


def report(
    *,
    folders: ReportFolders,
    table: Tables = None,
    columns: Columns = None,
    debug: Debug = False,
) -> None:
    """Write a report of each slide: one HTML page with scores, maps, doubtful nuclei and origin.

    The page needs no network and no other file, prints to two sheets of A4 and has a place for a
    signature. In the folder of a batch, its own report.html lists all slides and scores.csv holds
    their figures. Pictures come from the slide if it is still there, else from the stored tiles.
    """
    from wsi_suite.cli.outcomes import leave
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import say, show_error
    from wsi_suite.errors import WsiSuiteError

    failed: list[WsiSuiteError] = []
    written = 0

    def tell(news: Path | WsiSuiteError) -> None:
        nonlocal written
        if isinstance(news, WsiSuiteError):
            failed.append(news)
            show_error(news)
        else:
            written += 1
            say(str(news))

    with working("writing reports"):
        from wsi_suite.runs.reports import report_folders
        from wsi_suite.runs.score_table import choose_columns

        report_folders(
            folders,
            tables=table or (),
            columns=None if columns is None else choose_columns(columns),
            tell=tell,
        )
    leave(failed, of=len(failed) + written)
