"""``stains estimate``."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from command_line import Cli

from wsi_suite.config import load_settings


def test_what_is_written_is_a_config_of_run(wsi: Cli, slide: Path, tmp_path: Path) -> None:
    lab = tmp_path / "lab.yaml"
    answer = wsi("stains", "estimate", slide, "--background", "--out", lab)
    assert answer.code == 0
    assert answer.out.splitlines()[1].split()[:2] == ["B12_ER.svs", "H-DAB"]
    assert "few" in answer.err
    found = load_settings(lab).stain
    assert found.dab[2] > found.dab[0]
    assert min(found.background) > 230
    assert '"B12_ER.svs"' in lab.read_text("utf-8")
    again = wsi("stains", "estimate", slide, "--out", lab)
    assert (again.code, len(again.errors)) == (2, 1)
    assert "exists; give another --out, or --overwrite" in again.errors[0]
    answer = wsi("stains", "estimate", slide, "--config", lab, "--background", "--json")
    assert json.loads(answer.out)["stain"]["dab"] == list(found.dab)


def test_slides_that_cannot_be_used_are_named(wsi: Cli, slide: Path, tmp_path: Path) -> None:
    white = tmp_path / "white.png"
    cv2.imwrite(str(white), np.full((300, 300, 3), 255, np.uint8))
    answer = wsi("stains", "estimate", white, "--mpp", "0.5")
    assert answer.code == 2
    assert "white.png: shows hardly any stain" in answer.errors[0]
    bad = tmp_path / "bad.svs"
    bad.write_text("no slide")
    answer = wsi("stains", "estimate", slide, bad)
    assert answer.code == 1
    assert "bad.svs: not a slide" in answer.errors[0]
    answer = wsi("stains", "estimate", slide, "--method", "makenko")
    assert answer.code == 2
    assert "--method makenko: unknown (did you mean 'macenko'?)" in answer.errors[0]
