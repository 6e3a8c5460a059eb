"""Tables as people keep them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from wsi_suite.errors import DataError
from wsi_suite.tables import find_column, read_table

ROWS = "slide;H-Score\nB12;50,5\n\nB13;120\nB14;n/a\n"


@pytest.mark.parametrize(
    "content",
    [
        ROWS.encode(),
        ROWS.encode("utf-8-sig"),
        ROWS.encode("utf-16"),
        ROWS.replace("\n", "\r\n").encode("cp1252"),
        b"sep=;\r\n" + ROWS.encode(),
        ROWS.replace(";", "\t").encode(),
        b'slide,"H-Score"\nB12,"50,5"\nB13, 120 \nB14,\n',
        b"slide,H-Score\nB12,50.5\nB13,120\nB14,NaN\n",
        b"slide;H-Score;\nB12;50,5 %;\nB13;120;\nB14;-;\n",
    ],
)
def test_text_of_any_program_is_the_same_table(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "readers.csv"
    file.write_bytes(content)
    table = read_table(file)
    assert table.columns == ("slide", "H-Score")
    assert table.column("slide") == ["B12", "B13", "B14"]
    np.testing.assert_array_equal(table.numbers("H-Score"), [50.5, 120, np.nan])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty; expected"),
        ("slide;score\nB12;12;7\n", "line 2 has more cells than the 2 columns"),
        ("slide;;x\nB12;1;2\n", "column 2 has no name"),
        ("Study 5\nslide;score\nB12;1\n", "Study 5. is no row of names: line 2 has more cells"),
        (";Reader A;\nslide;score;who\nB12;1;x\n", "delete titles and merged cells"),
        ("slide;score;score\nB12;1;2\n", "two columns are called 'score'"),
        ("slide;score\nB12;<1 %\n", "line 2: score = '<1 %': expected a number"),
        ("slide;score\nB12;inf\n", "line 2: score = 'inf'"),
        ("slide;score\nB12;1_0\n", "line 2: score = '1_0'"),
        ("slide;score\nB12;1.234,5\n", "expected a number"),
        ("slide;score\nB12;1,234\nB13;7\n", "a decimal comma or one of thousands"),
        ("slide;score\nB12;\0\n", "not a table"),
    ],
)
def test_what_is_no_table_or_two_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "readers.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said) as refused:
        read_table(file).numbers("score")
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_three_decimals_are_told_from_thousands_by_the_others(tmp_path: Path) -> None:
    file = tmp_path / "readers.csv"
    file.write_text("slide;score\nB12;1,234\nB13;7,5\n", encoding="utf-8")
    assert read_table(file).numbers("score").tolist() == [1.234, 7.5]


def test_a_number_below_one_is_no_number_of_thousands(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    file.write_text("slide;mpp\na.svs;0,250\nb.svs;0,500\n", encoding="utf-8")
    assert read_table(file).numbers("mpp").tolist() == [0.25, 0.5]


def test_a_column_is_found_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "readers.csv"
    file.write_text("Image;Epithelium: H-score;Positive %;Stroma: H-score\n", encoding="utf-8")
    table = read_table(file)

    def find(wanted: str | None, *known: str) -> str:
        return find_column(table, wanted, known=known, meant="the score", option="--column-a")

    assert find(None, "positive_percent") == "Positive %"
    assert find("epithelium h score") == "Epithelium: H-score"
    with pytest.raises(DataError, match=r"may both hold the score; name one with --column-a"):
        find(None, "h_score")
    with pytest.raises(DataError, match=r"no column 'imge'.*did you mean 'Image'"):
        find("imge")


def write_workbook(path: Path, rows: list[list[object]], *, sheets: int = 1) -> Path:
    """Write the smallest workbook that there is: texts inline, a date as a number with a format."""
    cells = "".join(
        f'<row r="{line}">' + "".join(_cell(cell) for cell in row) + "</row>"
        for line, row in enumerate(rows, 1)
    )
    ours = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    numbers = range(1, sheets + 1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="r" Type="{kind}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{ours}" xmlns:r="{kind}"><sheets>'
            + "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="r{n}"/>' for n in numbers)
            + "</sheets></workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}">'
            + "".join(
                f'<Relationship Id="r{n}" Type="{kind}/worksheet" Target="worksheets/{n}.xml"/>'
                for n in numbers
            )
            + f'<Relationship Id="s" Type="{kind}/styles" Target="styles.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{ours}"><cellXfs count="2"><xf numFmtId="0"/>'
            '<xf numFmtId="14"/></cellXfs></styleSheet>',
        )
        for n in numbers:
            archive.writestr(
                f"xl/worksheets/{n}.xml",
                f'<worksheet xmlns="{ours}"><sheetData>{cells}</sheetData></worksheet>',
            )
    return path


def _cell(cell: object) -> str:
    if cell == "a date":
        return '<c s="1"><v>45000</v></c>'
    if isinstance(cell, str):
        return f'<c t="inlineStr"><is><t>{cell}</t></is></c>'
    return "<c/>" if cell is None else f"<c><v>{cell}</v></c>"


def test_a_workbook_is_a_table_too(tmp_path: Path) -> None:
    rows = [["slide", "score"], [12, 50.5], ["B13", 120], ["B14", None]]
    table = read_table(write_workbook(tmp_path / "readers.xlsx", rows))
    assert table.column("slide") == ["12", "B13", "B14"]
    np.testing.assert_array_equal(table.numbers("score"), [50.5, 120, np.nan])
    assert table.lines == (2, 3, 4)


def test_a_workbook_that_can_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    rows: list[list[object]] = [["slide", "score"], ["a date", 1]]
    with pytest.raises(DataError, match="line 2: '2023-03-15' is a date"):
        read_table(write_workbook(tmp_path / "dates.xlsx", rows))
    with pytest.raises(DataError, match=r"2 sheets are filled \(S1, S2\)"):
        read_table(write_workbook(tmp_path / "sheets.xlsx", rows, sheets=2))
    (tmp_path / "text.xlsx").write_text("slide;score\n")
    with pytest.raises(DataError, match="not a readable workbook"):
        read_table(tmp_path / "text.xlsx")
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "none.xlsx")
