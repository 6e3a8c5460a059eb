"""Draw a scene: amounts of stain first, colours last.

Every value depends on the place in the scene alone, so that tiles drawn one by one fit together
without a seam, whatever their size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Box
from wsi_suite.measurements import OUTLINE_RAYS
from wsi_suite.staining.deconvolution import H_DAB, StainVectors, combine_stains, separate_stains
from wsi_suite.synthetic.anatomy import EPITHELIUM_UM, FloatArray, Gland, Image, smooth_noise
from wsi_suite.synthetic.cells import ENDOMETRIUM, Mix
from wsi_suite.synthetic.scene import Scene, make_scene
from wsi_suite.synthetic.truth import Truth, truth_of

N = TypeVar("N", bound=np.generic)

_GLASS_RGB = (241, 241, 242)
_REACH_UM = 8.0  # no nucleus, soft border and halo included, reaches farther from its centre
_RIM_UM = 1.8  # a pale rim around each nucleus
_SOFT_UM = 0.8  # width of a nucleus' blurred border
_NOISE_PX = 1024  # period of the noise
_GREY_NOISE = 1.6  # deviation of the sensor's noise, grey levels


@dataclass(frozen=True)
class Painter:
    """Scene, scale, stains and textures of a synthetic picture.

    Attributes
    ----------
    scene
        What is drawn.
    mpp
        Micrometres per pixel.
    stains
        Colours of the stains.
    fine, medium, coarse
        Periodic textures of deviation 1: chromatin, cytoplasm, fibres.
    grain
        ``(P, P, 3)`` int8, the sensor's noise.
    """

    scene: Scene
    mpp: float
    stains: StainVectors
    fine: Image
    medium: Image
    coarse: Image
    grain: npt.NDArray[np.int8]

    def draw(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return the ``(H, W, 3)`` pixels of a box."""
        # Nuclei outside reach in, and what they look like depends on what lies under all of them.
        around = box.expand(2 * self._reach_px)
        grain = _periodic(self.grain, box)
        x_um, y_um = _centres_um(around, self.mpp)
        inside = self.scene.tissue.raster(x_um, y_um)
        if inside.max() < -1:
            rgb: npt.NDArray[np.uint8] = np.full((box.height, box.width, 3), _GLASS_RGB, np.uint8)
        else:
            amounts = self._ground(around, inside)
            self._draw_nuclei(amounts, around)
            seen = amounts[:, *box.within(around)]
            rgb = combine_stains(np.ascontiguousarray(np.moveaxis(seen, 0, 2)), self.stains)
        return np.clip(rgb + grain.astype(np.int16), 0, 255).astype(np.uint8)

    @property
    def _reach_px(self) -> int:
        return math.ceil(_REACH_UM / self.mpp) + 1

    def _ground(self, box: Box, inside: Image) -> Image:
        # Everything but the nuclei, (3, H, W): hematoxylin, DAB and residual.
        x_um, y_um = _centres_um(box, self.mpp)
        fine, medium, coarse = (
            _periodic(noise, box) for noise in (self.fine, self.medium, self.coarse)
        )
        loose = np.clip(0.5 + 0.5 * self.scene.loose.raster(x_um, y_um), 0, 1)
        fibres = np.clip(0.45 + 0.45 * coarse + 0.35 * medium, 0, 1.8) * (1.25 - 0.7 * loose)
        brown = 0.16 * fibres + 0.05 * np.clip(fine, 0, None)
        blue = 0.025 + 0.02 * fibres
        # Outlines of unstained cells, such as red blood cells, fill lax stroma.
        ghosts = loose * np.exp(-((medium / 0.3) ** 2))
        brown += 0.08 * ghosts
        blue += 0.05 * ghosts
        for gland in self._glands_near(box):
            self._draw_gland(gland, box, brown=brown, blue=blue, texture=medium)
        body = np.clip((inside + 0.12 * coarse + 0.05 * medium) * 6 + 0.5, 0, 1)
        glass = separate_stains(np.array([[_GLASS_RGB]], np.uint8), self.stains)[0, 0]
        # Refraction at the borders of cells and fibres: brighter and darker than the glass.
        relief = 0.02 * np.minimum(brown / 0.05, 1) * (medium + 0.6 * fine)
        return np.stack(
            [
                glass[0] + body * (blue + relief),
                glass[1] + body * (brown + relief),
                glass[2] + body * (0.07 * brown),
            ]
        )

    def _glands_near(self, box: Box) -> list[Gland]:
        left, top = box.x * self.mpp, box.y * self.mpp
        right, bottom = box.right * self.mpp, box.bottom * self.mpp
        return [
            gland
            for gland in self.scene.glands
            if left < gland.x_um + gland.reach_um + 3
            and right > gland.x_um - gland.reach_um - 3
            and top < gland.y_um + gland.reach_um + 3
            and bottom > gland.y_um - gland.reach_um - 3
        ]

    def _draw_gland(
        self, gland: Gland, box: Box, *, brown: Image, blue: Image, texture: Image
    ) -> None:
        reach = math.ceil((gland.reach_um + 3) / self.mpp)
        x, y = round(gland.x_um / self.mpp), round(gland.y_um / self.mpp)
        part = Box(x - reach, y - reach, 2 * reach, 2 * reach).intersect(box)
        window = part.within(box)
        x_um, y_um = _centres_um(part, self.mpp)
        dx = (x_um - gland.x_um).astype(np.float32)[None]
        dy = (y_um - gland.y_um).astype(np.float32)[:, None]
        depth = gland.border_um(np.arctan2(dy, dx)).astype(np.float32) - np.hypot(dx, dy)
        rough = texture[window]
        inner = _ramp(depth, 0, 0.8)
        lumen = _ramp(depth + 0.9 * rough, EPITHELIUM_UM - 0.6, EPITHELIUM_UM + 0.6)
        apical = 1 + 0.35 * _ramp(depth, 8, EPITHELIUM_UM) + 0.16 * rough
        # A pale sheath of collagen lies around the epithelium.
        sheath = _ramp(depth, -2.5, -1.2) * (1 - inner)
        for amount, cytoplasm in ((brown, gland.cytoplasm_od), (blue, 0.04)):
            amount[window] *= (1 - inner) * (1 - 0.6 * sheath)
            amount[window] += inner * (1 - lumen) * cytoplasm * apical

    def _draw_nuclei(self, amounts: Image, box: Box) -> None:
        cells = self.scene.cells
        # Those that reach into the box less its margin; each of them lies in the box as a whole.
        core = box.expand(-self._reach_px)
        first, last = np.searchsorted(cells.y_um, [core.y * self.mpp, core.bottom * self.mpp])
        column = cells.x_um[first:last] / self.mpp
        ground = amounts.copy()
        nearest = np.full(amounts.shape[1:], np.inf, np.float32)
        texture = 1 + 0.10 * _periodic(self.fine, box) + 0.05 * _periodic(self.medium, box)
        for row in first + np.flatnonzero((column >= core.x) & (column < core.right)):
            reach_px = math.ceil((cells.outline_um[row].max() + _RIM_UM) / self.mpp)
            x, y = int(cells.x_um[row] / self.mpp), int(cells.y_um[row] / self.mpp)
            part = Box(x - reach_px, y - reach_px, 2 * reach_px + 1, 2 * reach_px + 1)
            window = part.within(box)
            stamp, relative, near = self._stamp(
                row, part, ground=ground[:, *window], texture=texture[window]
            )
            mine = near & (relative < nearest[window])
            np.copyto(nearest[window], relative, where=mine)
            np.copyto(amounts[:, *window], stamp, where=mine)

    def _stamp(
        self, row: int, part: Box, *, ground: Image, texture: Image
    ) -> tuple[Image, Image, npt.NDArray[np.bool_]]:
        """Return a nucleus on its ground, how far out each pixel lies, and which are its own."""
        cells = self.scene.cells
        x_um, y_um = _centres_um(part, self.mpp)
        dx = (x_um - cells.x_um[row]).astype(np.float32)[None]
        dy = (y_um - cells.y_um[row]).astype(np.float32)[:, None]
        border = radius_towards(cells.outline_um[row], np.arctan2(dy, dx))
        outside = np.hypot(dx, dy) - border
        relative = 1 + outside / border
        inside = (relative < 1).astype(np.float32)
        inside /= inside.sum()
        cover = np.clip(0.5 - outside / _SOFT_UM, 0, 1)
        # A pale rim: the section shrinks around a nucleus.
        rim = 1 - 0.45 * np.exp(-(((outside - 0.9) / 0.6) ** 2))
        stamp = ground * ((1 - cover) * rim)
        pattern = cover * texture * (0.92 + 0.16 * np.minimum(relative, 1) ** 2)
        pattern /= np.vdot(pattern, inside)
        dab, hematoxylin = cells.dab_od[row], cells.hematoxylin_od[row]
        # The ground shines through the soft border, so the nucleus adds what is missing.
        for channel, wanted in ((0, hematoxylin), (1, dab)):
            stamp[channel] += pattern * max(0.0, wanted - float(np.vdot(stamp[channel], inside)))
        stamp[2] += pattern * (0.02 + 0.09 * dab)
        return stamp, relative, outside < _RIM_UM


