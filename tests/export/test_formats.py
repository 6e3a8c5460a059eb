"""Models as files for other programs: what is written, and what is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from wsi_suite.detector.detector import Compute, Detector, separate_peaks
from wsi_suite.detector.model_folder import ModelSpec, save_model
from wsi_suite.detector.network import Peaks
from wsi_suite.detector.stretch import (
    PERCENTILES,
    restore,
    stretch,
    stretch_limits,
    usual_levels,
)
from wsi_suite.errors import ConfigError, OutputConflictError, OutputError
from wsi_suite.export import formats as module
from wsi_suite.export.check import ExportDifference, compare_peaks, sample_picture
from wsi_suite.export.formats import export_model
from wsi_suite.export.torchscript import load_script


@pytest.fixture(scope="module")
def model(tmp_path_factory, make_network):
    """A stored model of random weights, with a card."""
    network = make_network(upsample=2)
    spec = ModelSpec(
        name="tiny", network=network.spec, min_confidence=0.4, read_mpp=0.4, darkest=(40, 30, 20)
    )
    folder = save_model(tmp_path_factory.mktemp("models") / "tiny", spec, network)
    (folder.path / "MODEL_CARD.md").write_text("# tiny\n\nFails everywhere.\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def detector(model):
    return Detector(model, Compute("cpu", "fp32", batch=1))


@pytest.fixture(scope="module")
def qupath_folder(model, tmp_path_factory):
    """The model as QuPath runs it."""
    return export_model(
        model, tmp_path_factory.mktemp("exports") / "tiny", format_name="instanseg"
    ).path


class TestRefusals:
    def test_a_slip_in_the_format_is_guessed(self, model, tmp_path):
        with pytest.raises(ConfigError, match=r"'onx' is unknown \(did you mean 'onnx'\?\)"):
            export_model(model, tmp_path / "x", format_name="onx")

    def test_what_is_there_stays(self, model, tmp_path):
        there = tmp_path / "x.pt"
        there.write_text("mine")
        with pytest.raises(OutputConflictError, match=r"x\.pt: is there already"):
            export_model(model, there, format_name="torchscript")
        assert there.read_text() == "mine"

    def test_a_folder_that_cannot_be_made_is_named(self, model, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match=r"file.x\.pt: cannot be written"):
            export_model(model, tmp_path / "file" / "x.pt", format_name="torchscript")

    @pytest.mark.parametrize("difference", [ExportDifference(0.01, 0), ExportDifference(0, 0.1)])
    def test_other_answers_than_the_detectors(self, model, tmp_path, monkeypatch, difference):
        def write(detector, path, about):
            path.write_text(about["name"])
            return difference

        monkeypatch.setitem(module.FORMATS, "onnx", write)
        with pytest.raises(OutputError, match="not written, its answers differ"):
            export_model(model, tmp_path / "x.onnx", format_name="onnx")
        assert not list(tmp_path.iterdir())

    def test_onnx_names_what_is_missing(self, model, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(ConfigError, match=r"pip install 'wsi-suite\[export\]'"):
            export_model(model, tmp_path / "x.onnx", format_name="onnx")
        assert not list(tmp_path.iterdir())


def test_other_nuclei_or_classes_are_an_infinite_difference():
    points = np.array([[1.0, 2.0], [5.0, 6.0]])
    confidence, label = np.array([0.5, 0.75], np.float32), np.array([0, 1], np.uint8)
    peaks = Peaks(points, confidence, label)
    near = compare_peaks(peaks, points + 0.25, confidence=confidence - 0.125, label=label)
    assert near == ExportDifference(0.125, 0.25)
    assert (
        compare_peaks(peaks, points, confidence=confidence, label=label[::-1]).confidence
        == math.inf
    )
    assert (
        compare_peaks(peaks, points[:1], confidence=confidence[:1], label=label[:1]).confidence
        == math.inf
    )
    nothing = Peaks(points[:0], confidence[:0], label[:0])
    assert compare_peaks(nothing, points[:0], confidence=confidence[:0], label=label[:0]).tolerable


def test_torchscript_is_a_file_and_what_must_be_known(model, detector, tmp_path):
    out = tmp_path / "exports" / "tiny.pt"
    written = export_model(model, out, format_name="torchscript")
    assert written.path == out
    assert written.difference.tolerable
    assert sorted(path.name for path in out.parent.iterdir()) == ["tiny.json", "tiny.pt"]
    about = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert about["hash"] == model.hash
    assert (about["classes"], about["read_mpp"]) == (["Stroma", "Epithelium"], 0.4)
    assert about["min_distance_px"] == 5.0
    picture = sample_picture(about["align_px"])
    (peaks,) = detector.detect(picture[None])
    points, *_ = load_script(out)(torch.from_numpy(picture).movedim(-1, 0))
    np.testing.assert_allclose(points.numpy(), peaks.points, atol=1e-4)


@pytest.mark.slow
def test_onnx_answers_as_the_network_does_at_any_size(model, detector, tmp_path, make_clouds):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} of the extra 'export' is not installed")
    import onnx
    import onnxruntime

    written = export_model(model, tmp_path / "tiny.onnx", format_name="onnx")
    assert written.difference.tolerable
    props = {prop.key: prop.value for prop in onnx.load(written.path).metadata_props}
    assert props["name"] == "tiny"
    assert json.loads(props["classes"]) == ["Stroma", "Epithelium"]
    session = onnxruntime.InferenceSession(written.path)
    cell_px = json.loads(props["cell_px"])
    spec = detector.spec
    assert json.loads(props["min_distance_px"]) == spec.min_distance_um / spec.read_mpp
    for windows, height, width in ((1, 40, 64), (3, 96, 32)):
        rgb = np.stack([make_clouds(height, width, seed=seed) for seed in range(windows)])
        confidence, label, offset, radius, peak = session.run(
            None, {"rgb": rgb.transpose(0, 3, 1, 2).astype(np.float32)}
        )
        for i, wanted in enumerate(detector.detect(rgb)):
            row, col = np.nonzero(peak[i])
            points = (np.column_stack([col, row]) + 0.5 + offset[i][:, row, col].T) * cell_px
            peaks = Peaks(
                points,
                confidence[i][row, col],
                label[i][row, col].astype(np.uint8),
                radius=radius[i, 0][row, col] * cell_px,
            )
            peaks = separate_peaks(peaks, detector.spec)
            assert len(peaks.points) > 0
            np.testing.assert_allclose(peaks.points, wanted.points, atol=1e-3)
            np.testing.assert_allclose(peaks.confidence, wanted.confidence, atol=1e-5)
            np.testing.assert_array_equal(peaks.label, wanted.label)
            np.testing.assert_allclose(peaks.radius, wanted.radius, atol=1e-3)


class TestQuPathFolder:
    """Read and run as the InstanSeg extension does, by what its source says."""

    def test_its_files(self, qupath_folder):
        assert {"instanseg.pt", "rdf.yaml", "tiny_README.md"} <= {
            path.name for path in qupath_folder.iterdir()
        }
        text = (qupath_folder / "tiny_README.md").read_text("utf-8")
        assert "tile padding of\n64 or more" in text
        assert text.endswith("Fails everywhere.\n")

    def test_the_extension_finds_what_it_looks_for(self, qupath_folder):
        rdf = yaml.safe_load((qupath_folder / "rdf.yaml").read_text("utf-8"))
        for required in ("authors", "description", "documentation", "license", "name", "version"):
            assert rdf[required]
        assert tuple(map(int, rdf["format_version"].split("."))) > (0, 5, 0)  # else the old keys
        (given,) = rdf["inputs"]
        labels, classes = rdf["outputs"]
        assert [axis["type"] for axis in given["axes"]] == ["batch", "channel", "space", "space"]
        assert len(given["axes"][1]["channel_names"]) == 3
        assert {axis["id"]: axis["scale"] for axis in labels["axes"][2:]} == {"y": 0.4, "x": 0.4}
        assert all(axis["size"]["tensor_id"] == given["id"] for axis in labels["axes"][2:])
        assert len(labels["axes"][1]["channel_names"]) == 1
        assert (labels["id"], classes["id"]) == ("instance_segmentation", "detection_classes")
        assert classes["data"]["values"] == ["Stroma", "Epithelium"]
        assert "max" not in classes["axes"][0]["size"]  # a null there stops its reader
        for part in (given, labels, classes):
            assert (qupath_folder / part["test_tensor"]["source"]).is_file()

    def test_its_test_pixels_give_its_test_labels(self, qupath_folder):
        given, labels, classes = (
            np.load(qupath_folder / f"test-{name}.npy") for name in ("input", "labels", "classes")
        )
        low, high = np.percentile(given, PERCENTILES, axis=(0, 2, 3), keepdims=True)
        stretched = ((given - low) / (high - low + 1e-6)).astype(np.float32)
        answer = load_script(qupath_folder / "instanseg.pt")(torch.from_numpy(stretched))
        assert (answer[0].numpy() == labels).mean() > 0.999
        np.testing.assert_array_equal(answer[1], classes)

    def test_tiles_of_a_region_are_seen_as_the_detector_sees_them(
        self, qupath_folder, detector, make_clouds
    ):
        region = make_clouds(160, 200, seed=5)
        low, high = (limit.astype(np.float32) for limit in stretch_limits(region))
        tile = np.clip((region[32:128, 64:160] - low) / (high - low), -0.5, 1.5).astype(np.float32)
        script = load_script(qupath_folder / "instanseg.pt")
        labels, classes = script(torch.from_numpy(tile).movedim(-1, 0)[None])
        dark = np.float32([40, 30, 20])  # as the model's description says
        (peaks,) = detector.detect(dark + tile[None].clip(0, 1) * (255 - dark))
        kept = (peaks.points < 96).all(axis=1)
        assert kept.sum() > 3
        np.testing.assert_array_equal(classes[:, 0], peaks.label[kept])
        inside = (peaks.points[kept] >= 0).all(axis=1)
        col, row = np.floor(peaks.points[kept][inside]).astype(int).T
        np.testing.assert_array_equal(labels[0, 0, row, col], np.flatnonzero(inside) + 1)

    def test_it_runs_where_nothing_of_ours_is(self, qupath_folder):
        code = (
            "import sys, torch, numpy as np\n"
            "sys.modules['wsi_suite'] = sys.modules['timm'] = None\n"
            "script = torch.jit.load(sys.argv[1] + '/instanseg.pt')\n"
            "labels, classes = script(torch.zeros(1, 3, 50, 70))\n"
            "print(*labels.shape, len(classes) >= 1)\n"
        )
        ran = subprocess.run(
            [sys.executable, "-I", "-c", code, str(qupath_folder)],
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        assert ran.stdout == "1 1 50 70 True\n"


def test_a_stretch_uses_the_whole_range():
    rng = np.random.default_rng(0)
    rgb = rng.integers((50, 80, 100), (200, 90, 250), (100, 100, 3)).astype(np.uint8)
    low, high = stretch_limits(rgb)
    np.testing.assert_allclose(low, (50, 80, 100), atol=1)
    np.testing.assert_allclose(high, (199, 89, 249), atol=1)
    seen = stretch(rgb, low, high)
    assert (seen.min(axis=(0, 1)) == 0).all()
    assert (seen.max(axis=(0, 1)) == 255).all()
    np.testing.assert_array_equal(stretch(rgb, (0, 0, 0), (255, 255, 255)), rgb)


def test_what_is_usual_comes_back():
    rng = np.random.default_rng(1)
    pictures = [
        rng.integers(dark, bright, (50, 50, 3)).astype(np.uint8)
        for dark, bright in ((10, 200), (30, 241), (35, 256))
    ]
    darkest, brightest = usual_levels(pictures)
    assert (darkest, brightest) == ((30.0,) * 3, (240.0,) * 3)
    usual = pictures[1]
    seen = stretch(usual, *stretch_limits(usual))
    back = restore(seen, darkest=darkest, brightest=brightest)
    assert np.abs(back.astype(int) - usual).max() <= 1


def test_one_colour_alone_is_no_reason_to_fail():
    rgb = np.full((8, 8, 3), 240, np.uint8)
    assert (stretch(rgb, *stretch_limits(rgb)) == 0).all()
