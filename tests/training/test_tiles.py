from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import torch

from wsi_suite.detector.detector import Compute, Detector
from wsi_suite.detector.model_folder import ModelSpec, save_model
from wsi_suite.training.evaluation import EvaluationFigures
from wsi_suite.training.tiles import as_in_instanseg, detect_tiles, pad_white
from wsi_suite.training.trial import try_model


class Spotter(torch.nn.Module):
    """Answers with a nucleus of class 1 in every cell whose middle is dark."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, rgb):
        dark = torch.nn.functional.avg_pool2d(rgb.float().mean(1, keepdim=True), 4) < 120
        heat = torch.where(dark, 3.0, -9.0)
        return {
            "heat": torch.cat([torch.full_like(heat, -9.0), heat], 1),
            "offset": torch.zeros(len(rgb), 2, *heat.shape[2:]),
        }


@pytest.fixture
def spotter(make_network):
    return Spotter(make_network(stem_pool=True, class_map=False).spec)


def test_what_is_there_and_what_is_found_are_in_um(spotter, tiles):
    spec = ModelSpec(name="spotter", read_mpp=0.5, min_distance_um=0)
    truth, found = detect_tiles(spotter, tiles, spec=spec)
    assert len(truth) == len(found) == 3
    for tile, there, spotted in zip(tiles, truth, found, strict=True):
        assert there.points == pytest.approx(tile.points * 0.5)
        assert there.label.tolist() == tile.label.tolist()
        assert len(spotted.points) > 2
        nearest = np.linalg.norm(spotted.points[:, None] - there.points, axis=2).min(axis=1)
        assert nearest.max() < 2


def test_tiles_of_odd_sizes_are_padded_and_the_padding_is_left_out(spotter, tiles):
    spec = ModelSpec(name="spotter", read_mpp=0.55)
    _, found = detect_tiles(spotter, tiles, spec=spec)
    assert max(tile.points.max() for tile in found) < 32
    padded = pad_white(np.zeros((5, 7, 3), np.uint8), 4)
    assert padded.shape == (8, 8, 3)
    assert (padded[5:] == 255).all()
    assert (padded[:, 7:] == 255).all()
    assert (padded[:5, :7] == 0).all()


def test_a_pale_tile_is_seen_once_its_contrast_is_stretched(spotter, tiles, tmp_path):
    image = tmp_path / "pale.png"
    rgb = cv2.imread(str(tiles[0].image))
    cv2.imwrite(str(image), (rgb // 4 + 180).astype(np.uint8))
    pale = [replace(tiles[0], image=image)]
    spec = ModelSpec(name="spotter", read_mpp=0.5, min_distance_um=0)
    (_, (nothing,)), (_, (found,)) = (
        detect_tiles(spotter, pale, spec=spec, change=change)
        for change in (None, partial(as_in_instanseg, spec=spec))
    )
    assert len(nothing.points) == 0
    assert len(found.points) > 2


def test_a_model_is_evaluated_at_its_own_threshold(tmp_path, make_network, tiles):
    network = make_network(upsample=2)
    spec = ModelSpec(name="tiny", network=network.spec, min_confidence=0.42)
    model = save_model(tmp_path / "tiny", spec, network)
    figures = EvaluationFigures.of(
        try_model(Detector(model, Compute("cpu", "fp32", batch=1)), tiles, match_um=5).evaluate()
    )
    assert set(figures.ap) == {"Stroma", "Epithelium"}
    assert (figures.tiles, figures.nuclei) == (3, 24)
    assert (figures.min_confidence, figures.match_um) == (0.42, 5)
    assert 0 <= figures.map <= 1
    assert 0 <= figures.f1 <= figures.f1_agnostic <= 1
