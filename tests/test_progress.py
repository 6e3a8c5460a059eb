"""Progress of long work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from wsi_suite.progress import Meter, Step


def test_fraction_is_between_none_and_all() -> None:
    assert Step("a", 1, 4).fraction == 0.25
    assert Step("a", 5, 4).fraction == 1
    assert Step("nothing to do", 0, 0).fraction == 1


def test_parts_add_up_from_any_thread_and_names_are_apart() -> None:
    steps: list[Step] = []
    meter = Meter(steps.append, message="reading")
    meter.begin("a", total=1000, done=100)
    meter.begin("b", total=10)
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(meter.advance, "a", 1) for _ in range(900)]:
            future.result()
    meter.advance("b", 3)
    assert steps[0] == Step("a", 100, 1000, "reading")
    assert max(step.done for step in steps if step.name == "a") == 1000
    assert steps[-1] == Step("b", 3, 10, "reading")


def test_work_that_was_not_begun_is_ignored() -> None:
    steps: list[Step] = []
    Meter(steps.append).advance("a", 1)
    assert steps == []


def test_an_exception_of_the_callback_ends_the_work() -> None:
    def cancel(step: Step) -> None:
        if step.done:
            raise KeyboardInterrupt

    meter = Meter(cancel)
    meter.begin("a", total=2)
    with pytest.raises(KeyboardInterrupt):
        meter.advance("a", 1)
