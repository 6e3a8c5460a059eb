"""Calibration: known wrongness of probabilities is undone, in the weights of the network."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, logit, softmax

from wsi_suite.detector.network import decode_peaks
from wsi_suite.training.calibration import Calibration, calibrate_network, fit_calibration
from wsi_suite.training.evaluation import evaluate_detections, expected_calibration_error
from wsi_suite.training.matches import Labelled


def made(
    *, slope=1.0, offset=0.0, temperature=1.0, nuclei=4000, seed=0
) -> tuple[list[Labelled], list[Labelled]]:
    """Return truth and detections whose probabilities hold after this calibration."""
    rng = np.random.default_rng(seed)
    points = np.column_stack([np.arange(nuclei) * 20.0, np.zeros(nuclei)])
    honest = rng.uniform(0.06, 0.99, nuclei)
    likely = softmax(rng.normal(0, 2, (nuclei, 2)), axis=1)
    there = rng.random(nuclei) < honest
    label = (rng.random(nuclei) < likely[:, 1]).astype(np.uint8)
    truth = Labelled(points[there], label[there], np.ones(int(there.sum()), np.float32))
    found = Labelled(
        points,
        likely.argmax(axis=1).astype(np.uint8),
        expit((logit(honest) - offset) / slope).astype(np.float32),
        softmax(np.log(likely) * temperature, axis=1).astype(np.float32),
    )
    return [truth], [found]


@pytest.mark.parametrize(
    ("slope", "offset", "temperature"), [(1, 0, 1), (0.5, -0.7, 2.5), (2, 0.5, 0.7)]
)
def test_the_fit_finds_how_wrong_probabilities_are(slope, offset, temperature):
    fitted = fit_calibration(*made(slope=slope, offset=offset, temperature=temperature))
    assert fitted.slope == pytest.approx(slope, rel=0.1)
    assert fitted.offset == pytest.approx(offset, abs=0.1)
    assert fitted.temperature == pytest.approx(temperature, rel=0.1)


def test_a_handful_of_nuclei_calibrates_nothing():
    assert fit_calibration(*made(slope=2, nuclei=50)) == Calibration()
    assert fit_calibration([], []) == Calibration()


def test_confidences_that_fall_with_what_is_found_are_left():
    truth, found = made(slope=-1)
    fitted = fit_calibration(truth, found)
    assert (fitted.slope, fitted.offset) == (1, 0)


def test_the_weights_hold_the_calibration(make_network):
    network = make_network()
    rgb = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        before = network(rgb)
        calibrate_network(network, Calibration(slope=0.5, offset=-0.3, temperature=4.0))
        after = network(rgb)
    assert after["heat"].numpy() == pytest.approx(0.5 * before["heat"].numpy() - 0.3, abs=1e-5)
    assert after["kind"].numpy() == pytest.approx(before["kind"].numpy() / 4, abs=1e-5)
    assert torch.equal(after["offset"], before["offset"])
    [a] = decode_peaks(before, min_confidence=0, cell_px=1)
    [b] = decode_peaks(after, min_confidence=0, cell_px=1)
    assert np.array_equal(a.points, b.points)
    assert np.array_equal(a.label, b.label)


def test_the_expected_calibration_error_of_known_probabilities():
    # 80 % sure and right 6 times in 10; 60 % sure and right always: 0.2 and 0.4 off.
    probability = np.repeat(np.array([0.8, 0.6], np.float32), 10)
    right = np.array([True] * 6 + [False] * 4 + [True] * 10)
    assert expected_calibration_error(right, probability) == pytest.approx(0.3)
    assert expected_calibration_error(np.ones(3, bool), np.ones(3, np.float32)) == 0
    assert math.isnan(expected_calibration_error(np.zeros(0, bool), np.zeros(0, np.float32)))


def test_an_evaluation_tells_the_calibration_errors():
    classes = ("Stroma", "Epithelium")
    honest = evaluate_detections(*made(), classes=classes, min_confidence=0.05)
    boastful = evaluate_detections(
        *made(slope=0.3, temperature=4), classes=classes, min_confidence=0.05
    )
    assert honest.calibration_error < 0.03
    assert honest.class_calibration_error < 0.03
    assert boastful.calibration_error > 0.1
    assert boastful.class_calibration_error > 0.05
