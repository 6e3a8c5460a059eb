"""The bundled files, in a checkout and in a wheel that is installed elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from wsi_suite import resources

ROOT = Path(__file__).parents[1]
FOLDERS = ("models", "qupath_scripts", "sample_configs")

PRINT_FOLDERS = f"""
import json
from wsi_suite import resources
print(json.dumps({{name: str(getattr(resources, name + "_folder")()) for name in {FOLDERS}}}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which a wheel built from this checkout was unpacked."""
    dist, site = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("ünder a site")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist)]
    subprocess.run([*command, str(ROOT)], check=True)
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def relative_files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FOLDERS)
def test_checkout_uses_the_top_of_the_tree(name: str) -> None:
    assert getattr(resources, f"{name}_folder")() == ROOT / name


def test_installed_copy_finds_its_own_files(installed: Path, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PRINT_FOLDERS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONUTF8": "1"},
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    for name, folder in json.loads(found.stdout).items():
        assert Path(folder) == installed / "wsi_suite" / "_data" / name
        assert relative_files(Path(folder)) == relative_files(ROOT / name) != set()


def test_wheel_declares_command_license_and_types(installed: Path) -> None:
    (info,) = installed.glob("wsi_suite-*.dist-info")
    assert "wsi-suite = wsi_suite.cli:main" in (info / "entry_points.txt").read_text()
    assert "License-Expression: GPL-3.0-or-later" in (info / "METADATA").read_text()
    assert (info / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (installed / "wsi_suite" / "py.typed").is_file()


def test_wheel_holds_nothing_but_the_package(installed: Path) -> None:
    (info,) = installed.glob("wsi_suite-*.dist-info")
    assert {path.name for path in installed.iterdir()} == {"wsi_suite", info.name}


def test_broken_installation_is_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "wsi_suite", tmp_path / "wsi_suite")  # and nothing beside it
    command = [sys.executable, "-m", "wsi_suite", "models"]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONUTF8": "1"},
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    assert ended.returncode == 1
    assert re.search(r"models: not beside .* reinstall it", ended.stderr)
