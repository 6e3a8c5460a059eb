"""The sample configurations say what the code does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import BaseModel

from wsi_suite.config import Settings, load_settings, parse_settings
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.resources import sample_configs_folder
from wsi_suite.runs.cluster_file import ClusterFile, known_options
from wsi_suite.scoring.summary import summarise
from wsi_suite.settings_files import read_values


def sample_lines(kind: type[BaseModel], *, indent: str = "") -> Iterator[tuple[str, str]]:
    """Yield the start and the comment of the line that each section and setting should have."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            assert inner.__doc__
            yield f"{indent}{name}:", inner.__doc__.splitlines()[0]
            yield from sample_lines(inner, indent=indent + "  ")
        else:
            assert field.description, f"{name} has no description"
            yield f"{indent}{name}: ", field.description


def test_run_sample_holds_the_defaults() -> None:
    assert load_settings(sample_configs_folder() / "run.yaml") == Settings()


def test_run_sample_explains_every_setting_in_order() -> None:
    text = (sample_configs_folder() / "run.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    expected = list(sample_lines(Settings))
    assert len(lines) == len(expected)
    for line, (start, comment) in zip(lines, expected, strict=True):
        assert line.startswith(start)
        assert line.endswith(f"  # {comment}")


@pytest.mark.parametrize("line", ["tissue: {}", "score: {marker: ER}"])
def test_kept_lines_alone_are_a_configuration(tmp_path, line: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(line, encoding="utf-8")
    assert load_settings(file).tissue == Settings().tissue


PRESETS = {
    "er_pr.yaml": {"marker": "ER"},
    "ki67.yaml": {"marker": "Ki-67"},
    "endometrium.yaml": {
        "marker": "ER",
        "headline_class": "Epithelium",
        "breast_guidelines": False,
    },
    "nuclear.yaml": {"marker": "other", "breast_guidelines": False, "hot_spot_mm2": 0.2},
}


CLUSTERS = ("cluster_slurm.yaml", "cluster_pbs.yaml", "cluster_ssh.yaml")  # run in tests/runs


def test_every_sample_is_tested() -> None:
    names = {path.name for path in sample_configs_folder().iterdir()}
    assert names == {"run.yaml", "train_endonuke.yaml", "fine_tune.yaml", *PRESETS, *CLUSTERS}


@pytest.mark.parametrize("name", CLUSTERS)
def test_cluster_samples_explain_every_line(name: str) -> None:
    text = (sample_configs_folder() / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for line in lines:
        assert "  # " in line, line
    settings = parse_settings(ClusterFile, read_values(sample_configs_folder() / name))
    assert settings.options.keys() <= known_options(settings.kind)
    for field, known in ClusterFile.model_fields.items():
        said = [line for line in lines if line.startswith(f"{field}: ")]
        assert not said or field == "options" or said[0].endswith(f"  # {known.description}")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_set_what_they_are_for_and_nothing_else(name: str) -> None:
    settings = load_settings(sample_configs_folder() / name)
    score = settings.score.model_dump()
    defaults = Settings().score.model_dump()
    assert {key: value for key, value in score.items() if value != defaults[key]} == PRESETS[name]
    others = settings.model_dump(exclude={"score"})
    others["detect"]["min_confidence"] = None
    assert others == Settings().model_dump(exclude={"score"})
    assert settings.detect.min_confidence == (0.25 if name == "ki67.yaml" else None)
    assert settings.score.thresholds_origin == "default", "thresholds are each laboratory's own"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_short_and_say_how_to_run_them(name: str) -> None:
    lines = (sample_configs_folder() / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 18
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("# ")
    assert any(line.endswith(f"--config sample_configs/{name}") for line in lines)


@pytest.mark.parametrize(
    ("name", "marker", "receptor", "ki67"),
    [
        ("er_pr.yaml", None, "ER Low Positive", False),
        ("er_pr.yaml", "PR", "PR positive", False),
        ("ki67.yaml", None, None, True),
        ("endometrium.yaml", None, None, False),
        ("nuclear.yaml", None, None, False),
    ],
)
def test_presets_give_the_scores_that_they_name(
    name: str, marker: str | None, receptor: str | None, ki67: bool
) -> None:
    overrides = [f"score.marker={marker}"] if marker else []
    settings = load_settings(sample_configs_folder() / name, overrides=overrides).score
    count = 2000
    place = np.random.default_rng(0).uniform(0, 2000, (2, count))
    nuclei = Nuclei(
        *place,
        np.ones(count, np.float32),
        np.ones(count, np.uint8),
        ("Stroma", "Epithelium"),
        {"Nucleus: DAB OD mean": (np.arange(count) % 20 == 0).astype(np.float32)},
    )
    found = summarise(nuclei, settings, mpp=(0.5, 0.5), tissue_area_mm2=1.0)
    assert (found.receptor and found.receptor.status) == receptor
    assert (found.ki67 is not None) == ki67
    assert len(found.hot_spots) == 2
    assert all(spots.spots for spots in found.hot_spots.values())
