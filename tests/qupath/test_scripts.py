"""Scripts get into QuPath's user directory whole, and never over somebody else's files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from wsi_suite.errors import InputError, OutputConflictError, OutputError
from wsi_suite.qupath import scripts
from wsi_suite.qupath.scripts import PROGRAM_FILE, RECORD_FILE, find_user_folders, install_scripts
from wsi_suite.resources import qupath_scripts_folder


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_scripts_and_libraries_are_installed_as_they_are(tmp_path):
    done = install_scripts(tmp_path)
    assert done.folder == tmp_path / "scripts" / "WSI Suite"
    installed = content(done.folder)
    ours = content(qupath_scripts_folder())
    assert {name: installed[name] for name in ours} == ours
    assert set(installed) - set(ours) == {PROGRAM_FILE, RECORD_FILE}
    assert "Install_menu.groovy" in done.scripts
    assert not any(name.endswith(".gvy") for name in done.scripts)
    assert done.removed == ()


def test_scripts_learn_which_program_starts_the_service(tmp_path):
    folder = install_scripts(tmp_path).folder
    assert (folder / PROGRAM_FILE).read_text("utf-8").splitlines() == [
        *(sys.executable, "-m", "wsi_suite")
    ]


def test_qupaths_menu_lists_scripts_alone(tmp_path):
    # What its script editor opens, as of QuPath 0.6.
    listed = {".groovy", ".txt", ".tsv", ".csv", ".json", ".geojson", ".py", ".md", ".xml", ".ijm"}
    done = install_scripts(tmp_path)
    assert {file.name for file in done.folder.iterdir() if file.suffix in listed} == {*done.scripts}


def test_the_same_again_changes_nothing(tmp_path):
    folder = install_scripts(tmp_path).folder
    before = content(folder)
    assert install_scripts(tmp_path).removed == ()
    assert content(folder) == before


def test_an_earlier_version_is_replaced_and_what_it_had_more_is_removed(tmp_path, monkeypatch):
    old = tmp_path / "old"
    old.mkdir()
    (old / "Detect_nuclei_and_score.groovy").write_text("old")
    (old / "Gone.groovy").write_text("old")
    with monkeypatch.context() as patched:
        patched.setattr(scripts, "qupath_scripts_folder", lambda: old)
        folder = install_scripts(tmp_path).folder
    mine = folder / "Mine.groovy"
    mine.write_text("mine")
    assert install_scripts(tmp_path).removed == ("Gone.groovy",)
    assert not (folder / "Gone.groovy").exists()
    assert (folder / "Detect_nuclei_and_score.groovy").read_text("utf-8") != "old"
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("name", ["Detect_nuclei_and_score.groovy", PROGRAM_FILE])
def test_a_changed_file_is_kept_unless_it_may_be_replaced(tmp_path, name):
    folder = install_scripts(tmp_path).folder
    (folder / name).write_text("changed")
    before = content(folder)
    with pytest.raises(OutputConflictError, match=rf"{name} was changed.*--overwrite"):
        install_scripts(tmp_path)
    assert content(folder) == before
    install_scripts(tmp_path, overwrite=True)
    assert (folder / name).read_text("utf-8") != "changed"


@pytest.mark.parametrize(
    "record",
    [None, "", "[]", '{"files": []}', '{"files": {"Ui.gvy": 7}}', '{"files": {"../Ui.gvy": ""}}'],
)
def test_a_file_that_was_not_installed_is_kept(tmp_path, record):
    folder = tmp_path / "scripts" / "WSI Suite"
    folder.mkdir(parents=True)
    (folder / "Ui.gvy").write_text("somebody else's")
    if record is not None:
        (folder / RECORD_FILE).write_text(record)
    with pytest.raises(OutputConflictError, match=r"Ui\.gvy was changed or is not from wsi-suite"):
        install_scripts(tmp_path)
    assert (folder / "Ui.gvy").read_text() == "somebody else's"


def test_a_record_cannot_remove_files_elsewhere(tmp_path):
    folder = install_scripts(tmp_path).folder
    other = tmp_path / "other.txt"
    other.write_text("")
    record = json.loads((folder / RECORD_FILE).read_text())
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of nothing
    record["files"]["../../other.txt"] = digest
    (folder / RECORD_FILE).write_text(json.dumps(record))
    install_scripts(tmp_path)
    assert other.exists()


def test_a_write_that_fails_leaves_the_old_scripts(tmp_path, monkeypatch):
    folder = install_scripts(tmp_path).folder
    before = content(folder)
    written = Path.write_bytes

    def full(file: Path, text: bytes) -> int:
        if "Thresholds" in file.name:
            raise OSError(28, "No space left on device")
        return written(file, text)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"No space left on device.*--user-dir"):
        install_scripts(tmp_path)
    assert content(folder) == before


def test_a_user_directory_has_to_exist(tmp_path):
    with pytest.raises(InputError, match=r"no such folder.*--user-dir"):
        install_scripts(tmp_path / "v0.6")


def test_user_directories_are_found_where_qupath_proposes_them(tmp_path):
    for name in ("v0.2", "v0.4", "v0.6", "v0.10", "v1.x", "extensions"):
        (tmp_path / "QuPath" / name).mkdir(parents=True)
    (tmp_path / "QuPath" / "v0.7").touch()
    assert [folder.name for folder in find_user_folders(tmp_path)] == ["v0.10", "v0.4", "v0.6"]


def test_user_directories_are_found_in_preferences(tmp_path):
    chosen = tmp_path / "Chosen ünd set"
    chosen.mkdir()
    for number, (key, value) in enumerate(
        {"userPath": chosen, "userPath ": tmp_path, "other": tmp_path}.items()
    ):
        node = tmp_path / ".java" / ".userPrefs" / "_!'k" / f"_!{number}"
        node.mkdir(parents=True)
        (node / "prefs.xml").write_text(
            '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
            f'<map MAP_XML_VERSION="1.0">\n  <entry key="{key}" value="{value}"/>\n</map>\n',
            "utf-8",
        )
    (tmp_path / ".java" / ".userPrefs" / "_!'k" / "broken").mkdir()
    (tmp_path / ".java" / ".userPrefs" / "_!'k" / "broken" / "prefs.xml").write_text("<map>")
    assert find_user_folders(tmp_path) == (chosen,)


def test_nothing_is_found_where_qupath_never_was(tmp_path):
    assert find_user_folders(tmp_path) == ()
