"""Tables of nuclei put together."""

from __future__ import annotations

import numpy as np
import pytest

from wsi_suite.nuclei.table import Nuclei, concatenate, take_joined


def table(count: int, *, seed: int, outline: bool = True, detected: bool = True) -> Nuclei:
    """Draw nuclei whose columns are of all kinds."""
    rng = np.random.default_rng(seed)
    return Nuclei(
        x=rng.random(count),
        y=rng.random(count),
        confidence=rng.random(count).astype(np.float32),
        label=rng.integers(0, 2, count).astype(np.uint8),
        classes=("Epithelium", "Stroma"),
        measurements={name: rng.random(count).astype(np.float32) for name in ("b", "a")},
        outline=rng.random((count, 16)).astype(np.float32) if outline else None,
        detected=rng.random((count, 2)) if detected else None,
        mpp=(0.25, 0.25),
    )


def assert_equal(found: Nuclei, expected: Nuclei) -> None:
    """Check that two tables are equal to the bit."""
    assert (found.classes, found.mpp) == (expected.classes, expected.mpp)
    assert list(found.measurements) == list(expected.measurements)
    columns = ("x", "y", "confidence", "label", "outline", "detected")
    pairs = [(getattr(found, name), getattr(expected, name)) for name in columns]
    pairs += [(found.measurements[name], expected.measurements[name]) for name in ("b", "a")]
    for one, other in pairs:
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("has", [True, False])
def test_rows_of_joined_tables_are_taken_as_from_one_table(has: bool) -> None:
    none = Nuclei.empty(("Epithelium", "Stroma"))
    filled = [table(size, seed=size, outline=has, detected=has) for size in (7, 1, 12)]
    tables = [none, filled[0], none, *filled[1:]]
    rows = np.random.default_rng(0).permutation(20)[:13]
    assert_equal(take_joined(tables, rows), concatenate(tables).take(rows))
    assert_equal(take_joined(tables, rows[:0]), concatenate(tables).take(rows[:0]))


def test_tables_without_rows_join_to_one_without_rows() -> None:
    none = Nuclei.empty(("Epithelium",))
    joined = take_joined([none, none], np.zeros(0, np.int_))
    assert (len(joined), joined.classes) == (0, ("Epithelium",))
