"""Estimated stain vectors: known mixtures, order of the stains, and pictures without stain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from wsi_suite.errors import ConfigError, InputError
from wsi_suite.staining.deconvolution import H_DAB, StainVectors, combine_stains
from wsi_suite.staining.eigenvectors import principal_axes
from wsi_suite.staining.estimation import (
    METHODS,
    Method,
    angle_degrees,
    estimate_from_pixels,
    estimate_stains,
    modal_background,
    smooth,
)

WHITE = (255.0, 255.0, 255.0)
OTHER = StainVectors((0.60, 0.72, 0.35), (0.35, 0.55, 0.76))


def mixture(*, dab_share: float, stains: StainVectors = H_DAB) -> npt.NDArray[np.uint8]:
    """Return ``(300, 300, 3)`` pixels, each of one stain with a trace of the other."""
    generator = np.random.default_rng(0)
    is_dab = generator.random((300, 300)) < dab_share
    amount = generator.uniform(0.3, 0.9, (300, 300))
    trace = generator.uniform(0, 0.1, (300, 300))
    hematoxylin, dab = np.where(is_dab, trace, amount), np.where(is_dab, amount, trace)
    return combine_stains(np.dstack([hematoxylin, dab, np.zeros_like(dab)]), stains)


@pytest.mark.parametrize("method", METHODS)  # of which TIAToolbox takes its time to be imported
@pytest.mark.parametrize("dab_share", [0.1, 0.5, 0.9])
def test_hematoxylin_comes_first_whichever_stain_there_is_more_of(
    method: Method, dab_share: float
) -> None:
    pixels = mixture(dab_share=dab_share, stains=OTHER).reshape(-1, 3)
    found = estimate_from_pixels(pixels, background=WHITE, method=method)
    off = (
        angle_degrees(found.hematoxylin, OTHER.hematoxylin),
        angle_degrees(found.dab, OTHER.dab),
    )
    assert max(off) < {"qupath": 2, "macenko": 2, "vahadane": 3}[method]
    assert np.linalg.norm(found.hematoxylin) == pytest.approx(1)
    assert found.stains().matrix[:2] == pytest.approx(np.array([found.hematoxylin, found.dab]))


def test_the_background_is_part_of_the_estimate() -> None:
    glass = (250.0, 240.0, 215.0)
    yellow = StainVectors(OTHER.hematoxylin, OTHER.dab, glass)
    pixels = mixture(dab_share=0.5, stains=yellow).reshape(-1, 3)
    right = estimate_from_pixels(pixels, background=glass)
    wrong = estimate_from_pixels(pixels, background=WHITE)
    assert right.background == glass
    assert angle_degrees(right.hematoxylin, OTHER.hematoxylin) < 2
    assert angle_degrees(wrong.hematoxylin, OTHER.hematoxylin) > 3


def test_pale_and_dense_pixels_are_not_used() -> None:
    amounts = np.zeros((1, 400, 3))
    amounts[0, :, 0] = np.repeat([0.0, 0.1, 0.5, 1.2], 100)  # of 0.1, blue is below 0.05
    amounts[0, :200:2, 1] = 0.0
    found = estimate_from_pixels(combine_stains(amounts).reshape(-1, 3), background=WHITE)
    assert (found.pixels, found.share) == (100, 0.25)


def test_modal_background_is_the_commonest_smoothed_value_and_the_brighter_of_two() -> None:
    rgb = np.full((40, 80, 3), (240, 238, 230), np.uint8)
    rgb[:, 40:] = (200, 180, 210)
    rgb[::7, ::5] = 0
    assert modal_background(np.full((5, 5, 3), 7, np.uint8)) == (7, 7, 7)
    halves = np.full((40, 80, 3), (240, 238, 230), np.uint8)
    halves[:, 40:] = (200, 180, 250)
    assert modal_background(halves) == (240, 238, 250)


def test_smoothing_leaves_edges_and_cuts_off() -> None:
    rgb = np.zeros((5, 5, 3), np.uint8)
    rgb[2, 2] = 255
    rgb[0, 0] = 9
    once = (255 + 0) // 9
    found = smooth(rgb)
    assert tuple(found[0, 0]) == (9, 9, 9)
    assert (found[0, 1:] == 0).all()
    middle = np.full((3, 3), once)
    middle[0, 0] = (255 + 9) // 9
    assert found[2, 2, 0] == middle.sum() // 9
    assert smooth(np.full((1, 2, 3), 77, np.uint8)).tolist() == [[[77] * 3] * 2]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_pictures_of_one_colour_have_no_stain_vectors(method: Method, grey: int) -> None:
    rgb = np.full((60, 60, 3), grey, np.uint8)
    told = r"stain vectors cannot be estimated: \d+ of \d+ pixels|cannot be told apart"
    with pytest.raises(InputError, match=told):
        estimate_stains(rgb, background=WHITE, method=method).stains()


def test_no_pixels_and_a_black_background_are_refused() -> None:
    none = np.zeros((0, 3), np.uint8)
    for pixels, background in ((none, WHITE), (np.full((9, 3), 99, np.uint8), (0.0, 0.0, 0.0))):
        with pytest.raises(InputError, match="stain vectors cannot be estimated: 0 of"):
            estimate_from_pixels(pixels, background=background)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method 'makenko': unknown.*'macenko'"):
        estimate_stains(np.zeros((9, 9, 3), np.uint8), background=WHITE, method="makenko")  # type: ignore[arg-type]


def test_principal_axes() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        values = generator.normal(size=(9, 3)) * generator.uniform(0.01, 1, 3)
        matrix = np.cov(values, rowvar=False)
        axes = principal_axes(matrix)
        assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-12)
        eigenvalues = np.diag(axes.T @ matrix @ axes)
        assert axes @ np.diag(eigenvalues) @ axes.T == pytest.approx(matrix, abs=1e-12)
        assert (np.diff(eigenvalues) <= 0).all()
    for matrix in (np.zeros((3, 3)), np.diag([1.0, 3.0, 2.0]), np.ones((3, 3))):
        axes = principal_axes(matrix)
        assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-12)
