"""The README's commands and snippets, run as they stand."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsi_suite.resources import sample_configs_folder
from wsi_suite.synthetic import make_slide, make_tile

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(console|python)\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the README's commands name."""
    folder = tmp_path_factory.mktemp("desk")
    make_slide(folder / "B12_ER.svs", width=1600, height=1600, mpp=0.25, tissue_fraction=0.4)
    manifest = "slide;mpp;marker;case\nslides/B12_ER.svs;0,25;ER;B12\n"
    (folder / "manifest.csv").write_text(manifest, "utf-8")
    (folder / "readers.csv").write_text("slide;H-score\nB12_ER;120,5\n", "utf-8")
    (folder / "QuPath").mkdir()
    (folder / "slides").mkdir()
    shutil.copy(folder / "B12_ER.svs", folder / "slides")
    shutil.copytree(sample_configs_folder(), folder / "sample_configs")
    corners = [[100, 100], [1500, 100], [1500, 1500], [100, 1500], [100, 100]]
    roi = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"objectType": "annotation", "name": "Tumour"},
    }
    (folder / "annotations.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [roi]})
    )
    _make_dataset(folder / "endonuke")
    return folder


def _make_dataset(folder: Path) -> None:
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    rows = ["id,id_run,mpp"]
    for number, run in enumerate(("386-456", "1574-1595", "321-364", "668-784")):
        rgb, truth = make_tile(200, mpp=0.5, seed=number)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), np.ascontiguousarray(rgb[..., ::-1]))
        nuclei = truth.nuclei
        lines = [
            f"{x:.2f} {y:.2f} {label}"
            for x, y, label in zip(nuclei.x, nuclei.y, nuclei.label, strict=True)
        ]
        (folder / "labels" / f"{number}.txt").write_text("\n".join(lines))
        rows.append(f"{number},{run},0.5")
    (folder / "tiles.csv").write_text("\n".join(rows))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_blocks_run_in_their_order(desk: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WSI_SUITE_MODELS", str(desk / "added"))
    assert len(BLOCKS) >= 4
    for kind, text in BLOCKS:
        if kind == "python":
            _run([sys.executable, "-c", text], desk)
            continue
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "wsi-suite"
            if words[1] == "train":  # a whole training takes an hour; one epoch goes the same way
                words += ["--set", "optimiser.epochs=1", "--set", "optimiser.epoch_crops=16"]
            if "--project" in words and "PAQUO_QUPATH_DIR" not in os.environ:
                words = [*words[:2], "--help"]  # without QuPath no more than that it is there
            _run([sys.executable, "-m", "wsi_suite", *words[1:]], desk)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
