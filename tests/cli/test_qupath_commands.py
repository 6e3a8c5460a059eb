"""``wsi-suite qupath``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Cli


def test_scripts_are_installed_and_the_next_step_is_told(wsi: Cli, tmp_path):
    done = wsi("qupath", "install-scripts", "--user-dir", tmp_path)
    assert done.code == 0
    folder = Path(done.out.strip())
    assert (folder / "Install_menu.groovy").is_file()
    assert "Automate > User scripts... > WSI Suite > Install menu" in done.err


def test_the_preference_that_lists_the_scripts_is_told(wsi: Cli, tmp_path):
    told = " ".join(wsi("qupath", "install-scripts", "--user-dir", tmp_path).err.split())
    assert "Edit > Preferences... > Extensions, set 'QuPath user directory' to" in told
    assert tmp_path.name in told


def test_every_user_directory_that_is_found_gets_them(
    wsi: Cli, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    folders = [tmp_path / "QuPath" / version for version in ("v0.5", "v0.6")]
    for folder in folders:
        folder.mkdir(parents=True)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    done = wsi("qupath", "install-scripts", "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert [Path(each["folder"]) for each in told] == [
        folder / "scripts" / "WSI Suite" for folder in folders
    ]


def test_without_a_user_directory_it_asks_for_one(
    wsi: Cli, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    done = wsi("qupath", "install-scripts")
    assert done.code == 2
    assert len(done.errors) == 1
    assert "choose a folder as 'QuPath user directory'" in done.errors[0]
    assert "--user-dir" in done.errors[0]


def test_a_changed_script_is_kept(wsi: Cli, tmp_path):
    folder = Path(wsi("qupath", "install-scripts", "--user-dir", tmp_path).out.strip())
    (folder / "Import_nuclei.groovy").write_text("changed")
    done = wsi("qupath", "install-scripts", "--user-dir", tmp_path)
    assert done.code == 2
    assert "Import_nuclei.groovy was changed" in done.errors[0]
    assert wsi("qupath", "install-scripts", "--user-dir", tmp_path, "--overwrite").code == 0
