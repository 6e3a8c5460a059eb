"""Layers put together for a CPU give what the plain network gives."""

import numpy as np
import pytest
import torch

from wsi_suite.detector import detector as at_work
from wsi_suite.detector.cpu_layers import has_cpu_layers
from wsi_suite.detector.detector import load_detector, separate_peaks
from wsi_suite.detector.network import decode_peaks
from wsi_suite.geometry import Box
from wsi_suite.slides.slide import open_slide
from wsi_suite.synthetic import make_slide

pytestmark = pytest.mark.skipif(not has_cpu_layers(), reason="this CPU has no such layers")


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    make_slide(path, width=1600, height=1600, mpp=0.25)
    with open_slide(path) as slide:
        return slide.raster(0.5).read(Box(256, 256, 256, 384))[None]


def detectors(precision, monkeypatch):
    """Return the detector, and one of plain layers that computes every map everywhere."""
    now = load_detector(device="cpu", precision=precision)
    monkeypatch.setattr(at_work, "has_cpu_layers", lambda: False)
    return now, load_detector(device="cpu", precision=precision)


def test_fp32_differs_by_rounding_at_most(window, monkeypatch):
    now, plain = detectors("fp32", monkeypatch)
    expected, found = plain.forward(window), now.forward(window)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, atol=1e-4, rtol=0)
    [peaks] = decode_peaks(expected, min_confidence=0.38, cell_px=2.0)
    peaks = separate_peaks(peaks, plain.spec)
    [nuclei] = now.detect(window)
    assert len(peaks.points) > 20
    np.testing.assert_allclose(nuclei.points, peaks.points, atol=1e-4)
    np.testing.assert_allclose(nuclei.confidence, peaks.confidence, atol=1e-5)
    np.testing.assert_allclose(nuclei.radius, peaks.radius, atol=1e-4)
    np.testing.assert_allclose(nuclei.class_probability, peaks.class_probability, atol=1e-5)


def test_bf16_is_no_farther_from_fp32_than_with_plain_layers(window, monkeypatch):
    exact = torch.sigmoid(load_detector(device="cpu", precision="fp32").forward(window)["heat"])
    now, plain = detectors("bf16", monkeypatch)

    def error(detector):
        difference = torch.sigmoid(detector.forward(window)["heat"]) - exact
        return float(difference.square().mean().sqrt())

    assert error(now) <= 1.1 * error(plain)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_pass_with_less_memory_gives_the_same_bits(window, precision):
    network = load_detector(device="cpu", precision=precision).network
    with torch.inference_mode():
        rgb = torch.from_numpy(window).movedim(-1, 1)
        torch.testing.assert_close(
            network._lean_features(rgb), network._features(rgb), atol=0, rtol=0
        )
        whole, lean = network(rgb)["heat"], network.look_for_peaks(rgb)["heat"]
    torch.testing.assert_close(lean, whole, atol=1e-6, rtol=0)  # the last layer's sums


def test_cells_at_the_border_have_the_values_of_the_whole_map(window, monkeypatch):
    now, _ = detectors("fp32", monkeypatch)
    with torch.inference_mode():
        rgb = torch.from_numpy(window).movedim(-1, 1)
        whole, sparse = now.network(rgb), now.network.look_for_peaks(rgb)
        cells = tuple(torch.tensor(values) for values in ([0, 0, 0], [0, 191, 95], [0, 127, 0]))
        for name in ("offset", "kind", "size"):
            expected = whole[name][cells[0], :, cells[1], cells[2]]
            torch.testing.assert_close(sparse[name].at(cells), expected, atol=1e-4, rtol=0)
