"""Settings: what is accepted, how it is merged, and what is said of a mistake."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from wsi_suite.config import (
    ScoreSettings,
    Section,
    Settings,
    load_settings,
    parse_settings,
    setting_keys,
)
from wsi_suite.errors import ConfigError
from wsi_suite.training.settings import SplitSettings
from wsi_suite.yaml_files import parse_yaml


def test_overrides_nest_and_their_values_are_yaml() -> None:
    settings = load_settings(
        overrides=[
            "mpp=0.25",
            "score.marker=Ki-67",
            "score.thresholds_od=[0.1, 0.3, 0.5]",
            "tiles.keep=no",
        ]
    )
    assert settings.mpp == 0.25
    assert settings.score.marker == "Ki-67"
    assert settings.score.thresholds_od == (0.1, 0.3, 0.5)
    assert settings.tiles.keep is False
    assert settings.detect == Settings().detect


def test_settings_are_read_under_their_earlier_names() -> None:
    assert load_settings(overrides=["detect.min_score=0.4"]).detect.min_confidence == 0.4


def test_the_last_override_holds_and_null_takes_back() -> None:
    assert load_settings(overrides=["score.marker=ER", "score.marker=PR"]).score.marker == "PR"
    assert load_settings(overrides=["score.marker=ER", "score.marker=null"]).score.marker is None


def test_overrides_go_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("score: {marker: ER, thresholds_od: [0.1, 0.2, 0.3]}", encoding="utf-8")
    score = load_settings(file, overrides=["score.marker=PR"]).score
    assert (score.marker, score.thresholds_od) == ("PR", (0.1, 0.2, 0.3))


def _files(folder: Path, *texts: str) -> list[Path]:
    files = [folder / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    return files


def test_files_are_merged_by_key_and_the_last_wins(tmp_path: Path) -> None:
    files = _files(
        tmp_path,
        "score: {marker: ER, hot_spots: 1}\nstain: {background: [240, 240, 240]}",
        "score: {marker: PR}\nstain:\n",
        "score: {hot_spots: 1}",
    )
    told: list[str] = []
    settings = load_settings(*files, overrides=["score.hot_spots=2"], tell=told.append)
    assert (settings.score.marker, settings.score.hot_spots) == ("PR", 2)
    assert settings.stain.background == (240, 240, 240)
    (line,) = told  # equal values, and --set, are no conflict
    assert line.startswith(f"{files[1]} goes over")
    assert f"score.marker = PR (not ER of {files[0]})" in line


def test_thresholds_of_a_later_file_have_its_origin(tmp_path: Path) -> None:
    user, other = "score: {thresholds_od: [0.1, 0.2, 0.3]}", "score: {marker: ER}"
    lab, mine, preset = _files(tmp_path, CALIBRATED, user, other)
    for files, origin in (
        ((lab, preset), "calibrated"),
        ((preset, lab), "calibrated"),
        ((mine, lab), "calibrated"),
        ((lab, mine), "user"),
    ):
        told: list[str] = []
        score = load_settings(*files, tell=told.append).score
        assert score.thresholds_origin == origin
        assert score.thresholds_source == ("grades.csv" if origin == "calibrated" else None)
        assert len(told) == (mine in files)


def test_calibrated_thresholds_hold_for_their_way_of_measuring(tmp_path: Path) -> None:
    measured = f"{CALIBRATED}stain: {{background: [240, 240, 240]}}\nmeasure: {{method: disc}}\n"
    lab, other, same = _files(
        tmp_path, measured, "stain: {background: [250, 250, 250]}", "measure: {method: disc}"
    )
    said = r"0\.yaml: its thresholds are calibrated for stain\.background = \[240\.0, .* 250\.0\]"
    for files in ((lab, other), (lab, same, other)):
        with pytest.raises(ConfigError, match=said):
            load_settings(*files)
    with pytest.raises(ConfigError, match=r"calibrated for measure\.method = disc, and nucleus"):
        load_settings(lab, overrides=["measure.method=nucleus"])
    assert load_settings(other, lab, same).stain.background == (240, 240, 240)
    mine = load_settings(lab, other, overrides=["score.thresholds_od=[0.1,0.2,0.3]"])
    assert (mine.score.thresholds_origin, mine.stain.background[0]) == ("user", 250)


def test_files_may_name_a_setting_by_its_earlier_name(tmp_path: Path) -> None:
    old, new = "detect: {min_score: 0.3}", "detect: {min_confidence: 0.4}"
    for texts, value in (((old, new), 0.4), ((new, old), 0.3), ((old, new, old), 0.3)):
        told: list[str] = []
        settings = load_settings(*_files(tmp_path, *texts), tell=told.append)
        assert settings.detect.min_confidence == value
        assert len(told) == len(texts) - 1


def test_a_number_of_nuclei_takes_back_the_area_of_an_earlier_file(tmp_path: Path) -> None:
    told: list[str] = []
    files = _files(tmp_path, "score: {hot_spot_mm2: 1}", "score: {hot_spot_nuclei: 300}")
    assert load_settings(*files, tell=told.append).score.hot_spot_mm2 is None
    assert "score.hot_spot_mm2 is no longer set" in told[0]


def test_a_mistake_in_one_of_several_files_is_named_by_it(tmp_path: Path) -> None:
    files = _files(tmp_path, "score: {marker: ER}", "score: {markr: ER}")
    with pytest.raises(ConfigError, match=r"1\.yaml: unknown setting 'score\.markr'"):
        load_settings(*files)


def test_fields_that_were_set_are_known_as_such() -> None:
    score = load_settings(overrides=["score.marker=null"]).score
    assert score.model_fields_set == {"marker"}


CALIBRATED = """
score:
  thresholds_od: [0.2, 0.4, 0.6]
  thresholds_origin: calibrated
  thresholds_source: grades.csv
