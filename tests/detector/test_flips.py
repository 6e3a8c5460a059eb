import numpy as np
import pytest
import torch

from wsi_suite.detector.detector import Compute, Detector
from wsi_suite.detector.flips import average_flips
from wsi_suite.detector.model_folder import ModelSpec, save_model


def darkness_and_way_to_the_left_edge(rgb):
    """A network that flips must not change in one map, and must average out in the other."""
    height, width = rgb.shape[-2:]
    x = torch.arange(width).expand(1, height, width) + 0.5
    y = torch.arange(height).view(-1, 1).expand(1, height, width) + 0.5
    return {"heat": -rgb.float().mean(1, keepdim=True), "offset": torch.stack([-x, -y], dim=1)}


def test_a_local_map_stays_in_place():
    rgb = torch.rand(2, 3, 8, 12)
    maps = average_flips(darkness_and_way_to_the_left_edge, rgb)
    assert torch.allclose(maps["heat"], -rgb.mean(1, keepdim=True))


def test_distances_turn_with_the_picture():
    maps = average_flips(darkness_and_way_to_the_left_edge, torch.rand(1, 3, 8, 12))
    # The way to the left edge in one view is the way to the right edge in its mirror image.
    cols, rows = torch.arange(12) + 0.5, torch.arange(8) + 0.5
    assert torch.allclose(maps["offset"][0, 0], (6 - cols).expand(8, 12))
    assert torch.allclose(maps["offset"][0, 1], (4 - rows)[:, None].expand(8, 12))


@pytest.fixture(scope="module")
def detectors(tmp_path_factory, make_network):
    network = make_network(upsample=2)
    spec = ModelSpec(name="tiny", network=network.spec, min_confidence=0.4)
    model = save_model(tmp_path_factory.mktemp("models") / "tiny", spec, network)
    return [Detector(model, Compute("cpu", "fp32", 1, flips=flips)) for flips in (False, True)]


def test_the_answer_turns_with_the_picture(detectors, make_clouds):
    window = make_clouds(64, 96, seed=4)
    views = [window, window[:, ::-1], window[::-1], window.transpose(1, 0, 2)]
    places = [
        lambda p: p,
        lambda p: np.column_stack([96 - p[:, 0], p[:, 1]]),
        lambda p: np.column_stack([p[:, 0], 64 - p[:, 1]]),
        lambda p: p[:, ::-1],
    ]
    plain, flipping = detectors
    found = [flipping.detect(np.ascontiguousarray(view)[None])[0] for view in views]
    assert len(found[0].points) > 5
    for peaks, back in zip(found, places, strict=True):
        points = back(peaks.points)
        order = np.lexsort(points.round(2).T)
        first = np.lexsort(found[0].points.round(2).T)
        assert points[order] == pytest.approx(found[0].points[first], abs=1e-3)
        assert peaks.confidence[order] == pytest.approx(found[0].confidence[first], abs=1e-4)
    (alone,) = plain.detect(window[None])
    assert len(alone.points) != len(found[0].points)
