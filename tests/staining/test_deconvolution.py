"""Optical density and deconvolution against closed forms and QuPath's own figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.errors import ConfigError
from wsi_suite.staining.deconvolution import (
    H_DAB,
    StainVectors,
    combine_stains,
    optical_density,
    separate_stains,
)

WHITE = (255.0, 255.0, 255.0)


def pixels(*colours: tuple[int, int, int]) -> np.ndarray:
    return np.array([colours], np.uint8)


def test_optical_density_is_the_decadic_logarithm_of_transmission() -> None:
    density = optical_density(pixels((255, 51, 0)), background=WHITE)
    assert density.dtype == np.float32
    # 0 counts as 1, so that black is finite.
    np.testing.assert_allclose(density[0, 0], [0, math.log10(5), math.log10(255)], rtol=1e-6)


def test_optical_density_is_never_negative() -> None:
    density = optical_density(pixels((255, 200, 100)), background=(200, 200, 200))
    np.testing.assert_allclose(density[0, 0], [0, 0, math.log10(2)], atol=1e-7)


def test_default_vectors_are_those_qupath_prints() -> None:
    np.testing.assert_allclose(
        H_DAB.matrix[:2], [[0.65111, 0.70119, 0.29049], [0.26917, 0.56824, 0.77759]], atol=5e-6
    )
    np.testing.assert_allclose(np.linalg.norm(H_DAB.matrix, axis=1), 1)
    np.testing.assert_allclose(H_DAB.matrix[:2] @ H_DAB.matrix[2], 0, atol=1e-15)
    assert H_DAB.to_qupath() == (
        '{"Name":"H-DAB default","Stain 1":"Hematoxylin","Values 1":"0.65111 0.70119 0.29049",'
        '"Stain 2":"DAB","Values 2":"0.26917 0.56824 0.77759","Background":"255 255 255"}'
    )


def test_default_vectors_weigh_the_channels_as_qupath_does() -> None:
    r, g, b = (-math.log10(value / 255) for value in (120, 90, 60))
    hematoxylin, dab, _ = separate_stains(pixels((120, 90, 60)))[0, 0]
    assert hematoxylin == pytest.approx(1.20859 * r + 0.68440 * g - 0.91850 * b, abs=2e-5)
    assert dab == pytest.approx(-0.69721 * r + 0.02100 * g + 1.51201 * b, abs=2e-5)


def test_amounts_are_not_clipped() -> None:
    blue, white = separate_stains(pixels((60, 60, 255), (255, 255, 255)))[0]
    assert blue[1] < -0.4
    np.testing.assert_array_equal(white, 0)


def test_any_leading_shape_gives_the_same_values() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    whole = separate_stains(rgb)
    np.testing.assert_array_equal(separate_stains(rgb.reshape(-1, 3)), whole.reshape(-1, 3))
    np.testing.assert_array_equal(separate_stains(rgb[:, ::2]), whole[:, ::2])


@given(
    amounts=st.tuples(st.floats(0, 0.6), st.floats(0, 0.6)),
    background=st.tuples(*[st.floats(200, 255)] * 3),
)
def test_separating_undoes_combining(
    amounts: tuple[float, float], background: tuple[float, float, float]
) -> None:
    stains = StainVectors(background=background)
    rgb = combine_stains([[(*amounts, 0.0)]], stains)
    found = separate_stains(rgb, stains)[0, 0]
    # Half a grey level at most is lost in each channel.
    lost = 0.5 / (rgb.astype(float) - 0.5).clip(1) / math.log(10)
    bound = (lost.reshape(3) @ np.abs(np.linalg.inv(stains.matrix))).max()
    np.testing.assert_allclose(found, [*amounts, 0], atol=bound + 1e-5)


def test_combining_saturates_at_what_eight_bits_hold() -> None:
    np.testing.assert_array_equal(
        combine_stains([[9.0, 9.0, 0.0], [-1.0, 0.0, 0.0]]), [[0] * 3, [255] * 3]
    )


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ({"dab": (0.0, 0.0, 0.0)}, "stain.dab"),
        ({"dab": (1.30, 1.40, 0.58)}, "point the same way"),
        ({"background": (0.0, 255.0, 255.0)}, "stain.background"),
        ({"background": (255.0, 255.0, 300.0)}, "stain.background"),
    ],
)
def test_useless_vectors_are_refused(vectors: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        StainVectors(**vectors)
