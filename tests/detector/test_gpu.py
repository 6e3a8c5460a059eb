"""The detector on CUDA devices; tests/detector/test_detector.py stands in for them on a CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from wsi_suite.detector.detector import Compute, Detector, choose_compute, load_detector
from wsi_suite.detector.model_folder import find_model
from wsi_suite.detector.network import Peaks
from wsi_suite.errors import ModelError
from wsi_suite.synthetic import make_slide

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

NAME = "endonuke-resnet18"


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Nine windows of a synthetic slide, one more than a batch."""
    from wsi_suite.geometry import Box
    from wsi_suite.slides.slide import open_slide

    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    make_slide(path, width=1600, height=1600, mpp=0.5, tissue_fraction=0.7)
    with open_slide(path) as slide:
        raster = slide.raster(0.5)
        places = [(x, y) for y in (0, 512, 1024) for x in (0, 512, 1024)]
        return np.stack([raster.read(Box(x, y, 512, 512)) for x, y in places])


def differing(a: Peaks, b: Peaks) -> int:
    """Return how many nuclei only one of two windows has."""
    nearest, _ = cKDTree(b.points).query(a.points, distance_upper_bound=3.0)
    both = int(np.isfinite(nearest).sum())
    return len(a.points) + len(b.points) - 2 * both


def test_half_precision_finds_the_nuclei_of_the_cpu(windows: np.ndarray) -> None:
    cpu = load_detector(NAME, device="cpu", precision="fp32")
    gpu = load_detector(NAME, device="cuda")
    assert gpu.compute == Compute("cuda", "fp16", 8)
    expected = [cpu.detect(window[None])[0] for window in windows[:8]]
    found = gpu.detect(windows[:8])
    all_nuclei = sum(len(peaks.points) for peaks in expected)
    assert all_nuclei > 500
    different = sum(differing(a, b) for a, b in zip(expected, found, strict=True))
    assert different <= 0.005 * all_nuclei


def test_a_window_is_the_same_in_any_place_of_a_batch(windows: np.ndarray) -> None:
    gpu = load_detector(NAME, device="cuda")
    forward, backward = gpu.detect(windows[:8]), gpu.detect(windows[7::-1].copy())
    for a, b in zip(forward, reversed(backward), strict=True):
        assert np.array_equal(a.points, b.points)
        assert np.array_equal(a.confidence, b.confidence)


def test_the_same_twice(windows: np.ndarray) -> None:
    first, second = (load_detector(NAME, device="cuda").detect(windows[:8]) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.confidence, b.confidence)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device only")
def test_each_worker_has_its_own_device(windows: np.ndarray) -> None:
    compute = choose_compute("cuda")
    zero, one = (Detector(find_model(NAME), compute, gpu=gpu) for gpu in (0, 1))
    assert next(one.network.parameters()).device == torch.device("cuda:1")
    for a, b in zip(zero.detect(windows[:8]), one.detect(windows[:8]), strict=True):
        assert differing(a, b) <= 1


def test_full_memory_is_told_in_one_line(windows: np.ndarray) -> None:
    gpu = load_detector(NAME, device="cuda")
    torch.cuda.set_per_process_memory_fraction(1e-4)
    torch.cuda.empty_cache()
    try:
        with pytest.raises(ModelError, match="memory is too small for 9 windows"):
            gpu.detect(windows)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_bf16_where_the_device_has_it(windows: np.ndarray) -> None:
    if not torch.cuda.is_bf16_supported(False):
        pytest.skip("the CUDA device has no bf16")
    cpu = load_detector(NAME, device="cpu", precision="fp32").detect(windows[:1])[0]
    gpu = load_detector(NAME, device="cuda", precision="bf16").detect(windows[:1])[0]
    assert differing(cpu, gpu) <= max(2, 0.015 * len(cpu.points))
