"""The JSON schema takes the files that the program takes, and refuses the others."""

from __future__ import annotations

import jsonschema
import pytest
from test_sample_configs import PRESETS

from wsi_suite.config import Settings, load_settings, setting_keys
from wsi_suite.errors import ConfigError
from wsi_suite.resources import sample_configs_folder
from wsi_suite.settings_schema import settings_schema
from wsi_suite.yaml_files import parse_yaml

SCHEMA = settings_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == CHECK.META_SCHEMA["$id"]


@pytest.mark.parametrize("name", ["run.yaml", *PRESETS])
def test_samples_are_taken(name: str) -> None:
    CHECK.validate(parse_yaml((sample_configs_folder() / name).read_text("utf-8")))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "tissue:",
        "mpp: 0.25",
        "detect: {min_score: 0.3}",
        "score: {marker: null, thresholds_od: [0.1, 0.2, 0.3]}",
        "run: {stage_dir: /scratch, workers: 2}",
    ],
)
def test_what_the_program_takes_is_taken(text: str, tmp_path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    load_settings(tmp_path / "a.yaml")
    CHECK.validate(parse_yaml(text))


@pytest.mark.parametrize(
    "text",
    [
        "marker: ER",
        "score: {markr: ER}",
        "score: {marker: HER2}",
        "score: {thresholds_od: [0.1, 0.2]}",
        "score: {hot_spots: many}",
        "score: ER",
        "mpp: 40",
        "tissue: {exclude_pen: 3}",
        "quality: {exclude: focus}",
        "[score]",
    ],
)
def test_what_the_program_refuses_is_refused(text: str, tmp_path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_settings(tmp_path / "a.yaml")
    assert not CHECK.is_valid(parse_yaml(text))


def test_every_setting_is_described() -> None:
    for key in setting_keys(Settings):
        schema = SCHEMA
        for part in key.split("."):
            for inner in schema.get("anyOf", ()):
                if "$ref" in inner:
                    schema = SCHEMA["$defs"][inner["$ref"].rpartition("/")[2]]
            assert schema["additionalProperties"] is False
            schema = schema["properties"][part]
            assert schema["description"], key
            assert "default" in schema, key
