"""Stain vectors estimated from pixels: by QuPath's method, Macenko's and Vahadane's.

The method named ``qupath`` is that of QuPath's *Estimate stain vectors*: pixels that hold stain are
seen as optical densities, and of their directions in the plane of the two main axes the outermost
are the stains. It follows Macenko et al. (IEEE ISBI 2009, 1107-1110), but takes actual pixels at
the 1st and 99th percentile of the angle. It has QuPath's limits: hematoxylin and DAB must both be
there, and pixels of |OD| > 1, dense DAB, are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.errors import ConfigError, InputError, did_you_mean
from wsi_suite.staining.deconvolution import H_DAB, StainVectors, Vector, density_table
from wsi_suite.staining.eigenvectors import principal_axes
from wsi_suite.staining.factorisation import sparse_vectors

Rgb = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
Method = Literal["qupath", "macenko", "vahadane"]

METHODS: tuple[Method, ...] = get_args(Method)

_MIN_OD = 0.05  # of every channel
_MAX_OD = 1.0  # of the length
_IGNORED = 0.01  # of the pixels, at either end of the angles
_FEWEST = 2
_SMOOTHINGS = 2
_VAHADANE_PIXELS = 50_000  # more change the vectors by less than a degree


@dataclass(frozen=True)
class StainEstimate:
    """Stain vectors estimated from pixels.

    Attributes
    ----------
    hematoxylin, dab
        Unit vectors, optical densities in R, G, B.
    background
        R, G, B of empty glass that the estimate was made with.
    pixels
        Number of pixels that hold stain, and so were used.
    share
        Their share of all pixels that were looked at.
    """

    hematoxylin: Vector
    dab: Vector
    background: Vector
    pixels: int
    share: float

    def stains(self) -> StainVectors:
        """Return the vectors to measure with; ConfigError if they cannot be told apart."""
        return StainVectors(self.hematoxylin, self.dab, self.background)


def estimate_stains(
    rgb: Rgb, *, background: Vector, method: Method = "qupath", near: StainVectors = H_DAB
) -> StainEstimate:
    """Estimate the stain vectors of a picture.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` original pixels with hematoxylin and DAB, about 0.5 um each.
    background
        R, G, B of empty glass.
    method
        ``qupath`` as QuPath does it; ``macenko`` as TIAToolbox does it; ``vahadane``: see
        :mod:`~wsi_suite.staining.factorisation`.
    near
        The vectors that tell which of the two estimated ones is hematoxylin.

    Raises
    ------
    InputError
        Too few pixels hold stain.
    ConfigError
        The method is unknown.

    Examples
    --------
    >>> estimate = estimate_stains(rgb, background=modal_background(rgb))
    >>> separate_stains(rgb, estimate.stains())
    """
    pixels = smooth(rgb) if method == "qupath" else rgb
    return estimate_from_pixels(
        pixels.reshape(-1, 3), background=background, method=method, near=near
    )


def estimate_from_pixels(
    pixels: Rgb, *, background: Vector, method: Method = "qupath", near: StainVectors = H_DAB
) -> StainEstimate:
    """Estimate stain vectors from pixels of several pictures.

    Parameters
    ----------
    pixels
        ``(N, 3)``; for the method ``qupath`` of pictures after :func:`smooth`.
    background, method, near
        As for :func:`estimate_stains`, which also tells the errors.
    """
    if method not in METHODS:
        hint = did_you_mean(method, METHODS) or f"; there is: {', '.join(METHODS)}"
        raise ConfigError(f"method '{method}': unknown{hint}")
    if not all(1 <= value <= 255 for value in background) or len(pixels) < _FEWEST:
        raise _too_few(0, of=len(pixels), background=background)
    if method == "qupath":
        found, used = _outermost(pixels, background=background)
    elif method == "macenko":
        found, used = _macenko(pixels, background=background)
    else:
        found, used = _vahadane(pixels, background=background, near=near)
    hematoxylin, dab = _in_order(found, near=near)
    red, green, blue = map(float, background)
    return StainEstimate(hematoxylin, dab, (red, green, blue), used, used / len(pixels))


def smooth(rgb: Rgb) -> Rgb:
    """Return a picture after two means over 3 x 3 pixels, as QuPath smooths before it estimates.

    Means are cut off to whole grey levels, and the outermost pixels stay as they are.
    """
    for _ in range(_SMOOTHINGS):
        sums = cv2.boxFilter(rgb, cv2.CV_16U, (3, 3), normalize=False)
        means = (sums // 9).astype(np.uint8)
        means[[0, -1]], means[:, [0, -1]] = rgb[[0, -1]], rgb[:, [0, -1]]
        rgb = means
    return rgb


def modal_background(rgb: Rgb) -> Vector:
    """Return the commonest value of each channel of a smoothed picture, as QuPath does.

    Of values that are equally common it is the brightest. It is the colour of glass only if the
    picture is mostly glass: in tissue it is the colour of something else.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` original pixels.
    """
    channels = smooth(rgb).reshape(-1, 3).T
    counts = [np.bincount(channel, minlength=256) for channel in channels]
    red, green, blue = (255.0 - int(np.argmax(count[::-1])) for count in counts)
    return red, green, blue


def stain_plane(pixels: Rgb, *, background: Vector) -> Vector:
    """Return the unit normal of the plane, through 0, in which optical densities lie.

    Two stains span a plane. A mean over pixels of both lies in it, whatever their amounts.

    Parameters
    ----------
    pixels
        ``(N, 3)``, some of them with stain; all of these count, dense ones too.
    background
        R, G, B of empty glass.
    """
    density = _density(pixels, background=background)
    density = density[(density >= _MIN_OD).all(axis=1)]
    _, axes = np.linalg.eigh(density.T @ density)
    normal = axes[:, 0] * (1 if axes[0, 0] >= 0 else -1)
    return _unit(normal)


def angle_degrees(first: Vector, second: Vector) -> float:
    """Return the angle between two vectors, in degrees; exact for small ones, too."""
    cross = np.linalg.norm(np.cross(first, second))
    return math.degrees(math.atan2(float(cross), float(np.dot(first, second))))


def _outermost(pixels: Rgb, *, background: Vector) -> tuple[tuple[Vector, Vector], int]:
    """Return the directions of the pixels at the ends of the angles, and how many hold stain."""
    # QuPath computes in double precision, which decides which pixels reach a limit.
    density = _density(pixels, background=background)
    holds = (density >= _MIN_OD).all(axis=1)
    holds &= np.einsum("ij,ij->i", density, density) <= _MAX_OD**2
    density = density[holds]
    count = len(density)
    if count < _FEWEST:
        raise _too_few(count, of=len(pixels), background=background)
    # The covariance is that of centred densities, the angles are those of the densities.
    axes = principal_axes(np.cov(density, rowvar=False))
    angle = np.arctan2(density @ axes[:, 0], density @ axes[:, 1])
    ranks = [int(_IGNORED * count + 0.5), min(int((1 - _IGNORED) * count + 0.5), count - 1)]
    low, high = np.partition(angle, ranks)[ranks]
    ends = [density[int(np.argmax(angle == value))] for value in (low, high)]
    return (_unit(ends[0]), _unit(ends[1])), count


def _macenko(pixels: Rgb, *, background: Vector) -> tuple[tuple[Vector, Vector], int]:
    """Return the vectors that TIAToolbox finds, and the number of pixels it found to be tissue."""
    import warnings

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of optional parts of its dependencies
        from tiatoolbox.tools.stainextract import MacenkoExtractor  # takes seconds

        # It takes glass to be white.
        white = np.rint(pixels * (255 / np.asarray(background))).clip(0, 255).astype(np.uint8)
        used = _tissue_pixels(white)
        try:
            vectors = MacenkoExtractor().get_stain_matrix(white[:, None])
        except (ValueError, np.linalg.LinAlgError):  # no tissue, or a single colour
            vectors = np.full((2, 3), np.nan)
    if used < _FEWEST or not np.isfinite(vectors).all():
        raise _too_few(used, of=len(white), background=background)
    return (_unit(vectors[0]), _unit(vectors[1])), used


def _tissue_pixels(white: Rgb) -> int:
    from tiatoolbox.utils.misc import get_luminosity_tissue_mask

    try:
        return int(np.count_nonzero(get_luminosity_tissue_mask(white[:, None], threshold=0.8)))
    except ValueError:
        return 0


def _vahadane(
    pixels: Rgb, *, background: Vector, near: StainVectors
) -> tuple[tuple[Vector, Vector], int]:
    """Return the vectors of the factorisation, and the number of pixels that hold stain."""
    density = _density(pixels, background=background)
    holds = (density >= _MIN_OD).all(axis=1)
    used = int(np.count_nonzero(holds))
    if used < _FEWEST:
        raise _too_few(used, of=len(density), background=background)
    some = density[holds][:: -(-used // _VAHADANE_PIXELS)]
    first, second = sparse_vectors(some, start=near.matrix[:2])
    return (_unit(first), _unit(second)), used


def _in_order(found: tuple[Vector, Vector], *, near: StainVectors) -> tuple[Vector, Vector]:
    """Return hematoxylin and DAB: of the four angles to the known vectors the smallest decides."""
    first, second = found
    hematoxylin, dab, _ = (_unit(row) for row in near.matrix)
    kept = min(angle_degrees(first, hematoxylin), angle_degrees(second, dab))
    swapped = min(angle_degrees(second, hematoxylin), angle_degrees(first, dab))
    return (second, first) if swapped < kept else (first, second)


def _density(pixels: Rgb, *, background: Vector) -> FloatArray:
    table = density_table(background)
    return np.stack([table[pixels[:, channel], channel] for channel in range(3)], axis=1)


def _unit(vector: npt.ArrayLike) -> Vector:
    values = np.asarray(vector, np.float64)
    red, green, blue = (float(value) for value in values / np.linalg.norm(values))
    return red, green, blue


def _too_few(count: int, *, of: int, background: Vector) -> InputError:
    colour = ", ".join(f"{value:g}" for value in background)
    return InputError(
        f"stain vectors cannot be estimated: {count} of {of} pixels hold stain over a background "
        f"of ({colour}); expected tissue with hematoxylin and DAB, and the colour of glass as "
        "background"
    )
