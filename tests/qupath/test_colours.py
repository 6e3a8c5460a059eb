"""Classes can be told apart by colour, also by people who see fewer colours."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from wsi_suite.nuclei.table import INTENSITIES
from wsi_suite.qupath.objects import Colour, path_classes

# Machado, Oliveira & Fernandes 2009, severity 1; they act on linear R, G, B.
EYES = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [
            (0.152286, 1.052583, -0.204868),
            (0.114503, 0.786281, 0.099216),
            (-0.003882, -0.048116, 1.051998),
        ]
    ),
    "deuteranopia": np.array(
        [
            (0.367322, 0.860646, -0.227968),
            (0.280085, 0.672501, 0.047413),
            (-0.011820, 0.042940, 0.968881),
        ]
    ),
    "tritanopia": np.array(
        [
            (1.255528, -0.076749, -0.178779),
            (-0.078411, 0.930809, 0.147602),
            (0.004733, 0.691367, 0.303900),
        ]
    ),
}
TO_XYZ = np.array(
    [
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.072175),
        (0.0193339, 0.119192, 0.9503041),
    ]
)


def seen(colour: Colour, eyes: str) -> npt.NDArray[np.float64]:
    """Return L*, a*, b* of what someone sees."""
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(EYES[eyes] @ linear, 0, 1) / (0.95047, 1, 1.08883)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def scales(*compartments: str) -> list[list[Colour]]:
    """Return the colours of Negative to 3+ of each compartment."""
    of = {one.name: one.colour for one in path_classes(compartments)}
    return [[of[f"{name}: {each}"] for each in INTENSITIES] for name in compartments]


@pytest.mark.parametrize("eyes", EYES)
def test_compartments_and_intensities_differ(eyes: str) -> None:
    first, second = [
        [seen(colour, eyes) for colour in scale] for scale in scales("Epithelium", "Stroma")
    ]
    # About 2 is the least that one can tell apart side by side; 10 is another colour at a glance.
    assert min(np.linalg.norm(one - other) for one in first for other in second) > 20
    for scale in (first, second):
        assert min(np.linalg.norm(one - other) for one, other in combinations(scale, 2)) > 18


@pytest.mark.parametrize("eyes", EYES)
def test_three_compartments_differ(eyes: str) -> None:
    seen_scales = [
        [seen(one, eyes) for one in each] for each in scales("Tumor", "Stroma", "Immune")
    ]
    for one, other in combinations(seen_scales, 2):
        assert min(np.linalg.norm(a - b) for a in one for b in other) > 12


def test_stroma_has_its_colours_wherever_it_stands() -> None:
    assert scales("Stroma", "Epithelium") == scales("Epithelium", "Stroma")[::-1]
