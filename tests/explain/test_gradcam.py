"""Maps of hand-made networks, known in closed form."""

import numpy as np
import pytest
import torch
from torch import nn

from wsi_suite.errors import ConfigError
from wsi_suite.explain.gradcam import class_map

pytest.importorskip("captum")

WEIGHTS = (0.25, 1.0, -0.5)


class OneChannel(nn.Module):
    """The feature is red in 0 - 1; the logit of class k is WEIGHTS[k] times the feature."""

    def __init__(self, classes):
        super().__init__()
        self.smooth = nn.Conv2d(3, 1, 1, bias=False)
        self.kind = nn.Conv2d(1, classes, 1, bias=False)
        with torch.no_grad():
            self.smooth.weight.copy_(torch.tensor([1 / 255, 0, 0]).view(1, 3, 1, 1))
            self.kind.weight.copy_(torch.tensor(WEIGHTS[:classes]).view(-1, 1, 1, 1))

    def forward(self, rgb):
        features = self.smooth(rgb)
        return {"heat": features, "kind": self.kind(features)}


def red(height=4, width=6):
    rgb = torch.zeros(1, 3, height, width)
    rgb[0, 0] = torch.arange(height * width).view(height, width) * 10.0
    return rgb


def maps_of(network, rgb, **options):
    return [
        class_map(network, rgb, method=method, layer="smooth", **options)
        for method in ("Grad-CAM", "HiResCAM")
    ]


@pytest.mark.parametrize("label", [0, 1])
def test_of_two_classes_the_map_is_feature_times_difference(label):
    rgb = red()
    feature = rgb[0, 0].numpy() / 255
    slope = WEIGHTS[label] - WEIGHTS[1 - label]
    everywhere, here = maps_of(OneChannel(2), rgb, cell=(1, 2), label=label)
    np.testing.assert_allclose(everywhere, feature * slope / feature.size, rtol=1e-5)
    expected = np.zeros_like(feature)
    expected[1, 2] = feature[1, 2] * slope
    np.testing.assert_allclose(here, expected, rtol=1e-5)


def test_maps_of_two_classes_are_each_others_negative():
    network, rgb = OneChannel(2), red()
    for first, second in zip(
        maps_of(network, rgb, cell=(3, 5), label=0),
        maps_of(network, rgb, cell=(3, 5), label=1),
        strict=True,
    ):
        np.testing.assert_allclose(first, -second, rtol=1e-5)


def test_of_three_classes_others_count_by_their_probability():
    rgb = red()
    feature = float(rgb[0, 0, 2, 3]) / 255
    odds = np.exp(np.array([WEIGHTS[0], WEIGHTS[2]]) * feature)
    slope = WEIGHTS[1] - np.average([WEIGHTS[0], WEIGHTS[2]], weights=odds)
    _, here = maps_of(OneChannel(3), rgb, cell=(2, 3), label=1)
    assert here[2, 3] == pytest.approx(feature * slope, rel=1e-5)


def test_the_same_added_to_all_logits_changes_no_map():
    network, rgb = OneChannel(2), red()
    before = maps_of(network, rgb, cell=(1, 1), label=1)
    with torch.no_grad():
        network.kind.weight.add_(3)
    for one, other in zip(before, maps_of(network, rgb, cell=(1, 1), label=1), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_a_single_class_is_explained_by_its_logit():
    rgb = red()
    _, here = maps_of(OneChannel(1), rgb, cell=(1, 2), label=0)
    assert here[1, 2] == pytest.approx(WEIGHTS[0] * 80 / 255, rel=1e-5)


def test_a_heatmap_per_class_is_explained_by_its_own(make_network):
    network = make_network(class_map=False)
    rgb = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255
    everywhere, here = maps_of(network, rgb, cell=(4, 4), label=1)
    assert everywhere.shape == here.shape == (16, 16)
    rows, cols = np.nonzero(here)
    assert max(np.abs(rows - 4).max(), np.abs(cols - 4).max()) <= 1  # the head sees 3 x 3 cells
    assert np.count_nonzero(everywhere) > 100


def test_without_captum_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr("wsi_suite.explain.gradcam.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"needs captum: pip install 'wsi-suite\[explain\]'"):
        maps_of(OneChannel(2), red(), cell=(0, 0), label=0)