def radius_towards(outline: npt.NDArray[np.floating], angle: npt.NDArray[np.floating]) -> Image:
    """Return the distance of a nucleus' border from its centre in given directions.

    Parameters
    ----------
    outline
        ``(16,)`` radii along the rays of :data:`wsi_suite.measurements.OUTLINE_RAYS`.
    angle
        Directions from -pi to pi, x right and y down, of any shape.
    """
    place = angle * np.float32(OUTLINE_RAYS / (2 * math.pi)) + np.float32(OUTLINE_RAYS)
    ray = place.astype(np.int32)  # half a turn or more, so that truncation rounds down
    radii = np.resize(outline, 2 * OUTLINE_RAYS).astype(np.float32)
    return np.asarray(radii[ray] + np.diff(radii, append=radii[0])[ray] * (place - ray), np.float32)


def make_painter(scene: Scene, *, mpp: float, seed: int, stains: StainVectors = H_DAB) -> Painter:
    """Prepare the textures that a scene is drawn with."""
    rng = np.random.default_rng([seed, 1])
    shape = (_NOISE_PX, _NOISE_PX)
    grain = np.rint(_GREY_NOISE * rng.standard_normal((*shape, 3), np.float32)).astype(np.int8)
    fine, medium, coarse = (
        smooth_noise(shape, sigma=sigma_um / mpp, rng=rng) for sigma_um in (0.3, 0.7, 2.2)
    )
    return Painter(scene, mpp, stains, fine, medium, coarse, grain)


