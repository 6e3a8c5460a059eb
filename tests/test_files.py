"""Names that every system takes."""

from __future__ import annotations

import pytest

from wsi_suite.files import file_names


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (["Region 1", "Tumör ER+ (2.5 mm²)"], ["Region 1", "Tumör ER+ _2.5 mm²_"]),
        (["../../etc", "a/b\\c:d", "x\ny"], ["_.._etc", "a_b_c_d", "x_y"]),
        (["A", "a", "A", "A 2"], ["A", "a 2", "A 3", "A 2 2"]),
        (["con", "Aux.v1", "COM1 ", "contra"], ["con_", "Aux_.v1", "COM1_", "contra"]),
        (["", " . ", "x" * 200], ["_", "_ 2", "x" * 60]),
    ],
)
def test_titles_become_names(titles: list[str], expected: list[str]) -> None:
    assert file_names(titles) == expected
