"""Planted nuclei, a hand-made network: places, choices and refusals."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from wsi_suite.detector.model_folder import ModelFolder, ModelSpec
from wsi_suite.detector.network_spec import NetworkSpec
from wsi_suite.errors import ConfigError, PixelSizeError, SlideError
from wsi_suite.explain import nuclei as module
from wsi_suite.explain.nuclei import Explainer
from wsi_suite.explain.picture import draw_picture
from wsi_suite.slides.slide import open_slide

pytest.importorskip("captum")

SPEC = ModelSpec(name="dark", network=NetworkSpec(stages=1), min_confidence=0.6, halo_px=16)
"""Cells of 1 um: two pixels of 0.5 um."""


class Darkness(nn.Module):
    """A cell is a nucleus if it is dark; red ones are Epithelium, the darker the surer."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.layer1 = nn.Conv2d(3, 2, 2, stride=2, bias=False)
        self.smooth = nn.Conv2d(2, 2, 1, bias=False)
        with torch.no_grad():
            mean = torch.ones(2, 2) / 4
            green, less_red = torch.zeros(3, 2, 2), torch.zeros(3, 2, 2)
            green[1], less_red[2], less_red[0] = mean, mean, -mean
            self.backbone.layer1.weight.copy_(torch.stack([green, less_red]))
            self.smooth.weight.copy_(torch.eye(2).view(2, 2, 1, 1))

    def forward(self, rgb):
        dark = (255 - rgb) / 255
        green, red = self.smooth(self.backbone.layer1(dark)).split(1, dim=1)
        offset = torch.zeros_like(green.expand(-1, 2, -1, -1))
        heat = 8 * (avg_pool2d(green, 3, stride=1, padding=1) - 0.2)
        return {
            "heat": heat,
            "kind": torch.cat([-red, red], dim=1),
            "offset": offset,
            "size": torch.full_like(green, 3.0),
        }


@pytest.fixture
def model(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "load_network", lambda _: Darkness().eval())
    return ModelFolder(tmp_path, SPEC, "0" * 64)


@pytest.fixture
def slide(tmp_path, plant):
    path = plant({(120, 200): (200, 40, 40), (300, 90): (60, 40, 200), (330, 300): (110, 40, 100)})
    with open_slide(path, mpp=0.25) as opened:
        yield opened


@pytest.fixture
def plant(tmp_path):
    """Draw dark discs of radius 3 um on white, 0.25 um per pixel, at (x, y)."""

    def plant(colours, size=(440, 400)):
        rgb = np.full((size[1], size[0], 3), 255, np.uint8)
        for (x, y), colour in colours.items():
            rows, cols = np.mgrid[: size[1], : size[0]] + 0.5
            rgb[(cols - x) ** 2 + (rows - y) ** 2 < 12**2] = colour
        path = tmp_path / "planted.png"
        cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]))
        return path

    return plant


def centre(one, index):
    """Return the centre of mass of a map, level-0 pixels."""
    map_ = one.maps[index]
    weight = np.abs(map_.values.astype(float))
    rows, cols = np.indices(weight.shape) + 0.5
    left, top, right, _ = map_.inside
    px0 = one.field.width / (right - left)
    x, y = (weight * cols).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
    return one.field.x + (x - left) * px0, one.field.y + (y - top) * px0


@pytest.mark.parametrize(("place", "name"), [((120, 200), "Epithelium"), ((300, 90), "Stroma")])
def test_a_planted_nucleus_lights_up_at_its_own_place(slide, model, place, name):
    one = Explainer(slide, model, size_um=30).at((place[0] + 9, place[1] - 6))
    assert one.name == name
    assert np.hypot(one.point[0] - place[0], one.point[1] - place[1]) < 6  # a cell is 4 px0
    for index in (0, 1):  # what decided is one cell, such features are those of the nucleus
        assert np.hypot(*np.subtract(centre(one, index), place)) < 6
        assert one.maps[index].values.max() == pytest.approx(1)
        assert one.maps[index].cell_um == 1
    assert one.rgb.shape == (120, 120, 3)
    assert one.radius_px0 == pytest.approx(12)
    x, y = one.point[0] - one.field.x, one.point[1] - one.field.y
    assert tuple(one.rgb[int(y), int(x)]) == (
        (200, 40, 40) if name == "Epithelium" else (60, 40, 200)
    )


