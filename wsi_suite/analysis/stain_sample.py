"""Sample of a slide's tissue for its stains: small fields, the same for every run.

From the sample follow the kind of stain and an estimate of the stain vectors. Both only check a
slide; measured is with the vectors of the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from wsi_suite.config import WHITE_RGB
from wsi_suite.documents import Part
from wsi_suite.errors import InputError
from wsi_suite.geometry import Box
from wsi_suite.nuclei.provenance import StainCheck
from wsi_suite.slides.slide import Raster
from wsi_suite.slides.tissue import TissueMask
from wsi_suite.staining.deconvolution import StainVectors, Vector
from wsi_suite.staining.estimation import (
    Method,
    StainEstimate,
    angle_degrees,
    estimate_from_pixels,
    smooth,
    stain_plane,
)
from wsi_suite.staining.kinds import Kind, stain_kind

Pixels = npt.NDArray[np.uint8]

FIELDS = 16
FIELD_PX = 256
_FEWEST = 2000  # pixels with stain: fewer tell nothing of a slide
_DIGITS = 6
_DARKEST_GLASS = 100
_LEAST_OVERLAP = 0.1  # cosine of the planes' angle


class SampledStains(Part):
    """Stains that a sample of a slide's tissue shows.

    Attributes
    ----------
    kind
        See :func:`~wsi_suite.staining.kinds.stain_kind`.
    background
        R, G, B of empty glass, white if none was seen; vectors were estimated with it.
    hematoxylin, dab
        Unit vectors, estimated as QuPath does; ``None`` where that is not possible.
    normal
        Unit vector at right angles to the plane in which the optical densities lie.
    pixels, share
        Pixels of the sample that hold stain, and their share.
    """

    kind: Kind
    background: Vector
    hematoxylin: Vector | None = None
    dab: Vector | None = None
    normal: Vector | None = None
    pixels: int = 0
    share: float = 0.0


def sample_fields(
    tissue: TissueMask,
    raster: Raster,
    *,
    wanted: npt.NDArray[np.bool_],
    chunk_px: int,
    count: int = FIELDS,
) -> tuple[Box, ...]:
    """Return fields spread evenly over the tissue, in pixels of a raster.

    Parameters
    ----------
    tissue
        The tissue.
    raster
        The slide at working resolution.
    wanted, chunk_px
        ``(rows, cols)``, chunks to look at, and their side. Fields stay inside a chunk.
    count
        Number of fields; fewer are returned where tissue is small.
    """
    across, down = (_centres(tissue, raster, axis=axis) for axis in (0, 1))
    looked_at = tissue.mask & wanted[np.ix_(down // chunk_px, across // chunk_px)]
    in_rows = np.cumsum(np.count_nonzero(looked_at, axis=1))
    total = int(in_rows[-1])
    if not total:
        return ()
    fields = []
    # Evenly spaced by area, each in the middle of its part.
    for rank in (np.arange(count) * total + total // 2) // count:
        row = int(np.searchsorted(in_rows, rank, side="right"))
        column = np.flatnonzero(looked_at[row])[rank - in_rows[row]]  # counted from the row's end
        x, y = int(across[column]), int(down[row])
        chunk = Box(x // chunk_px * chunk_px, y // chunk_px * chunk_px, chunk_px, chunk_px)
        fields.append(_field(x, y, chunk.intersect(raster.box)))
    return tuple(dict.fromkeys(fields))


def sample_pixels(read: Callable[[Box], Pixels], fields: Sequence[Box]) -> Pixels:
    """Return pixels of fields, smoothed as QuPath smooths, ``(N, 3)``; of 2 x 2 alike ones one."""
    parts = [smooth(read(field))[::2, ::2].reshape(-1, 3) for field in fields]
    return np.concatenate([np.zeros((0, 3), np.uint8), *parts])


def sampled_stains(pixels: Pixels, *, glass: Vector | None) -> SampledStains:
    """Return the stains of a sample, independent of the settings.

    Parameters
    ----------
    pixels
        ``(N, 3)``, smoothed.
    glass
        Colour of empty glass, if some was seen.
    """
    background = usable_background(glass)
    kind = stain_kind(pixels, glass=background)
    estimate = estimate_or_none(pixels, background=background)
    if estimate is None:
        return SampledStains(kind=kind, background=background)
    return SampledStains(
        kind=kind,
        background=background,
        hematoxylin=_rounded(estimate.hematoxylin),
        dab=_rounded(estimate.dab),
        normal=_rounded(stain_plane(pixels, background=background)),
        pixels=estimate.pixels,
        share=round(estimate.share, 4),
    )


def usable_background(glass: Vector | None) -> Vector:
    """Return the colour of glass, or white if it is unknown or too dark for any."""
    if glass is None or min(glass) < _DARKEST_GLASS:
        return WHITE_RGB
    return glass


def estimate_or_none(
    pixels: Pixels, *, background: Vector, method: Method = "qupath"
) -> StainEstimate | None:
    """Return an estimate that vectors can be made of; ``None`` if the pixels do not allow one."""
    try:
        estimate = estimate_from_pixels(pixels, background=background, method=method)
        estimate.stains()
    except InputError:
        return None
    return estimate if estimate.pixels >= _FEWEST else None


def check_stains(sampled: SampledStains | None, stains: StainVectors) -> StainCheck | None:
    """Compare the stains of a slide with the vectors that it is measured with.

    Vectors are compared only where both stains are there to be seen.
    """
    if sampled is None:
        return None
    if sampled.hematoxylin is None or sampled.dab is None or sampled.kind != "H-DAB":
        return StainCheck(kind=sampled.kind)
    return StainCheck(
        kind=sampled.kind,
        hematoxylin=sampled.hematoxylin,
        dab=sampled.dab,
        hematoxylin_degrees=round(angle_degrees(sampled.hematoxylin, stains.hematoxylin), 1),
        dab_degrees=round(angle_degrees(sampled.dab, stains.dab), 1),
        pixels=sampled.pixels,
        share=sampled.share,
        dab_od_from=_dab_map(sampled, stains),
    )


def _dab_map(sampled: SampledStains, stains: StainVectors) -> tuple[float, float, float] | None:
    """Return how DAB under the slide's own vectors and background follows from means in use.

    The optical densities of a slide, over its own background, lie in the plane of its stains. So
    the residual of a nucleus follows from its hematoxylin and DAB, and its density, and what other
    vectors make of that, is an affine map of these two.

    Returns
    -------
    tuple
        Factors of hematoxylin and DAB, and a constant; ``None`` where the plane is at right angles
        to that of the vectors in use.
    """
    assert sampled.hematoxylin is not None, "checked by the caller"
    assert sampled.dab is not None, "checked by the caller"
    other = StainVectors(sampled.hematoxylin, sampled.dab)
    to_dab = np.linalg.inv(other.matrix)[:, 1]
    used, normal = stains.matrix, np.asarray(sampled.normal)
    shift = np.log10(np.asarray(stains.background) / np.asarray(sampled.background))
    across = used @ normal
    if abs(across[2]) < _LEAST_OVERLAP:
        return None
    densities = used[:2] - np.outer(across[:2] / across[2], used[2])
    constant = (shift @ normal) / across[2] * used[2] - shift
    by_hematoxylin, by_dab, rest = (
        round(float(value), _DIGITS) for value in np.vstack([densities, constant]) @ to_dab
    )
    return by_hematoxylin, by_dab, rest


def _centres(tissue: TissueMask, raster: Raster, *, axis: int) -> npt.NDArray[np.int64]:
    """Return the working pixels in which the mask's columns (axis 0) or rows have their centres."""
    count, size = tissue.mask.shape[1 - axis], (raster.width, raster.height)[axis]
    scales = (tissue.scale.x, tissue.scale.y), (raster.scale.x, raster.scale.y)
    centres = (np.arange(count) + 0.5) * (scales[0][axis] / scales[1][axis])
    return np.asarray(centres.astype(np.int64).clip(0, size - 1))


def _field(x: int, y: int, frame: Box) -> Box:
    """Return the field about a pixel, moved into a frame."""
    width, height = min(FIELD_PX, frame.width), min(FIELD_PX, frame.height)
    left = min(max(x - width // 2, frame.x), frame.right - width)
    top = min(max(y - height // 2, frame.y), frame.bottom - height)
    return Box(left, top, width, height)


def _rounded(vector: Vector) -> Vector:
    red, green, blue = (round(value, _DIGITS) for value in vector)
    return red, green, blue
