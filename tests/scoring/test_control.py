"""Control limits and rules, by hand."""

from __future__ import annotations

import pytest

from wsi_suite.errors import DataError
from wsi_suite.scoring.control import broken_rules, control_limits

FIRST = [99.0, 101.0] * 10  # mean 100, standard deviation sqrt(20 / 19)


def test_limits_are_those_of_the_first_runs() -> None:
    limits = control_limits([*FIRST, 500.0])
    assert (limits.mean, limits.runs) == (100, 20)
    assert limits.deviation == pytest.approx((20 / 19) ** 0.5)


@pytest.mark.parametrize(
    ("after", "rules"),
    [
        ([103.2], [("1-3s",)]),
        ([96.8], [("1-3s",)]),
        ([102.5], [()]),
        ([102.5, 102.5], [(), ("2-2s",)]),
        ([102.5, 97.5], [(), ()]),
        ([102.5, 100, 102.5], [(), (), ()]),
        ([97.5, 90], [(), ("1-3s", "2-2s")]),
    ],
)
def test_westgards_rules(after: list[float], rules: list[tuple[str, ...]]) -> None:
    limits = control_limits([*FIRST, *after])
    found = broken_rules([*FIRST, *after], limits)
    assert found == [()] * 20 + rules


def test_limits_need_eleven_runs_that_differ() -> None:
    with pytest.raises(DataError, match="10 runs to set limits from; expected at least 11"):
        control_limits(FIRST[:10])
    with pytest.raises(DataError, match="have the score 100"):
        control_limits([100.0] * 20)
