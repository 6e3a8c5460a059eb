import numpy as np
import pytest
import torch

from wsi_suite.detector.detector import Compute, Detector
from wsi_suite.detector.model_folder import bundled_models, find_model
from wsi_suite.detector.network import decode_peaks
from wsi_suite.errors import ModelError
from wsi_suite.synthetic import make_tile
from wsi_suite.training.halo import CONFIDENCE_TOLERANCE, POSITION_TOLERANCE_PX, measure_halo

TILE_PX = 64


def run(network, rgb):
    """Return heat after the sigmoid ``(classes, h, w)`` and positions ``(2, h, w)`` in pixels."""
    with torch.inference_mode():
        maps = network(torch.from_numpy(rgb.copy()).movedim(-1, 0)[None].float())
    return torch.sigmoid(maps["heat"][0]), maps["offset"][0] * network.spec.cell_px


def largest_differences(network, rgb, *, halo):
    """Compare tiles that have `halo` pixels around them with the whole, in white as a slide is.

    Returns
    -------
    confidence, position_px
        The largest over all cells; of positions, over cells that could be a nucleus.
    """
    margin = 2 * max(halo, TILE_PX)
    slide = np.pad(rgb, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)
    heat, position = run(network, slide)

    def cells(start, length):
        return slice(*(round(px / network.spec.cell_px) for px in (start, start + length)))

    confidences, positions = [], []
    inner = cells(halo, TILE_PX)
    for y in range(margin, margin + rgb.shape[0], TILE_PX):
        for x in range(margin, margin + rgb.shape[1], TILE_PX):
            window = slide[y - halo : y + TILE_PX + halo, x - halo : x + TILE_PX + halo]
            tile_heat, tile_position = (maps[:, inner, inner] for maps in run(network, window))
            here = slice(None), cells(y, TILE_PX), cells(x, TILE_PX)
            found = (heat[here].amax(0) >= 0.1).expand(2, -1, -1)
            assert found.any()
            confidences.append(float((tile_heat - heat[here]).abs().max()))
            positions.append(float((tile_position - position[here]).abs()[found].max()))
    return max(confidences), max(positions)


@pytest.fixture(scope="module")
def picture(make_clouds):
    return make_clouds(2 * TILE_PX, 2 * TILE_PX, seed=3)


@pytest.mark.parametrize("options", [{}, {"stages": 1, "upsample": 2}])
def test_with_the_measured_halo_tiles_agree_with_the_whole(make_network, tiles, picture, options):
    network = make_network(**options)
    halo = measure_halo(network, tiles, mpp=0.5, core_px=64)
    assert halo % network.spec.align_px == 0
    confidence, position = largest_differences(network, picture, halo=halo)
    assert confidence <= CONFIDENCE_TOLERANCE
    assert position <= POSITION_TOLERANCE_PX

    confidence, _ = largest_differences(network, picture, halo=0)
    assert confidence > CONFIDENCE_TOLERANCE


def test_a_network_that_sees_too_far_is_refused(make_network, tiles):
    with pytest.raises(ModelError, match=r"resnet10t.*2 stages sees farther than 4 px"):
        measure_halo(make_network(), tiles, mpp=0.5, reaches_px=(8,))


def test_the_bundled_model_agrees_with_its_own_halo():
    if "endonuke-resnet18" not in bundled_models():
        pytest.skip("the bundled model endonuke-resnet18 is not in this checkout")
    detector = Detector(find_model("endonuke-resnet18"), Compute("cpu", "fp32", batch=1))
    picture, _ = make_tile(2 * TILE_PX, seed=3)
    confidence, position = largest_differences(
        detector.network, picture, halo=detector.spec.halo_px
    )
    assert confidence <= CONFIDENCE_TOLERANCE
    assert position <= POSITION_TOLERANCE_PX


def test_nuclei_of_tiles_are_those_of_the_whole(make_network, picture):
    network, halo = make_network(upsample=2), 48
    slide = np.pad(picture, ((halo, halo), (halo, halo), (0, 0)), constant_values=255)

    def detect(rgb, corner):
        with torch.inference_mode():
            maps = network(torch.from_numpy(rgb.copy()).movedim(-1, 0)[None].float())
        points = (
            decode_peaks(maps, min_confidence=0.3, cell_px=network.spec.cell_px)[0].points + corner
        )
        low, high = corner + halo, corner + np.array(rgb.shape[1::-1]) - halo
        return points[((points >= low) & (points < high)).all(axis=1)]

    whole = detect(slide, np.array([0, 0]))
    step = TILE_PX + 2 * halo
    parts = [
        detect(slide[y : y + step, x : x + step], np.array([x, y]))
        for y in (0, TILE_PX)
        for x in (0, TILE_PX)
    ]
    joined = np.concatenate(parts)
    assert len(joined) == len(whole) > 20
    order, whole_order = (np.lexsort(np.round(p, 0).T) for p in (joined, whole))
    assert joined[order] == pytest.approx(whole[whole_order], abs=POSITION_TOLERANCE_PX)
