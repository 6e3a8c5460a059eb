"""The compiled detector answers as the detector does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsi_suite.detector.detector import Compute, Detector, suppress_close
from wsi_suite.detector.model_folder import ModelSpec, save_model
from wsi_suite.export.torchscript import (
    NUCLEUS_RADIUS_UM,
    paint_discs,
    script_detector,
    script_painter,
    separate_points,
)
from wsi_suite.training.tiles import pad_white


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "sizes"])
def model(request, tmp_path_factory, make_network):
    """A stored model of random weights, without and with radii."""
    network = make_network(upsample=2, sizes=request.param)
    spec = ModelSpec(name="tiny", network=network.spec, min_confidence=0.4)
    return save_model(tmp_path_factory.mktemp("models") / "tiny", spec, network)


@pytest.fixture(scope="module")
def detector(model):
    return Detector(model, Compute("cpu", "fp32", batch=1))


@pytest.fixture(scope="module")
def script(model):
    return script_detector(model)


@pytest.fixture(scope="module")
def painter(model):
    return script_painter(model)


def as_tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb).movedim(-1, 0)


def detect(detector, rgb, **options):
    """What the detector finds in a picture of any size."""
    (peaks,) = detector.detect(pad_white(rgb, detector.spec.network.align_px)[None], **options)
    return peaks, (peaks.points < rgb.shape[1::-1]).all(axis=1)


@pytest.mark.parametrize("size", [(64, 96), (61, 77), (33, 150), (5, 3)])
@pytest.mark.parametrize("min_confidence", [None, 0.0, 0.6])
def test_it_finds_what_the_detector_finds(detector, script, make_clouds, size, min_confidence):
    rgb = make_clouds(*size, seed=1)
    peaks, inside = detect(detector, rgb, min_confidence=min_confidence)
    points, confidence, label, radius = script(as_tensor(rgb), min_confidence)
    assert len(points) > 0 or min(size) < 8 or min_confidence == 0.6
    np.testing.assert_allclose(points.numpy(), peaks.points[inside], atol=1e-4)
    np.testing.assert_allclose(confidence.numpy(), peaks.confidence[inside], atol=1e-6)
    np.testing.assert_array_equal(label.numpy(), peaks.label[inside])
    if peaks.radius is None:
        assert (radius == NUCLEUS_RADIUS_UM / detector.spec.read_mpp).all()
    else:
        np.testing.assert_allclose(radius.numpy(), peaks.radius[inside], atol=1e-4)


def test_the_type_of_the_pixels_does_not_matter(script, make_clouds):
    rgb = as_tensor(make_clouds(64, 64, seed=2))
    for one, other in zip(script(rgb), script(rgb.float()), strict=True):
        assert torch.equal(one, other)


def test_where_nothing_is_found_shapes_stay(script, painter):
    points, confidence, label, radius = script(torch.full((3, 40, 24), 255), 1.0)
    assert [tuple(part.shape) for part in (points, confidence, label, radius)] == [
        (0, 2),
        *[(0,)] * 3,
    ]
    labels, classes = painter(torch.ones(1, 3, 40, 24), {"min_confidence": torch.tensor([1.0])})
    assert labels.shape == (1, 1, 40, 24)
    assert not labels.any()
    assert classes.tolist() == [[0]]


@pytest.mark.parametrize("size", [(64, 96), (61, 77)])
def test_every_nucleus_has_its_label_and_class(script, painter, make_clouds, size):
    rgb = as_tensor(make_clouds(*size, seed=3))
    labels, classes = painter(rgb[None].float() / 255)
    points, _, label, _ = script(rgb)
    assert labels.dtype == classes.dtype == torch.float32
    assert classes[:, 0].tolist() == label.tolist()
    assert set(label.tolist()) == {0, 1}
    for number, (x, y) in enumerate(points.tolist(), start=1):
        if x >= 0 and y >= 0:
            assert labels[0, 0, int(y), int(x)] == number
    assert set(labels.unique().tolist()) <= set(range(len(points) + 1))


def test_what_lies_beyond_the_stretch_is_cut_off(painter, make_clouds):
    wide = as_tensor(make_clouds(64, 64, seed=4))[None].float() / 255 * 2 - 0.5
    for one, other in zip(painter(wide), painter(wide.clamp(0, 1)), strict=True):
        assert torch.equal(one, other)


@given(
    points=hnp.arrays(
        np.int64, st.tuples(st.integers(0, 40), st.just(2)), elements=st.integers(0, 12)
    ),
    seed=st.integers(0, 99),
    distances=st.sampled_from([[0.0], [1.0], [1.5, 2.0], [0.5, 2.0, 4.0]]),
)
def test_close_points_go_as_in_the_detector(points, seed, distances):
    points = points / 2
    rng = np.random.default_rng(seed)
    confidence = rng.integers(0, 5, len(points)).astype(np.float32)
    # One distance a confidence: it does not matter which of two points at one place remains.
    distance = np.array(distances)[confidence.astype(int) % len(distances)]
    kept = separate_points(
        torch.from_numpy(points), torch.from_numpy(confidence), torch.from_numpy(distance)
    ).numpy()
    wanted = suppress_close(points, confidence, distance)
    # Of points at one place with one confidence either may stay.
    rows = np.column_stack([points, confidence])
    assert sorted(rows[kept].tolist()) == sorted(rows[wanted].tolist())


@given(
    points=hnp.arrays(
        np.float64, st.tuples(st.integers(0, 8), st.just(2)), elements=st.floats(-3, 20)
    ),
    radius=st.floats(0, 5),
)
def test_discs_are_painted_nearest_first(points, radius):
    height, width = 14, 17
    sizes = torch.full((len(points),), radius, dtype=torch.float32)
    image = paint_discs(torch.from_numpy(points), sizes, height, width).numpy()
    row, col = np.mgrid[:height, :width] + 0.5
    apart = (col[..., None] - points[:, 0]) ** 2 + (row[..., None] - points[:, 1]) ** 2
    own = (col[..., None] // 1 == points[:, 0] // 1) & (row[..., None] // 1 == points[:, 1] // 1)
    apart[~((apart <= np.float32(radius) ** 2) | own)] = np.inf
    nearest = apart.min(axis=2, initial=np.inf)
    assert ((image > 0) == np.isfinite(nearest)).all()
    painted = image > 0
    taken = (
        np.take_along_axis(apart, np.maximum(image - 1, 0)[..., None], axis=2)[..., 0]
        if len(points)
        else nearest
    )
    np.testing.assert_array_equal(taken[painted], nearest[painted])
