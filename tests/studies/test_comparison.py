"""Two lists of scores: which slides are compared, what is refused, and the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wsi_suite.errors import ConfigError, DataError
from wsi_suite.studies.comparison import Agreement, compare_files
from wsi_suite.studies.comparison_page import group_names, write_comparison_page
from wsi_suite.studies.score_lists import key_of

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return tmp_path / name

    return written


@pytest.mark.parametrize(
    "name",
    ["B12_ER", "b12_er.svs", "B12_ER.ome.tif", "slides/B12_ER.ndpi", "D:\\slides\\B12_ER.SVS"],
)
def test_a_slide_is_known_by_its_name(name: str) -> None:
    assert key_of(name) == key_of("B12_ER.svs")


def test_a_point_in_a_name_is_no_ending() -> None:
    assert key_of("B12.3") != key_of("B12.4")


def test_slides_in_one_list_alone_are_named(write: Write) -> None:
    first = write("a.csv", "slide;score\nB1.svs;10\nB2.svs;20\nB3.svs;30\nB4.svs;40\nB5.svs;\n")
    second = write("b.csv", "slide;score\nb4;41\nb3;30\nb2;22\nb5;50\nb6;60\n")
    found = compare_files(first, second)
    assert found.pairs == 3
    assert found.first.alone == ("B1.svs",)
    assert found.second.alone == ("b6",)
    assert found.first.without_score == ("B5.svs",)
    assert [(pair.slide, pair.difference) for pair in found.scores] == [
        ("B2.svs", -2), ("B4.svs", -1), ("B3.svs", 0),
    ]  # fmt: skip
    assert found.limits.bias.value == -1
    assert found.within.value == 1
    assert Agreement.model_validate(found.as_json()) == found


def test_regions_are_compared_with_regions(write: Write) -> None:
    first = write("a.csv", "slide,region,score\nB1,hot,10\nB1,cold,5\nB2,hot,7\n")
    second = write("b.csv", "slide,region,score\nB1,hot,11\nB1,cold,5\nB3,hot,7\n")
    found = compare_files(first, second)
    assert found.pairs == 2
    assert found.first.alone == ("B2, hot",)
    assert found.icc.reason == "2 pairs, at least 3 are needed"
    with pytest.raises(DataError, match="no column 'region', unlike the other"):
        compare_files(first, write("c.csv", "slide,score\nB1,10\n"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "slide;score\nB1;1\nB1;1\n",
            "'B1' stands there for one slide twice, in line 2 and line 3; keep",
        ),
        ("slide;score\nB1.svs;1\nb1.ndpi;2\n", "'B1.svs' and 'b1.ndpi' stand there for one"),
        ("slide;score\n;1\n", "line 2 names no slide"),
        ("slide;score\n", "no slides in it"),
        ("slide;score\nC1;1\n", "no slide in common"),
        ("slide;score\nB1;\n", "none of the 1 slides in both has a score in both"),
        ("slide;reader 1;reader 2\nB1;1;2\n", "no column with the score"),
        ("number;score;more\nB1;1;2\n", "no column with the slide"),
        ("slide;score\nB1;300\nB2;301\n", "line 3: score = 301: expected a score from 0 to 300"),
        ("slide;score\nB1;28 %\n", "line 2: score = '28 %': an H-score is no percentage"),
        ("slide;score\nB1;-1\n", "line 2: score = -1: expected"),
        ("slide;Positive %\nB1;1\n", "'Positive %' is positive_percent by its name"),
    ],
)
def test_what_cannot_be_compared_is_one_line(write: Write, content: str, said: str) -> None:
    good = write("good.csv", "slide;score\nB1;1\nB2;2\nB3;3\n")
    with pytest.raises(DataError, match=said):
        compare_files(write("bad.csv", content), good)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("slide;H-score\nB1;1\n", "column 'H-score' is h_score by its name"),
        ("slide;percent\nB1;101\n", "percent = 101: expected a score from 0 to 100"),
        ("slide;percent\nB1;0.45\nB2;1\nB3;\n", "no number above 1, as if they were shares of 1"),
    ],
)
def test_what_is_no_percentage_is_refused(write: Write, content: str, said: str) -> None:
    good = write("good.csv", "slide;percent\nB1;1\nB2;2\nB3;3\n")
    with pytest.raises(DataError, match=said):
        compare_files(write("bad.csv", content), good, score="positive_percent")


def test_small_percentages_are_taken_with_a_sign(write: Write) -> None:
    small = write("small.csv", "slide;percent\nB1;0.4 %\nB2;1 %\nB3;0 %\n")
    assert compare_files(small, small, score="positive_percent").first.mean == pytest.approx(
        1.4 / 3
    )
    negative = write("negative.csv", "slide;percent\nB1;0\nB2;0\nB3;1\n")
    assert compare_files(negative, negative, score="positive_percent").pairs == 3


def test_two_readers_may_share_a_table(write: Write) -> None:
    table = write("both.csv", "slide;R1;R2\nB1;1;2\nB2;5;5\nB3;9;7\n")
    found = compare_files(table, table, columns=("R1", "r2"))
    assert (found.first.name, found.second.name) == ("both.csv: R1", "both.csv: R2")
    assert found.limits.bias.value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tolerance": -1}, "--tolerance -1"),
        ({"tolerance": float("nan")}, "--tolerance nan"),
        ({"groups": [50, 50]}, "--groups 50,50: expected rising"),
        ({"groups": [50, 400]}, "--groups 50,400: expected scores above 0, up to 300"),
        ({"cutoff": float("nan")}, "--cutoff nan"),
        ({"cutoff": 101, "score": "positive_percent"}, "--cutoff 101: expected a score from 0 to"),
        ({"score": "hscore"}, "--score hscore: expected h_score or positive_percent"),
    ],
)
def test_an_option_that_means_nothing_is_one_line(write: Write, options: dict, said: str) -> None:
    table = write("a.csv", "slide;score\nB1;1\nB2;2\nB3;3\n")
    with pytest.raises(ConfigError, match=said):
        compare_files(table, table, **options)


def test_the_page_holds_all_pairs_and_is_the_same_each_time(write: Write, tmp_path: Path) -> None:
    first = write("a$1.csv", "slide;score\n<B1>;1\nB2;2\nB3;3\nB4;9\n")
    second = write("b.csv", "slide;score\n<B1>;2\nB2;2\nB3;5\n")
    found = compare_files(first, second, cutoff=2)
    write_comparison_page(tmp_path / "1.html", found)
    write_comparison_page(tmp_path / "2.html", found)
    page = (tmp_path / "1.html").read_text("utf-8")
    assert page == (tmp_path / "2.html").read_text("utf-8")
    assert "&lt;B1&gt;" in page
    assert "Only in a$1.csv (1): B4" in page
    assert page.count("data:image/png;base64,") == 2


def test_a_page_of_one_pair_says_why_it_has_no_figures(write: Write, tmp_path: Path) -> None:
    table = write("a.csv", "slide;score\nB1;1\n")
    write_comparison_page(tmp_path / "page.html", compare_files(table, table))
    assert "1 pair, at least 3 are needed" in (tmp_path / "page.html").read_text("utf-8")


def test_groups_have_names() -> None:
    assert group_names((50, 100)) == ["< 50", "50 to < 100", ">= 100"]
