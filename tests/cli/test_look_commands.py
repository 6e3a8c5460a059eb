"""``info``, ``doctor`` and ``demo``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from command_line import Cli

from wsi_suite import doctor


def test_info_shows_levels_and_reader(wsi: Cli, slide: Path) -> None:
    answer = wsi("info", slide)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "B12_ER.svs"
    assert lines[1] == "1000 x 1000 px, 0.2 x 0.2 mm, 0.25 x 0.25 um per pixel, 40x"
    assert lines[2] == "vendor aperio, read through: jpeg tiles"
    assert lines[3] == "stain: H-DAB"
    levels = [line.split() for line in lines[5:8]]
    assert [level[:5] for level in levels] == [
        ["0", "1000", "x", "1000", "1"],
        ["1", "250", "x", "250", "4"],
        ["2", "62", "x", "62", "16"],
    ]


def test_info_as_json_goes_past_what_cannot_be_read(wsi: Cli, slides: Path, tmp_path: Path) -> None:
    bad = tmp_path / "text.svs"
    bad.write_text("no slide")
    answer = wsi("info", slides, bad, "--json")
    assert answer.code == 1
    assert "text.svs: not a slide" in answer.errors[0]
    described = json.loads(answer.out)
    assert [Path(facts["path"]).name for facts in described] == ["B12_ER.svs", "B13_ER.svs"]
    assert described[0]["mpp"] == [0.25, 0.25]


def test_doctor_looks_at_everything(wsi: Cli) -> None:
    answer = wsi("doctor", "--json")
    states = {check["name"]: check["state"] for check in json.loads(answer.out)}
    assert list(states) == [
        "wsi-suite",
        "OpenSlide",
        "TIAToolbox",
        "torch",
        "models",
        "settings",
        "training",
        "QuPath",
        "disk",
    ]
    assert states["OpenSlide"] == states["torch"] == "ok"
    assert answer.code == int("bad" in states.values())


def test_doctor_tells_of_what_is_broken_and_goes_on(
    wsi: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    answer = wsi("doctor")
    assert answer.code == 1
    lines = answer.out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("!!  OpenSlide   "))
    assert "ModuleNotFoundError: import of openslide halted" in lines[at]
    assert lines[at + 1].split()[0] == "install"
    assert lines[at + 2].startswith("ok  TIAToolbox  ")


@pytest.mark.skipif(sys.platform != "linux", reason="QuPath's folders differ between systems")
def test_doctor_finds_qupath_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "lib/app/qupath-core-0.6.0.jar": "",
        "lib/app/qupath-core-processing-0.6.0.jar": "",
        "lib/runtime/lib/server/libjvm.so": "",
        "lib/runtime/release": 'JAVA_VERSION="21.0.8"\n',
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setenv("PAQUO_QUPATH_DIR", str(tmp_path))
    assert _look("QuPath") == doctor.Check("QuPath", "ok", f"0.6.0, Java 21.0.8, {tmp_path}")
    monkeypatch.setenv("PAQUO_QUPATH_DIR", str(tmp_path / "none"))
    check = _look("QuPath")
    assert check.state == "absent"
    assert f"not found in PAQUO_QUPATH_DIR={tmp_path / 'none'}" in check.found
    assert "paquo get_qupath" in check.remedy


def _look(name: str) -> doctor.Check:
    return next(check for check in doctor.examine() if check.name == name)


def test_demo_compares_with_the_truth_and_goes_on(wsi: Cli, model: Path, tmp_path: Path) -> None:
    command = ("demo", "--out", tmp_path, "--side", 2048, "--model", model)
    answer = wsi(*command)
    assert answer.code == 0
    header, *rows = answer.out.splitlines()
    assert header.split()[:4] == ["class", "nuclei", "found", "F1"]
    assert [row.split("  ")[0] for row in rows[:3]] == [
        "Stroma",
        "Epithelium",
        "Epithelium + Stroma",
    ]
    for line in rows[3:]:
        assert Path(line.split("  ")[0]).is_file()
    assert (tmp_path / "truth.geojson").exists()
    drawn = (tmp_path / "synthetic_ER.tif").stat().st_mtime_ns
    again = wsi(*command)
    assert "already done" in again.err
    assert again.out == answer.out
    assert (tmp_path / "synthetic_ER.tif").stat().st_mtime_ns == drawn
