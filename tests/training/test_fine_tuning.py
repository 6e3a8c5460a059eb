"""A training that starts from another model's weights."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from wsi_suite.config import parse_settings
from wsi_suite.detector.detector import Compute
from wsi_suite.detector.model_folder import load_network, trained_runs
from wsi_suite.errors import ConfigError, DataError, ModelError
from wsi_suite.training import train as module
from wsi_suite.training.halo import measure_halo
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.train import train_model

RUNS = {"a": "1", "b": "1", "c": "2", "d": "3"}


def settings(*, test_runs=("3",), rate=1e-3, **changes) -> TrainSettings:
    values = {
        "name": "tiny",
        "network": {"backbone": "resnet10t", "stages": 1, "channels": 8},
        "split": {"test_runs": list(test_runs)},
        "optimiser": {
            "epochs": 1,
            "epoch_crops": 4,
            "batch": 2,
            "crop_px": 32,
            "learning_rate": rate,
        },
    }
    return parse_settings(TrainSettings, values | changes)


@pytest.fixture(scope="module", autouse=True)
def _same_on_every_machine():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "choose_compute", lambda device, precision: Compute("cpu", "fp32", 1))
        patch.setattr(module, "measure_halo", partial(measure_halo, core_px=32))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_tiles):
    return write_tiles(tmp_path_factory.mktemp("data"), RUNS)


@pytest.fixture(scope="module")
def first(data, tmp_path_factory):
    return train_model(settings(), data=data, out=tmp_path_factory.mktemp("models") / "first")


def test_it_starts_from_the_weights_and_says_so(first, data, tmp_path):
    # At a rate of nothing weights stay what they were.
    start = settings(start_from=str(first.path), rate=1e-12)
    second = train_model(start, data=data, out=tmp_path / "second")
    before, after = load_network(first).state_dict(), load_network(second).state_dict()
    for name, value in before.items():
        if name.endswith("weight"):
            torch.testing.assert_close(after[name], value, atol=1e-3, rtol=0)
    assert second.spec.provenance["start_from"]["hash"] == first.hash
    assert trained_runs(second.spec.provenance) == {"1", "2"}


def test_the_end_can_be_an_average_with_the_start(first, data, tmp_path):
    optimiser = settings().optimiser.model_dump() | {"learning_rate": 0.05}
    ends = {
        share: load_network(
            train_model(
                settings(start_from=str(first.path), optimiser={**optimiser, "keep_start": share}),
                data=data,
                out=tmp_path / str(share),
            )
        ).state_dict()
        for share in (0.0, 0.25)
    }
    start = load_network(first).state_dict()
    moved = 0.0
    for name, end in ends[0.0].items():
        if name.startswith("backbone") and end.is_floating_point():
            expected = 0.75 * end + 0.25 * start[name]  # weights are stored in half precision
            torch.testing.assert_close(ends[0.25][name], expected, atol=2e-3, rtol=2e-3)
            moved = max(moved, float((end - start[name]).abs().max()))
    assert moved > 0.02


def test_a_share_of_no_start_is_refused():
    with pytest.raises(ConfigError, match=r"keep_start: is a share of start_from's weights"):
        settings(optimiser={**settings().optimiser.model_dump(), "keep_start": 0.5})


def test_a_test_run_that_the_start_has_seen_is_refused(first, data, tmp_path):
    with pytest.raises(DataError, match="has learned from the test run '2'"):
        train_model(
            settings(start_from=str(first.path), test_runs=["2"]), data=data, out=tmp_path / "x"
        )


def test_a_start_of_other_parts_is_refused(first, data, tmp_path):
    other = settings(
        start_from=str(first.path),
        network={"backbone": "resnet10t", "stages": 2, "channels": 8},
    )
    with pytest.raises(ModelError, match="network or classes differ"):
        train_model(other, data=data, out=tmp_path / "x")
