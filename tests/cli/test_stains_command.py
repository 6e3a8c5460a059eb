"""``stains estimate``."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from command_line import Cli

from wsi_suite.config import load_settings
from wsi_suite.staining.deconvolution import StainVectors


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
    assert "white.png shows hardly any stain" in answer.errors[0]
    bad = tmp_path / "bad.svs"
    bad.write_text("no slide")
    answer = wsi("stains", "estimate", slide, bad)
    assert answer.code == 1
    assert "bad.svs: not a slide" in answer.errors[0]
    answer = wsi("stains", "estimate", slide, "--method", "makenko")
    assert answer.code == 2
    assert "--method makenko: unknown (did you mean 'macenko'?)" in answer.errors[0]


def test_vectors_of_qupath_become_a_config_of_run(wsi: Cli, tmp_path: Path) -> None:
    vectors = StainVectors((0.7, 0.65, 0.3), (0.3, 0.5, 0.8), (240, 239, 241))
    call = f"setColorDeconvolutionStains('{vectors.to_qupath('mine')}');"
    lab, script = tmp_path / "lab.yaml", tmp_path / "stains.groovy"
    script.write_text(f"\ufeff// of QuPath\n{call}\n", "utf-8")
    for source in (call, script):
        answer = wsi("stains", "from-qupath", source, "--out", lab, "--overwrite")
        assert answer.code == 0
        assert answer.out.split()[0] == "mine"
        found = StainVectors.of(load_settings(lab).stain)
        assert found.to_qupath() == vectors.to_qupath()
    assert '"stains.groovy"' in lab.read_text("utf-8")
    document = json.loads(wsi("stains", "from-qupath", script, "--json").out)
    assert document["stain"]["background"] == [240, 239, 241]


def test_what_is_no_text_of_qupath_is_one_line(wsi: Cli, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x80")
    for arguments, said in (
        (("{}",), "no stain vectors in it"),
        ((tmp_path / "none.txt",), "cannot be read"),
        ((tmp_path / "bytes",), "no UTF-8 text"),
        ((tmp_path,), "no QuPath project"),
        (("{}", "--image", "B1"), "--image: names an image of a QuPath project"),
    ):
        answer = wsi("stains", "from-qupath", *arguments)
        assert (answer.code, len(answer.errors), answer.out) == (2, 1, "")
        assert said in answer.errors[0]
