"""``report``: pages to read, print and sign."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import Debug

if TYPE_CHECKING:
    from wsi_suite.errors import WsiSuiteError

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


@dataclass
class ToldReports:
    """Pages that were written, which are named on stderr, and errors, which are shown.

    Remarks, such as of pages that cannot be written, are no errors.
    """

    written: int = 0
    failed: list[WsiSuiteError] = field(default_factory=list)

    def tell(self, news: Path | str | WsiSuiteError) -> None:
        """Show one of them."""
        from wsi_suite.cli.terminal import note, say, show_error

        if isinstance(news, Path):
            self.written += 1
            say(str(news))
        elif isinstance(news, str):
            note(news)
        else:
            self.failed.append(news)
            show_error(news)


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

    told = ToldReports()
    with working("writing reports"):
        from wsi_suite.commands import reports

        reports.write_reports(folders, tables=table or (), columns=columns, tell=told.tell)
    leave(told.failed, of=len(told.failed) + told.written)
