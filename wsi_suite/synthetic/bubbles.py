"""Air bubbles drawn over a picture of a slide, with known outlines.

The wall of a bubble takes light of all colours alike from the objective (its rim is grey), most of
it at its foot, where it is steepest. Inside, the light passes air on its way: the tissue is out of
focus, lies a little aside, and is paler by the haze of what is scattered.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Rgb = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Bubble:
    """A bubble.

    Attributes
    ----------
    x_um, y_um
        Its centre.
    radius_um
        On average; to the outer edge of the rim.
    rim_um, rim_od
        Width of the rim, and optical density at its darkest.
    lobes
        Amplitudes of 2, 3, 4 ... waves around it, as a share of the radius, and their phases.
    blur_um
        Of what lies inside: standard deviation.
    haze
        Share of the light inside that is scattered.
    open_share
        Share of the rim that is not dark, in one piece.
    """

    x_um: float
    y_um: float
    radius_um: float
    rim_um: float = 20.0
    rim_od: float = 1.0
    lobes: tuple[tuple[float, float], ...] = ()
    blur_um: float = 3.0
    haze: float = 0.1
    open_share: float = 0.0


def draw_bubble(rgb: Rgb, bubble: Bubble, *, mpp: float) -> tuple[Rgb, Mask]:
    """Return a picture with a bubble, and the mask of what it covers, its rim included.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` pixels; glass is white.
    bubble
        The bubble; it may reach beyond the picture.
    mpp
        Micrometres per pixel.
    """
    inward_um, turn = _inward(rgb.shape, bubble, mpp=mpp)
    covered = inward_um >= 0
    light = rgb.astype(np.float32) / np.float32(255)
    blurred = cv2.GaussianBlur(light, (0, 0), max(bubble.blur_um, 0.1) / mpp)
    aside = bubble.blur_um / mpp
    shift = np.array([[1, 0, aside], [0, 1, aside / 2]], np.float32)
    inside = cv2.warpAffine(
        blurred, shift, rgb.shape[1::-1], borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_LINEAR
    )
    inside = inside * (1 - bubble.haze) + bubble.haze * inside.mean()
    edge = np.clip(inward_um / (2 * mpp) + 0.5, 0, 1)[..., None]  # two pixels wide
    light = np.asarray(light * (1 - edge) + inside * edge, np.float32)
    depth = np.clip(inward_um / bubble.rim_um, 0, 1)
    wall = np.maximum(np.cos(np.pi / 2 * depth), 0) ** 0.7
    wall *= np.abs(turn) >= np.pi * bubble.open_share
    density = bubble.rim_od * wall[..., None] * edge
    return np.rint(255 * light * 10**-density).clip(0, 255).astype(np.uint8), covered


def random_bubble(
    rng: np.random.Generator, *, radius_um: float, rim_od: float, place_um: tuple[float, float]
) -> Bubble:
    """Return a bubble of a size and a contrast, all else as it may be.

    Parameters
    ----------
    rng
        Generator of the draw.
    radius_um, rim_od
        Size and contrast.
    place_um
        Its centre, x and y.
    """
    lobed = rng.uniform() < 0.5
    sizes = rng.uniform(0, 0.12, 4) if lobed else rng.uniform(0, 0.02, 4)
    return Bubble(
        *place_um,
        radius_um,
        rim_um=float(rng.uniform(10, min(60, max(12, radius_um / 2)))),
        rim_od=rim_od,
        lobes=tuple((float(size), float(rng.uniform(0, 2 * np.pi))) for size in sizes),
        blur_um=float(rng.uniform(0, 8)),
        haze=float(rng.uniform(0, 0.3)),
        open_share=float(rng.choice([0.0, 0.0, rng.uniform(0, 0.15)])),
    )


def _inward(
    shape: tuple[int, ...], bubble: Bubble, *, mpp: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return how far inside each pixel lies, um along its radius, and its direction."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    x = ((columns + 0.5) * mpp - bubble.x_um).astype(np.float32)
    y = ((rows + 0.5) * mpp - bubble.y_um).astype(np.float32)
    turn = np.arctan2(y, x)
    radius = np.ones_like(turn)
    for waves, (size, phase) in enumerate(bubble.lobes, 2):
        radius += size * np.cos(waves * turn + phase)
    inward_um = bubble.radius_um * radius - np.hypot(x, y)
    return inward_um.astype(np.float32), turn.astype(np.float32)