def test_another_class_nearby_speaks_against(plant, model):
    path = plant({(120, 200): (200, 40, 40), (180, 200): (60, 40, 200)})
    with open_slide(path, mpp=0.25) as slide:
        one = Explainer(slide, model, size_um=40).at((120, 200))
    map_ = one.maps[0]
    left, top, _, _ = map_.inside
    row = int(top + (200 - one.field.y) / 4)
    here, there = (int(left + (x - one.field.x) / 4) for x in (120, 180))
    assert map_.values[row, here] > 0.5
    assert map_.values[row, there] < -0.3


def test_the_most_doubtful_come_first(slide, model):
    found = Explainer(slide, model, size_um=30).doubtful(2)
    assert np.hypot(found[0].point[0] - 330, found[0].point[1] - 300) < 6
    sure = [max(one.probability.values()) for one in found]
    assert sure == sorted(sure)
    assert sure[0] == pytest.approx(1 / (1 + np.exp(-2 * 10 / 255)), abs=1e-3)


def test_fields_stay_on_the_slide(slide, model):
    explainer = Explainer(slide, model, size_um=60)
    one = explainer.at((300, 90))
    assert (one.field.x, one.field.y, one.field.width) == (180, 0, 240)
    assert Explainer(slide, model, size_um=256).at((300, 90)).field.width == 400


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((440, 10), r"--at 440,10: outside planted.png, which has 440 x 400 px"),
        ((-1, 10), "outside planted.png"),
        (
            (120, 260),
            r"no nucleus within 8 um; the nearest is at 1\d\d\.\d,1\d\d\.\d \(1\d um away",
        ),
        ((20, 20), "nor in the field around it"),
    ],
)
def test_places_without_a_nucleus_are_refused(slide, model, place, words):
    with pytest.raises(ConfigError, match=words):
        Explainer(slide, model, size_um=20).at(place)


def test_a_picture_without_nuclei_is_refused(plant, model):
    with (
        open_slide(plant({}), mpp=0.25) as slide,
        pytest.raises(SlideError, match=r"no nucleus of confidence 0\.6"),
    ):
        Explainer(slide, model, size_um=30).doubtful(3)


def test_a_slide_is_not_searched(plant, model):
    with (
        open_slide(plant({}), mpp=2.0) as slide,
        pytest.raises(PixelSizeError, match="too coarse"),
    ):
        Explainer(slide, model, size_um=30)
    large = SimpleNamespace(width=50_000, height=900, mpp=(0.25, 0.25))
    with open_slide(plant({}), mpp=0.25) as slide:
        explainer = Explainer(slide, model, size_um=30)
        large.path = slide.path
        explainer._slide = large
        with pytest.raises(ConfigError, match=r"is 12500 x 225 um, too large .* with --at"):
            explainer.doubtful(3)


def test_the_picture_shows_every_nucleus(slide, model, tmp_path):
    found = Explainer(slide, model, size_um=30).doubtful(3)
    sizes = []
    for number in (1, 3):
        path = tmp_path / f"{number}.png"
        draw_picture(path, found[:number], title="Präparat", mpp=slide.mpp)
        picture = cv2.imread(str(path))
        sizes.append(picture.shape)
        again = tmp_path / "again.png"
        draw_picture(again, found[:number], title="Präparat", mpp=slide.mpp)
        assert again.read_bytes() == path.read_bytes()
    assert sizes[0][1] == sizes[1][1]
    assert sizes[1][0] > sizes[0][0] + 800
