"""Settings as Python users give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_suite.config import ScoreSettings, Settings, load_settings
from wsi_suite.errors import ConfigError
from wsi_suite.given_settings import settings_of


@pytest.mark.parametrize(
    "given",
    [
        {"score": {"marker": "ER", "hot_spots": 2}},
        {"score.marker": "ER", "score.hot_spots": 2},
        {"score": {"marker": "PR", "hot_spots": 2}, "score.marker": "ER"},
        {"score": ScoreSettings(marker="PR", hot_spots=2), "score.marker": "ER"},
        load_settings(overrides=["score.marker=ER", "score.hot_spots=2"]),
    ],
)
def test_every_way_means_the_same(given: Any, tmp_path: Path) -> None:
    settings = settings_of(given)
    assert settings == load_settings(overrides=["score.marker=ER", "score.hot_spots=2"])
    assert settings.score.model_fields_set >= {"marker", "hot_spots"}


def test_a_file_and_nothing(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("score: {marker: ER}")
    assert settings_of(str(file)) == settings_of(file) == settings_of({"score.marker": "ER"})
    assert settings_of(None) == Settings()


def test_arguments_go_over_the_settings() -> None:
    given = {"mpp": 0.5, "detect": {"model": "a", "min_confidence": 0.3}, "run.workers": 2}
    settings = settings_of(given, mpp=np.float32(0.25), model=Path("b"), device="cpu")
    assert (settings.mpp, settings.detect.model, settings.run.device) == (0.25, "b", "cpu")
    assert (settings.detect.min_confidence, settings.run.workers) == (0.3, 2)
    assert settings_of(given).mpp == 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"score.markr": "ER"}, r"unknown setting 'score.markr' \(did you mean 'score.marker'"),
        ({"score.marker": "HER2"}, "score.marker = 'HER2': expected"),
        ({"mpp": 50}, "mpp = 50: expected"),
        ({1: 2}, "settings: 1: expected a name"),
        (["score.marker=ER"], "a list: expected Settings, values by name"),
        ("none.yaml", "none.yaml: cannot be read"),
    ],
)
def test_what_is_no_settings_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_of(given)


def test_arguments_out_of_their_limits_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mpp = 99.0: expected less than"):
        settings_of(None, mpp=99)
