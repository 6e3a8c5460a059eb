"""What cannot be used: each as a user would type it, answered in one line that helps.

The tables read: what is given, and what the error line says. Everything here ends with exit code 2
unless said otherwise, and leaves nothing that a later run takes for whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import Answer, Cli, field_of_view, square, write_geojson, write_tiff


def assert_told(answer: Answer, *words: str, code: int = 2) -> None:
    """One line on stderr says all of it; nothing on stdout."""
    assert len(answer.err.splitlines()) == 1, answer.err
    assert answer.err.startswith("error: ")
    for word in words:
        assert word in answer.err
    assert answer.code == code
    assert answer.out == ""


def assert_nothing_begun(out: Path) -> None:
    """At most the tables that say what failed, and what was asked for, are there."""
    tables = {"summary.csv", "summary.parquet", "batch.json"}
    assert {path.name for path in out.rglob("*")} <= tables


# -- slides ----------------------------------------------------------------------------------------


def truncated(folder: Path, slide: Path) -> Path:
    data = slide.read_bytes()
    path = folder / "cut.svs"
    path.write_bytes(data[: int(0.6 * len(data))])
    return path


def renamed_text(folder: Path, _: Path) -> Path:
    path = folder / "text.svs"
    path.write_text("this is no slide\n" * 100)
    return path


def empty(folder: Path, _: Path) -> Path:
    path = folder / "empty.svs"
    path.touch()
    return path


def folder_without_slides(folder: Path, _: Path) -> Path:
    path = folder / "none"
    path.mkdir()
    (path / "notes.txt").touch()
    return path


def mrxs_alone(folder: Path, _: Path) -> Path:
    path = folder / "B12.mrxs"
    path.write_bytes(b"\xff\xd8\xff")
    return path


def sixteen_bit(folder: Path, _: Path) -> Path:
    return write_tiff(folder / "deep.tif", field_of_view().astype(np.uint16) * 200)


def greyscale(folder: Path, _: Path) -> Path:
    return write_tiff(folder / "grey.tif", field_of_view()[..., 0])


def fluorescence_channels(folder: Path, _: Path) -> Path:
    channels = np.moveaxis(field_of_view(), -1, 0)[[0, 1, 2, 0]]
    return write_tiff(folder / "channels.ome.tif", channels, axes="CYX")


def fluorescence_colours(folder: Path, _: Path) -> Path:
    dark = np.zeros((600, 700, 3), np.uint8)
    dark[200:300, 200:300, 2] = 220
    return write_tiff(folder / "dark.ome.tif", dark, axes="YXS")


def picture_without_mpp(folder: Path, _: Path) -> Path:
    path = folder / "field.png"
    cv2.imwrite(str(path), field_of_view())
    return path


Given = Callable[[Path, Path], Path]

BAD_SLIDES: dict[str, tuple[Given, tuple[str, ...]]] = {
    "a name with a slip": (
        lambda _, slide: slide.with_suffix(".sv"),
        ("B12_ER.sv: no such file", "did you mean 'B12_ER.svs'?"),
    ),
    "a folder that is not there": (
        lambda folder, _: folder / "nowhere" / "B12.svs",
        ("B12.svs: no such file",),
    ),
    "a pattern without matches": (lambda folder, _: folder / "*.ndpi", ("*.ndpi: matches no",)),
    "a folder without slides": (folder_without_slides, ("none: holds no slides", ".svs, .tif")),
    "a file that is cut off": (truncated, ("cut.svs: truncated", "copy it again")),
    "a text with a slide's ending": (renamed_text, ("text.svs: not a slide; expected",)),
    "an empty file": (empty, ("empty.svs: the file is empty; copy it again",)),
    "MRXS without its folder": (mrxs_alone, ("B12.mrxs: its folder 'B12' is missing",)),
    "16 bits": (sixteen_bit, ("deep.tif: 16 bits per channel", "convert it")),
    "grey": (greyscale, ("grey.tif: 1 channel", "expected a brightfield RGB slide")),
    "fluorescence channels": (fluorescence_channels, ("channels.ome.tif: ", "fluorescence")),
    "fluorescence as colours": (fluorescence_colours, ("dark.ome.tif: ", "fluorescence")),
    "no pixel size": (picture_without_mpp, ("field.png: the file states no pixel size", "--mpp")),
}


@pytest.mark.parametrize("case", BAD_SLIDES)
def test_slides(case: str, wsi: Cli, model: Path, slide: Path, tmp_path: Path) -> None:
    given, words = BAD_SLIDES[case]
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    answer = wsi("run", given(tmp_path / "in", slide), "--out", out, "--model", model)
    assert_told(answer, *words)
    assert_nothing_begun(out)


REAL_SLIDES = {
    "broken.svs": "not a slide",
    "op_unreadable.svs": "cannot be decoded",
    "tcga-cr-7395-01a-01-ts1.svs": "the file states no pixel size; give it",
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL_SLIDES)
def test_real_slides(name: str, wsi: Cli, model: Path, real_data: Path, tmp_path: Path) -> None:
    answer = wsi("run", real_data / "slides" / name, "--out", tmp_path / "out", "--model", model)
    assert_told(answer, f"{name}: ", REAL_SLIDES[name])
    assert_nothing_begun(tmp_path / "out")


# -- unusual, and usable: said so --------------------------------------------------------------


def rgba_picture(folder: Path) -> Path:
    path = folder / "field.png"
    rgba = np.dstack([field_of_view(), np.full((300, 400), 255, np.uint8)])
    cv2.imwrite(str(path), rgba)
    return path


def z_stack(folder: Path) -> Path:
    return write_tiff(folder / "stack.ome.tif", np.stack([field_of_view()] * 3), axes="ZYXS")


def two_series(folder: Path) -> Path:
    return write_tiff(folder / "series.ome.tif", field_of_view(), axes="YXS", copies=2)


@pytest.mark.parametrize(
    ("given", "remark"),
    [
        (rgba_picture, "transparency laid on white"),
        (z_stack, "first of 3 planes of the image"),
        (two_series, "left out: picture"),
    ],
)
def test_what_is_left_out_is_said(
    given: Callable[[Path], Path], remark: str, wsi: Cli, model: Path, tmp_path: Path
) -> None:
    path = given(tmp_path)
    answer = wsi("run", path, "--mpp", 0.5, "--out", tmp_path / "out", "--model", model)
    assert answer.code == 0
    assert remark in answer.err
    assert remark in wsi("info", path, "--mpp", 0.5).out


# -- regions of interest -----------------------------------------------------------------------


def text_file(name: str, text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return write


BAD_ROIS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "missing": (lambda folder: folder / "none.geojson", ("none.geojson: ", "No such file")),
    "empty": (text_file("a.geojson", ""), ("a.geojson: the file is empty", "QuPath")),
    "not JSON": (text_file("b.geojson", "hello"), ("b.geojson: not JSON", "QuPath")),
    "not GeoJSON": (text_file("c.geojson", '{"a": 1}'), ("c.geojson: JSON, but not GeoJSON",)),
    "without annotations": (
        text_file("d.geojson", '{"type": "FeatureCollection", "features": []}'),
        ("d.geojson: no annotation with an area",),
    ),
    "outside the slide": (
        lambda folder: write_geojson(folder / "e.geojson", *square(9000, 9900)),
        ("e.geojson: 'Tumour' (x 9000 to 9900", "outside the slide of 1000 x 1000 px"),
    ),
}


@pytest.mark.parametrize("case", BAD_ROIS)
def test_rois(case: str, wsi: Cli, model: Path, slide: Path, tmp_path: Path) -> None:
    given, words = BAD_ROIS[case]
    out = tmp_path / "out"
    answer = wsi("run", slide, "--out", out, "--model", model, "--roi", given(tmp_path))
    assert_told(answer, *words)
    assert_nothing_begun(out)


def test_one_roi_file_for_several_slides(
    wsi: Cli, model: Path, slides: Path, tmp_path: Path
) -> None:
    file = write_geojson(tmp_path / "roi.geojson", *square(10, 90))
    out = tmp_path / "out"
    answer = wsi("run", slides, "--out", out, "--model", model, "--roi", file)
    assert_told(answer, "roi.geojson: one file for several slides; give a folder")
    assert not out.exists()


# -- settings and options --------------------------------------------------------------------------

BAD_OPTIONS: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "pixel size beyond reason": (("--mpp", 50), ("mpp = 50", "10")),
    "no pixel size at all": (("--mpp", 0), ("mpp = 0", "0.05")),
    "pixel size in a setting": (("--set", "mpp=50"), ("mpp = 50: expected", "10")),
    "a key with a slip": (
        ("--set", "score.markr=ER"),
        ("unknown setting 'score.markr' (did you mean 'score.marker'?)",),
    ),
    "a value that is none": (("--set", "score.marker=HER2"), ("score.marker = 'HER2'", "'ER'")),
    "no value": (("--set", "score.marker"), ("--set score.marker: expected key=value",)),
    "thresholds that fall": (
        ("--set", "score.thresholds_od=[0.5,0.3,0.1]"),
        ("score.thresholds_od = [0.5, 0.3, 0.1]: expected rising",),
    ),
    "a class the model lacks": (
        ("--set", "score.headline_class=Tumour"),
        ("score.headline_class = 'Tumour'", "Stroma, Epithelium"),
    ),
    "stains without colour": (("--set", "stain.dab=[0,0,0]"), ("stain.dab = (0.0, 0.0, 0.0)",)),
    "a configuration that is not there": (
        ("--config", "none.yaml"),
        ("none.yaml: cannot be read",),
    ),
    "a device with a slip": (("--device", "cpuu"), ("device 'cpuu'", "did you mean 'cpu'?")),
    "a device of another world": (("--device", "cuda:77"), ("device 'cuda:77'", "there is: auto")),
    "half precision on a CPU": (
        ("--device", "cpu", "--set", "detect.precision=fp16"),
        ("detect.precision fp16", "fp32, bf16 or auto"),
    ),
    "no workers": (("--workers", 0), ("run.workers = 0", "1")),
    "a scheduler without a port": (("--scheduler", "nowhere"), ("--scheduler nowhere", "port")),
    "an unknown option": (("--modle", "x"), ("--modle", "--model", "--help")),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_options(case: str, wsi: Cli, model: Path, slide: Path, tmp_path: Path) -> None:
    options, words = BAD_OPTIONS[case]
    out = tmp_path / "out"
    answer = wsi("run", slide, "--out", out, "--model", model, *options)
    assert_told(answer, *words)
    assert_nothing_begun(out)


def test_a_missing_option_points_to_the_help(wsi: Cli, slide: Path) -> None:
    assert_told(wsi("run", slide), "Missing option '--out'", "See 'wsi-suite run --help'.")


def test_a_command_with_a_slip(wsi: Cli) -> None:
    assert_told(wsi("detct"), "No such command 'detct'", "detect", "See 'wsi-suite --help'.")


# -- models ----------------------------------------------------------------------------------------


def without_weights(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()


def damaged_weights(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"oops")


def other_weights(folder: Path) -> None:
    file = folder / "model.yaml"
    file.write_text(file.read_text().replace("channels: 8", "channels: 16"))


def damaged_yaml(folder: Path) -> None:
    (folder / "model.yaml").write_text("name: [")


def yaml_of_another_kind(folder: Path) -> None:
    (folder / "model.yaml").write_text("name: tiny\nminscore: 1\n")


BAD_MODELS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "without weights": (without_weights, ("no weights.safetensors in it",)),
    "damaged weights": (damaged_weights, ("weights.safetensors: not readable",)),
    "another network's weights": (other_weights, ("weights.safetensors: does not fit model.yaml",)),
    "damaged description": (damaged_yaml, ("model.yaml: not YAML",)),
    "unknown key": (
        yaml_of_another_kind,
        ("model.yaml: unknown setting 'minscore'", "min_confidence"),
    ),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_models(case: str, wsi: Cli, model: Path, slide: Path, tmp_path: Path) -> None:
    spoil, words = BAD_MODELS[case]
    bad = tmp_path / "model"
    shutil.copytree(model, bad)
    spoil(bad)
    out = tmp_path / "out"
    assert_told(wsi("run", slide, "--out", out, "--model", bad), *words)
    assert_nothing_begun(out)


def test_an_unknown_model(wsi: Cli, slide: Path, tmp_path: Path) -> None:
    answer = wsi("run", slide, "--out", tmp_path / "out", "--model", "endonuke-resnet81")
    assert_told(answer, "model 'endonuke-resnet81' is neither a known name nor a folder")
    assert not (tmp_path / "out").exists()


# -- outputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "deeper"], ids=["a file", "below a file"])
def test_a_file_as_output(below: str, wsi: Cli, model: Path, slide: Path, tmp_path: Path) -> None:
    file = tmp_path / "taken"
    file.write_text("mine")
    answer = wsi("run", slide, "--out", file / below, "--model", model)
    assert_told(answer, "--out", "taken' is a file; expected a folder")
    assert file.read_text() == "mine"


def test_a_folder_of_somebody_else(wsi: Cli, model: Path, slide: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "B12_ER" / "notes.txt"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    answer = wsi("tile", slide, "--out", tmp_path, "--model", model, "--overwrite")
    assert answer.code == 0  # under another name
    assert theirs.read_text() == "mine"
    assert [path.name for path in theirs.parent.iterdir()] == ["notes.txt"]
    assert len(list(tmp_path.glob("B12_ER-*/tiles.ome.zarr"))) == 1


def test_other_settings_than_the_run_before(
    wsi: Cli, model: Path, slide: Path, results: Path, tmp_path: Path
) -> None:
    shutil.copytree(results, tmp_path / "B12_ER")
    options = ("--out", tmp_path, "--model", model, "--set", "measure.method=disc")
    answer = wsi("run", slide, *options)
    assert_told(answer, "measure.method", '"nucleus", now "disc"', "--overwrite")


def test_a_damaged_record_of_the_run_before(
    wsi: Cli, model: Path, slide: Path, results: Path, tmp_path: Path
) -> None:
    shutil.copytree(results, tmp_path / "B12_ER")
    (tmp_path / "B12_ER" / "run.json").write_text("{")
    answer = wsi("detect", tmp_path / "B12_ER", "--model", model)
    assert_told(answer, "run.json: not the record of a run", "another --out", code=1)


# -- several slides --------------------------------------------------------------------------------


def test_one_bad_slide_never_stops_the_others(
    wsi: Cli, model: Path, slide: Path, tmp_path: Path
) -> None:
    bad = renamed_text(tmp_path, slide)
    answer = wsi("run", bad, slide, "--out", tmp_path / "out", "--model", model)
    assert answer.code == 1
    assert len(answer.errors) == 1
    assert "text.svs: not a slide" in answer.errors[0]
    assert "1 of 2 failed" in answer.err
    assert (tmp_path / "out" / "B12_ER" / "summary.json").exists()
    rows = (tmp_path / "out" / "summary.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in rows[1:]] == [
        ["B12_ER.svs", "B12_ER", "done"],
        ["text.svs", "text", "failed"],
    ]


# -- other commands ----------------------------------------------------------------------------


BAD_COMMANDS: dict[str, tuple[str, ...]] = {
    "info none.svs": ("none.svs: no such file",),
    "score nowhere": ("nowhere: no such file", "nuclei.parquet of a run"),
    "detect nowhere/B12": ("nowhere/B12: no such folder", "wsi-suite tile"),
    "tile none.svs --out out": ("none.svs: no such file",),
    "evaluate --model none --data .": ("model 'none' is neither a known name nor a folder",),
    "train none.yaml --data x --out y": ("none.yaml: cannot be read",),
}


@pytest.mark.parametrize("command", BAD_COMMANDS)
def test_other_commands(
    command: str, wsi: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_told(wsi(*command.split()), *BAD_COMMANDS[command])
    assert list(tmp_path.iterdir()) == []


def test_score_sets_scores_alone(wsi: Cli, results: Path) -> None:
    answer = wsi("score", results, "--set", "detect.min_confidence=0.5")
    assert_told(answer, "--set detect.min_confidence=0.5", "score.*", "wsi-suite run")


def test_what_cannot_be_shared(wsi: Cli, slide: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = wsi("run", slide, "--out", out, "--model", model, "--share", "--overwrite")
    assert_told(answer, "--share: not with --overwrite", "another --out")
    assert_nothing_begun(out)
    answer = wsi("run", "--project", tmp_path, "--share")
    assert_told(answer, "--share: not with --project", "'wsi-suite push'")
