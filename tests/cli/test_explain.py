"""``explain`` on a small slide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Cli

from wsi_suite.nuclei.parquet import read_nuclei


def test_explain_draws_a_nucleus_that_run_found(
    wsi: Cli, slide: Path, model: Path, results: Path, tmp_path: Path
) -> None:
    pytest.importorskip("captum")
    nuclei, _ = read_nuclei(results / "nuclei.parquet")
    inner = (nuclei.x > 200) & (nuclei.x < 800) & (nuclei.y > 200) & (nuclei.y < 800)
    index = int(inner.nonzero()[0][0])
    x, y = nuclei.detected_points[index]
    out = tmp_path / "nucleus.png"
    command = ("explain", slide, "--model", model, "--at", f"{x},{y}", "--size", 30)
    answer = wsi(*command, "--out", out, "--json")
    assert answer.code == 0, answer.err
    (told,) = json.loads(answer.out)["nuclei"]
    assert (told["x"], told["y"]) == pytest.approx((x, y), abs=0.02)
    assert told["class"] == nuclei.classes[nuclei.label[index]]
    assert told["confidence"] == pytest.approx(nuclei.confidence[index], abs=1e-3)
    assert [one["method"] for one in told["maps"]] == ["Grad-CAM", "HiResCAM"]
    assert out.read_bytes().startswith(b"\x89PNG")
    again = wsi(*command, "--out", out)
    assert again.code == 2
    assert "is there already" in again.errors[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--at", "12;4"), "--at 12;4: expected two numbers, as 1200,850.5"),
        (("--at", "nan,4"), "expected two numbers"),
        (("--out", "x.jpg"), "--out x.jpg: expected the name of a PNG file"),
        (("--out", "nowhere/x.png"), "there is no folder nowhere"),
        (("--at", "5000,4"), "outside B12_ER.svs, which has 1000 x 1000 px"),
        (("--model", "endonuke-resnet81"), "did you mean 'endonuke-resnet18'?"),
    ],
)
def test_it_refuses_in_one_line(
    *,
    options: tuple[str, ...],
    words: str,
    wsi: Cli,
    slide: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("captum")
    monkeypatch.chdir(tmp_path)
    answer = wsi("explain", slide, "--model", model, "--out", "x.png", *options)
    assert answer.code == 2
    assert words in answer.errors[0]
    assert len(answer.errors) == 1
    assert not list(tmp_path.glob("*.png"))


def test_without_captum_the_remedy_is_told(
    wsi: Cli, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi_suite.cli.explain.find_spec", lambda _: None)
    answer = wsi("explain", slide, "--out", tmp_path / "x.png")
    assert answer.code == 2
    assert answer.err == "error: explain needs captum: pip install 'wsi-suite[explain]'\n"