"""


@pytest.mark.parametrize(
    ("text", "overrides", "origin"),
    [
        ("", [], "default"),
        ("score: {marker: ER}", ["score.marker=PR"], "default"),
        ("score: {thresholds_od: [0.2, 0.4, 0.6]}", [], "user"),
        ("", ["score.thresholds_od=[0.2,0.4,0.6]"], "user"),
        ("", ["score.thresholds_od=[0.1,0.3,0.5]"], "user"),
        # As in the sample file: untouched, with other thresholds, overridden.
        ("score: {thresholds_od: [0.2, 0.4, 0.6], thresholds_origin: default}", [], "default"),
        ("score: {thresholds_od: [0.1, 0.4, 0.6], thresholds_origin: default}", [], "user"),
        (
            "score: {thresholds_od: [0.2, 0.4, 0.6], thresholds_origin: default}",
            ["score.thresholds_od=[0.2,0.4,0.6]"],
            "user",
        ),
        (CALIBRATED, [], "calibrated"),
        (CALIBRATED, ["score.marker=ER"], "calibrated"),
        (CALIBRATED, ["score.thresholds_od=[0.1,0.4,0.6]"], "user"),
    ],
)
def test_thresholds_carry_their_origin(
    tmp_path: Path, text: str, overrides: list[str], origin: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    score = load_settings(file, overrides=overrides).score
    assert score.thresholds_origin == origin
    assert score.thresholds_source == ("grades.csv" if origin == "calibrated" else None)
    assert ScoreSettings.model_validate_json(score.model_dump_json()) == score


def test_results_without_an_origin_are_read_by_their_values() -> None:
    old = {"thresholds_od": [0.2, 0.4, 0.6], "headline_class": None, "marker": "ER"}
    assert ScoreSettings.from_result(old).thresholds_origin == "default"
    old["thresholds_od"] = [0.1, 0.4, 0.6]
    assert ScoreSettings.from_result(old).thresholds_origin == "user"


@pytest.mark.parametrize("text", ["", "# nothing", "score:\n", "score: {}"])
def test_a_file_without_settings_means_the_defaults(tmp_path: Path, text: str) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_settings(file) == Settings()
    assert load_settings(file, overrides=["score.marker=ER"]).score.marker == "ER"


@pytest.mark.parametrize("value", ["0.4", "0.5", '"0.4"', "'0.5'"])
def test_a_format_version_may_be_a_number(value: str) -> None:
    settings = load_settings(overrides=[f"tiles.ome_zarr_version={value}"])
    assert settings.tiles.ome_zarr_version == value.strip("'\"")


def test_a_file_of_any_editor_is_read(tmp_path: Path) -> None:
    """With the mark of Windows editors, their line ends, anchors and merged sections."""
    file = tmp_path / "mine.yaml"
    text = "\ufeffmeasure: &base\n  disc_radius_um: 1.5\ntissue:\n  mpp: '4'\n  exclude_pen: off\n"
    file.write_bytes(text.replace("\n", "\r\n").encode())
    settings = load_settings(file)
    assert settings.measure.disc_radius_um == 1.5
    assert (settings.tissue.mpp, settings.tissue.exclude_pen) == (4, False)
    merged = (
        "{stain: {dab: &a [0.1, 0.2, 0.3], hematoxylin: *a}, score: {<<: {marker: ER}, marker: PR}}"
    )
    file.write_text(merged)
    settings = load_settings(file)
    assert settings.stain.hematoxylin == (0.1, 0.2, 0.3)
    assert settings.score.marker == "PR"


@pytest.mark.parametrize("name", ["0374", "386_456", "12:30", "2024-01-01", "0b11", "1_0.5"])
def test_names_made_of_digits_stay_as_they_are(name: str) -> None:
    assert load_settings(overrides=[f"detect.model={name}"]).detect.model == name


def test_numbers_become_text_where_text_is_meant() -> None:
    split = parse_settings(SplitSettings, {"test_runs": [386, "1574-1595"]})
    assert split.test_runs == ("386", "1574-1595")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("score.markr=ER", "unknown setting 'score.markr' (did you mean 'score.marker'?)"),
        ("markr=ER", "unknown setting 'markr' (did you mean 'score.marker'?)"),
        ("scor.marker=ER", "unknown setting 'scor' (did you mean 'score'?)"),
        ("xyzzy=1", "unknown setting 'xyzzy'; known: detect.flips, detect.min_confidence, "),
        ("score.marker=HER2", "score.marker = 'HER2': expected 'ER', 'PR', 'Ki-67' or 'other'"),
        ("tiles.ome_zarr_version=0.3", "tiles.ome_zarr_version = '0.3': expected '0.4' or '0.5'"),
        (
            "detect.min_confidence=1.5",
            "detect.min_confidence = 1.5: expected less than or equal to 1",
        ),
        ("detect.min_confidence=.nan", "detect.min_confidence = nan: expected a finite number"),
        ("measure.disc_radius_um=0", "measure.disc_radius_um = 0: expected greater than 0"),
        ("mpp=50", "mpp = 50: expected less than or equal to 10"),
        ("mpp=quarter", "mpp = 'quarter': expected a valid number"),
        ("run.workers=0", "run.workers = 0: expected greater than or equal to 1"),
        ("score=ER", "score = 'ER': expected a section with settings of its own"),
        ("mpp.x=1", "mpp: expected a valid number"),
        ("stain.dab=[1, 2]", "stain.dab.2: missing; expected a value"),
        ("score.thresholds_od=[0.2,0.2,0.6]", "expected rising optical densities"),
        ("score.thresholds_od=[-0.2,0.2,0.6]", "expected rising optical densities"),
        ("score.marker", "--set score.marker: expected key=value"),
        ("=ER", "--set =ER: expected key=value"),
        ("score.marker=[", "--set score.marker=[: the value is not YAML"),
        ("score={marker: ER, marker: PR}", "not YAML (line 1: 'marker' again, as in line 1"),
        ("detect.min_confidence=0,5", "detect.min_confidence = '0,5': expected a valid number"),
        ("detect.min_confidence=1:30", "detect.min_confidence = '1:30': expected a valid number"),
        (
            "detect.min_confidence=on",
            "detect.min_confidence = True: expected no switch (yes, no, on, off",
        ),
        ("mpp=yes", "mpp = True: expected no switch"),
        ("run.workers=true", "run.workers = True: expected no switch"),
        ("stain.dab=[yes, 0.5, 0.5]", "expected no switch"),
        ("detect.model=off", "detect.model = False: expected no switch (yes, no, on, off, true"),
        ("score.cutoffs_percent=20", "= 20: expected a list in brackets, as in [20]"),
        ("score.thresholds_od=0.2,0.4,0.6", "expected a list in brackets, as in [0.2,0.4,0.6]"),
        ("score.thresholds_od=0.2;0.4;0.6", "score.thresholds_od = '0.2;0.4;0.6': expected"),
    ],
)
def test_a_mistake_is_told_with_key_value_and_what_was_expected(
    override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides=[override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_section_cannot_stand_below_a_value() -> None:
    with pytest.raises(ConfigError, match="'mpp' is a value, not a section"):
        load_settings(overrides=["mpp=1", "mpp.x=1"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"score: {marker: HER2}", "score.marker = 'HER2'"),
        (b"scor: {}", "unknown setting 'scor'"),
        (b"- score", "expected sections of settings, found list"),
        (b"just words", "expected sections of settings, found str"),
        (b"score: [1, ", "not YAML (line 1: "),
        (
            b"score:\n  marker: ER\nscore:\n  headline_class: x\n",
            "line 3: 'score' again, as in line 1",
        ),
        (b"score:\n  marker: ER\n  marker: ER\n", "line 3: 'marker' again, as in line 2"),
        (b"score: {x: [{a: 1, a: 1}]}", "'a' again"),
        (b"score: {marker: ER, 'marker': PR}", "'marker' again"),
        (
            b"score:\n\tmarker: ER",
            "line 2: found character '\\t' that cannot start any token; ",
        ),
        (b"mpp: 0.5\n---\nmpp: 0.25", "but found another document"),
        (b"score.marker: ER", "unknown setting 'score.marker'; write 'score:', and below it, "),
        (b"Score: {marker: ER}", "unknown setting 'Score' (did you mean 'score'?)"),
        (b"detect: {marker: ER}", "unknown setting 'detect.marker' (did you mean 'score.marker'?)"),
        (b"mpp: !!python/object:os.system x", "could not determine a constructor"),
        (b"mpp: !!int half", "invalid literal"),
        (b"[" * 3000, "nested too deeply"),
        (b"? [1]\n: 2", "found unhashable key"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(file, overrides=["score.marker=ER"])
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(No such file"):
        load_settings(tmp_path / "none.yaml")


def test_setting_keys_are_dotted() -> None:
    keys = setting_keys(Settings)
    assert {"mpp", "tiles.keep", "score.thresholds_od", "run.device"} <= set(keys)
    assert len(keys) == len(set(keys))


def test_settings_cannot_be_changed() -> None:
    class Example(Section):
        value: int = 1

    with pytest.raises(ValueError, match="frozen"):
        Example().value = 2


def many_values(last: str) -> str:
    """Return a few lines of aliases that stand for 9**9 values."""
    names = [*"abcdefgh", last]
    lines = [f"a: &{names[0]} [{', '.join('111111111')}]"]
    for before, name in pairwise(names):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text", [many_values("score"), "score: &a [*a]", "a: &a {b: *a}", "a: &a {<<: [*a, *a]}"]
)
def test_aliases_that_stand_for_endless_values_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"run\.yaml: .*aliases .*; write the values out"):
        load_settings(path)


def test_aliases_may_repeat_values() -> None:
    text = "score: &a {marker: ER}\nother: [*a, *a]\nmore: {<<: *a, n: 1}"
    more = parse_yaml(text)
    assert more["other"] == [{"marker": "ER"}] * 2
    assert more["more"] == {"marker": "ER", "n": 1}


def test_a_number_of_nuclei_given_later_takes_the_place_of_an_area(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("score: {hot_spot_mm2: 0.2}")
    score = load_settings(tmp_path / "c.yaml", overrides=["score.hot_spot_nuclei=200"]).score
    assert (score.hot_spot_nuclei, score.hot_spot_mm2) == (200, None)
