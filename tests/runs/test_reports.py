"""Reports of results folders, of batches, and of what is left of them."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench

from wsi_suite.documents import RUN_FILE
from wsi_suite.errors import ConfigError, WsiSuiteError
from wsi_suite.runs.reports import report_batch, report_folders, report_slide
from wsi_suite.runs.score_table import choose_columns
from wsi_suite.runs.summary_csv import read_outcomes, write_table

Copy = Callable[[], Path]


@pytest.fixture(scope="module")
def stored(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports") / "B12"
    bench.do(folder, "score.marker=ER")
    return folder


@pytest.fixture
def result(stored: Path, tmp_path: Path) -> Path:
    """A copy of a finished result with its tiles."""
    return Path(shutil.copytree(stored, tmp_path / "results" / "B12"))


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **values}), "utf-8")


def told(*folders: Path, **options: object) -> list[Path | str | WsiSuiteError]:
    news: list[Path | str | WsiSuiteError] = []
    report_folders(folders, tell=news.append, **options)
    return news


def pictures_from(page: Path) -> str:
    found = re.search("<dt>Pictures</dt><dd>(.*?)</dd>", page.read_text("utf-8"))
    assert found is not None
    return found[1]


def test_pictures_come_from_the_slide_else_the_tiles_else_there_are_none(result: Path) -> None:
    whole = report_slide(result).read_bytes()
    assert pictures_from(result / "report.html") == "the slide"
    assert report_slide(result).read_bytes() == whole
    edit(result / RUN_FILE, slide_path="/gone/B12.svs")
    assert pictures_from(report_slide(result)).startswith("the stored tiles")
    shutil.rmtree(result / "tiles.ome.zarr")
    assert pictures_from(report_slide(result)).startswith("none: neither the slide nor its tiles")
    (result / "slide.json").unlink()
    (result / RUN_FILE).unlink()
    assert pictures_from(report_slide(result)).startswith("none"), "table and summary are enough"


def test_another_file_of_that_name_is_not_the_slide(result: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tif"
    other.write_bytes(b"another file")
    edit(result / RUN_FILE, slide_path=str(other))
    assert pictures_from(report_slide(result)).startswith("the stored tiles")


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda folder: (folder / "summary.json").unlink(), "no summary.json here"),
        (lambda folder: (folder / "nuclei.parquet").unlink(), "nuclei.parquet: no such file"),
        (lambda folder: (folder / "nuclei.parquet").write_bytes(b"PAR1"), "not a readable Parq"),
        (lambda folder: (folder / "summary.json").write_text("{"), "summary.json: damaged"),
        (lambda folder: edit(folder / "summary.json", format=99), "of format 99"),
        (lambda folder: (folder / "slide.json").write_text("{}"), "slide.json: damaged"),
        (lambda folder: edit(folder / RUN_FILE, state="running"), "its run is running"),
        (lambda folder: (folder / RUN_FILE).write_text("{"), "run.json: not the record of a run"),
        (shutil.rmtree, "no results here"),
    ],
)
def test_what_is_damaged_is_told_in_one_line(
    result: Path, damage: Callable[[Path], object], error: str
) -> None:
    damage(result)
    (news,) = told(result)
    assert isinstance(news, WsiSuiteError)
    assert error in str(news)
    assert "\n" not in str(news)
    assert not (result / "report.html").exists()


def test_folder_of_a_batch_gets_its_page_and_table(result: Path) -> None:
    out = result.parent
    shutil.copytree(result, out / "C#1 <b>")
    edit(out / "C#1 <b>" / RUN_FILE, state="failed", error="C.svs: cannot be <read>")
    (out / "notes").mkdir()
    news = told(out)
    assert news == [result / "report.html", out / "report.html"]
    page = (out / "report.html").read_text("utf-8")
    assert 'href="./B12/report.html"' in page
    assert "C.svs: cannot be &lt;read&gt;" in page
    assert "<read>" not in page
    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        done, failed = csv.DictReader(file)
    summary = json.loads((result / "summary.json").read_text("utf-8"))
    stroma = summary["scores"]["Stroma"]
    assert (failed["state"], failed["error"]) == ("failed", "C.svs: cannot be <read>")
    assert float(done["Stroma: h_score"]) == stroma["h_score"]
    assert int(done["Stroma: allred.score"]) == stroma["allred"]["score"]
    assert (done["marker"], done["thresholds_od.1"]) == ("ER", "0.2")


def test_slide_that_fails_stops_no_other(result: Path) -> None:
    broken = Path(shutil.copytree(result, result.parent / "A1"))
    (broken / "nuclei.parquet").write_bytes(b"")
    error, *pages = told(result.parent)
    assert isinstance(error, WsiSuiteError)
    assert pages == [result / "report.html", result.parent / "report.html"]
    assert 'href="./A1/report.html"' not in (result.parent / "report.html").read_text("utf-8")


def test_same_batch_same_bytes(result: Path, tmp_path: Path) -> None:
    tables = [tmp_path / f"all.{kind}" for kind in ("csv", "parquet", "xlsx")]
    pytest.importorskip("xlsxwriter")

    def written() -> list[bytes]:
        told(result.parent, tables=tables)
        files = [*tables, result.parent / "report.html", result.parent / "scores.csv"]
        return [file.read_bytes() for file in files]

    assert written() == written()


def test_tables_hold_the_columns_asked_for(result: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    told(result, tables=[tmp_path / "a.parquet"], columns="slide, Epith*: nuclei,h_score")
    table = pq.read_table(tmp_path / "a.parquet")
    classes = ["Epithelium: nuclei", "Epithelium + Stroma: nuclei"]
    assert set(table.column_names) == {"slide", *classes, "h_score"}
    assert table.column_names[0] == "slide"
    assert table.column_names[-1] == "h_score"
    assert str(table["h_score"].type) == "double"
    assert str(table["Epithelium: nuclei"].type) == "int64"
    assert not (result.parent / "scores.csv").exists(), "a slide alone is no batch"


def test_unknown_columns_and_tables_are_refused(result: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no column 'h_scor' \(did you mean 'h_score'\?\)"):
        told(result, tables=[tmp_path / "a.csv"], columns="h_scor")
    with pytest.raises(ConfigError, match=r"a\.xls: expected a name that ends in \.csv"):
        told(result, tables=[tmp_path / "a.xls"])
    with pytest.raises(ConfigError, match="expected names, separated by commas"):
        choose_columns(" ,", ["slide"])


def test_a_column_may_be_known_to_one_of_several_folders(result: Path, tmp_path: Path) -> None:
    """Ki-67 has columns that results of ER lack."""
    other = tmp_path / "other" / "B12"
    shutil.copytree(result, other)
    summary = json.loads((other / "summary.json").read_text("utf-8"))
    edit(other / "summary.json", receptor=None, marker=None, headline=summary["headline"])
    for first, second in ((result.parent, other.parent), (other.parent, result.parent)):
        told(first, second, tables=[tmp_path / "a.csv"], columns="slide,receptor.status")
        with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
            columns, *lines = list(csv.reader(file))
        assert columns == ["slide", "receptor.status"]
        assert sorted(bool(status) for _, status in lines) == [False, True]


def test_names_are_no_formulas_in_csv(tmp_path: Path) -> None:
    from wsi_suite.runs.score_table import write_score_table

    rows = [{"slide": "=HYPERLINK(1)", "h_score": -1.5}, {"slide": "a=1", "h_score": None}]
    write_score_table(tmp_path / "a.csv", rows, columns=["slide", "h_score"])
    lines = (tmp_path / "a.csv").read_text("utf-8").splitlines()
    assert lines == ["slide,h_score", "'=HYPERLINK(1),-1.5", "a=1,"]


def test_workbook_holds_numbers_and_runs_no_formulas(tmp_path: Path) -> None:
    import zipfile

    pytest.importorskip("xlsxwriter")
    from wsi_suite.runs.score_table import write_score_table

    rows = [{"slide": "=1+1", "h_score": 12.5}, {"slide": "http://x", "h_score": None}]
    write_score_table(tmp_path / "a.xlsx", rows, columns=["slide", "h_score"])
    with zipfile.ZipFile(tmp_path / "a.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert "=1+1" in book.read("xl/sharedStrings.xml").decode()
    assert "<f>" not in sheet
    assert "<v>12.5</v>" in sheet


def test_scores_without_nuclei_are_listed_without_a_page(result: Path, tmp_path: Path) -> None:
    """As ``score --out`` leaves them."""
    scores = tmp_path / "rescored" / "B12"
    scores.mkdir(parents=True)
    shutil.copy(result / "summary.json", scores)
    remark, page = told(tmp_path / "rescored")
    assert page == tmp_path / "rescored" / "report.html"
    assert str(remark).startswith(f"{tmp_path / 'rescored'}: no page for 1 slide (B12): 'wsi-suite")
    assert "give 'wsi-suite report' the folder of the run" in str(remark)
    (news,) = told(scores)
    assert isinstance(news, WsiSuiteError)
    assert "without the nuclei (nuclei.parquet)" in str(news)
    assert str(news).endswith("give the folder of the run that was scored")


def test_report_of_a_run_lists_earlier_slides_too(result: Path) -> None:
    out = result.parent
    write_table(out, [])
    (outcome,) = read_outcomes(out)
    news: list[object] = []
    report_batch(out, [outcome], tell=news.append)
    assert news == [result / "report.html", out / "report.html"]


def test_new_run_removes_the_report_of_the_old_one(
    bench: Bench, tmp_path: Path, quick: None
) -> None:
    bench.run_one(tmp_path, "tiles.keep=false")
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (folder / "report.html").write_text("of the old one")
    bench.run_one(tmp_path, "tiles.keep=false", overwrite=True)
    assert not (folder / "report.html").exists()
