"""``config``: what it writes is a configuration, and nothing is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Cli

from wsi_suite.config import Settings, load_settings
from wsi_suite.settings_schema import settings_schema


def test_a_new_file_holds_the_defaults_and_is_not_overwritten(wsi: Cli, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    answer = wsi("config", "--init", file)
    assert answer.code == 0
    assert str(file) in answer.err
    assert load_settings(file) == Settings()
    file.write_text("score: {marker: ER}")
    again = wsi("config", "--init", file)
    assert again.code == 2
    assert again.errors == [f"error: {file}: exists; remove it, or name another FILE"]
    assert file.read_text() == "score: {marker: ER}"


@pytest.mark.parametrize("typed", [(), ("-",)])
def test_without_a_file_it_is_printed(wsi: Cli, tmp_path: Path, typed: tuple[str, ...]) -> None:
    (tmp_path / "printed.yaml").write_text(wsi("config", "--init", *typed).out)
    assert load_settings(tmp_path / "printed.yaml") == Settings()
    assert json.loads(wsi("config", "--schema", *typed).out) == settings_schema()


def test_a_new_file_names_the_schema_beside_it(wsi: Cli, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    assert wsi("config", "--init", "--schema", file).code == 0
    first = file.read_text("utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads((tmp_path / named).read_text("utf-8")) == settings_schema()
    assert load_settings(file) == Settings()


def test_if_one_of_two_files_exists_none_is_written(wsi: Cli, tmp_path: Path) -> None:
    (tmp_path / "lab.schema.json").write_text("{}")
    assert wsi("config", "--init", "--schema", tmp_path / "lab.yaml").code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["lab.schema.json"]


def test_check_shows_what_is_set(wsi: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("score: {marker: ER, hot_spots: 3}")
    (tmp_path / "b.yaml").write_text("score: {marker: PR}")
    answer = wsi("config", "--check", tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert answer.code == 0
    assert [line.split() for line in answer.out.splitlines()] == [
        ["setting", "value", "default"],
        ["score.marker", "PR", "null"],
    ]
    assert "score.marker = PR (not ER of" in answer.err
    assert json.loads(wsi("config", "--check", "--json", tmp_path / "b.yaml").out)["mpp"] is None


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ((), "give --init, --schema or both, or --check"),
        (("--check",), "FILE is missing"),
        (("--check", "none.yaml"), "none.yaml: cannot be read"),
        (("--init", "--check", "a.yaml"), "give --init"),
        (("--init", "--schema"), "expected a FILE"),
        (("--init", "a.yaml", "b.yaml"), "b.yaml: a second FILE"),
        (("--init", "--json"), "--json: goes with --check"),
        (("--init", "nowhere/a.yaml"), "there is no folder nowhere"),
    ],
)
def test_wrong_use_is_one_line(
    wsi: Cli, tmp_path: Path, typed: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = wsi("config", *typed)
    assert answer.code in (1, 2)
    assert len(answer.errors) == len(answer.err.splitlines()) == 1
    assert said in answer.err
    assert not list(tmp_path.iterdir())
