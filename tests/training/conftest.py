"""Fixtures of trainings that take a second."""

from __future__ import annotations

from functools import partial

import pytest


@pytest.fixture(scope="module")
def quick_training():
    """Compute in single precision, and measure the halo on small cores."""
    from wsi_suite.detector.detector import Compute
    from wsi_suite.training import train
    from wsi_suite.training.halo import measure_halo

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "choose_compute", lambda device, precision: Compute("cpu", "fp32", 1))
        patch.setattr(train, "measure_halo", partial(measure_halo, core_px=32))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_tiles):
    """Five tiles of four runs."""
    runs = {"a": "1", "b": "1", "c": "2", "d": "3", "e": "4"}
    return write_tiles(tmp_path_factory.mktemp("data") / "tiles", runs)