def make_tile(
    size_px: int = 400,
    *,
    mpp: float = 0.5,
    tissue_fraction: float = 1.0,
    mix: Mix = ENDOMETRIUM,
    seed: int = 0,
    stains: StainVectors = H_DAB,
) -> tuple[npt.NDArray[np.uint8], Truth]:
    """Draw one square field of view.

    Parameters
    ----------
    size_px
        Its side.
    mpp
        Micrometres per pixel.
    tissue_fraction
        Share of the picture that tissue covers.
    mix
        Shares of the intensity grades.
    seed
        The same arguments give the same picture.
    stains
        Colours of the stains.

    Returns
    -------
    rgb, truth
        ``(size_px, size_px, 3)`` pixels, and the nuclei in them.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> rgb, truth = ws.make_tile(200, mpp=0.5)
    >>> rgb.shape, len(truth)
    ((200, 200, 3), 140)
    """
    side_um = size_px * mpp
    scene = make_scene(side_um, side_um, tissue_fraction=tissue_fraction, mix=mix, seed=seed)
    painter = make_painter(scene, mpp=mpp, seed=seed, stains=stains)
    truth = truth_of(scene, width=size_px, height=size_px, mpp=mpp, stains=stains)
    return painter.draw(Box(0, 0, size_px, size_px)), truth


def _ramp(values: Image, low: float, high: float) -> Image:
    return np.asarray(np.clip((values - low) / (high - low), 0, 1))


def _centres_um(box: Box, mpp: float) -> tuple[FloatArray, FloatArray]:
    x = (np.arange(box.x, box.right) + 0.5) * mpp
    y = (np.arange(box.y, box.bottom) + 0.5) * mpp
    return x.astype(np.float64), y.astype(np.float64)


def _periodic(noise: npt.NDArray[N], box: Box) -> npt.NDArray[N]:
    rows = np.arange(box.y, box.bottom) % noise.shape[0]
    columns = np.arange(box.x, box.right) % noise.shape[1]
    return np.asarray(noise.take(rows, axis=0).take(columns, axis=1))
