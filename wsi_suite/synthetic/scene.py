"""A synthetic specimen: positions of tissue and cells, in um.

Nothing here knows of pixels; a scene can be drawn at any resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsi_suite.errors import ConfigError
from wsi_suite.synthetic.anatomy import (
    Field,
    Gland,
    field_shape,
    place_glands,
    smooth_noise,
    tissue_field,
)
from wsi_suite.synthetic.cells import Cells, Mix, fill_stroma, line_gland, stain_cells


@dataclass(frozen=True)
class Scene:
    """A specimen.

    Attributes
    ----------
    tissue
        Positive inside the tissue.
    loose
        How lax the stroma is, mean 0 and deviation 1.
    glands
        Glands that are cut across.
    cells
        All nuclei, in reading order; some lie in the margin, beyond the picture.
    """

    tissue: Field
    loose: Field
    glands: tuple[Gland, ...]
    cells: Cells


def make_scene(
    width_um: float, height_um: float, *, tissue_fraction: float, mix: Mix, seed: int
) -> Scene:
    """Lay out a specimen; the same arguments give the same scene.

    Raises
    ------
    ConfigError
        The size is not positive, or the fraction of tissue not within 0 to 1.
    """
    if not (width_um > 0 and height_um > 0):
        raise ConfigError(f"specimen of {width_um:g} x {height_um:g} um: expected a positive size")
    if not 0 <= tissue_fraction <= 1:
        raise ConfigError(f"tissue_fraction = {tissue_fraction:g}: expected a value from 0 to 1")
    rng = np.random.default_rng(seed)
    shape = field_shape(width_um, height_um)
    tissue = tissue_field(shape, fraction=tissue_fraction, rng=rng)
    loose = Field(smooth_noise(shape, sigma=4, rng=rng))
    glands = place_glands(width_um, height_um, tissue=tissue, rng=rng)
    lining = [line_gland(gland, rng=rng) for gland in glands]
    stroma = fill_stroma(width_um, height_um, glands=glands, loose=loose, rng=rng)
    cells = stain_cells([*lining, stroma], tissue=tissue, mix=mix, rng=rng)
    return Scene(tissue, loose, glands, cells)
