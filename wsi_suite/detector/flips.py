"""Average of a network's answers for the eight flips and quarter turns of a picture.

Tissue has no up and no left. What the network says of the eight views of a window differs a
little, and their average is more often right, at eight times the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

Network = Callable[[Tensor], dict[str, Tensor]]
"""From ``(N, C, H, W)`` pixels to maps ``(N, channels, h, w)`` by name."""


def average_flips(network: Network, rgb: Tensor) -> dict[str, Tensor]:
    """Return the average of a network's maps over eight views, in float32.

    Logits are averaged, not probabilities. The map ``offset`` holds x and y distances, which flip
    and swap with the view.

    Parameters
    ----------
    network
        As :class:`~wsi_suite.detector.network.NucleusNet`.
    rgb
        ``(N, C, H, W)`` pixels.
    """
    sums: dict[str, Tensor] = {}
    views = list(product((False, True), repeat=3))
    for swap, flip_x, flip_y in views:
        flipped = [axis for axis, flip in ((-1, flip_x), (-2, flip_y)) if flip]
        view = (rgb.mT if swap else rgb).flip(flipped)
        for name, values in network(view.contiguous()).items():
            back = values.float().flip(flipped)
            back = back.mT if swap else back
            if name == "offset":
                back = _turn_offset(back, swap=swap, flip_x=flip_x, flip_y=flip_y)
            sums[name] = sums[name] + back if name in sums else back
    return {name: values / len(views) for name, values in sums.items()}


def _turn_offset(offset: Tensor, *, swap: bool, flip_x: bool, flip_y: bool) -> Tensor:
    """Return ``(N, 2, h, w)`` distances x, y of a view as distances in the picture."""
    x = -offset[:, 0] if flip_x else offset[:, 0]
    y = -offset[:, 1] if flip_y else offset[:, 1]
    return torch.stack((y, x) if swap else (x, y), dim=1)
