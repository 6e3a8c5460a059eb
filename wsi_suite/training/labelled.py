"""Folders of labelled tiles: ``images/``, ``labels/`` and ``tiles.csv``.

``labels/<id>.txt`` has one nucleus per line: two coordinates, a class and, if it is known, a
radius in pixels. Whole coordinates name a pixel, so its centre is meant; coordinates with a
fraction are taken as they are. ``tiles.csv`` has the columns ``id``, ``id_run`` (tiles of one run
may share a slide and stay together in every split) and ``mpp``.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.errors import DataError, PixelSizeError, SlideError, did_you_mean
from wsi_suite.training.label_files import (
    IMAGE_SUFFIXES,
    TileRow,
    check_mpp,
    read_labels,
    read_tile_table,
    tile_id,
)

__all__ = ["LabelledTile", "TilePixels", "load_tiles", "read_rgb", "tiles_of_runs"]


@dataclass(frozen=True)
class TilePixels:
    """The pixels of a tile at some resolution, and where its nuclei are in them.

    Attributes
    ----------
    rgb
        ``(H, W, 3)`` uint8.
    mpp
        um per pixel in x and y.
    points
        ``(N, 2)`` float64, pixels from the corner.
    radius
        ``(N,)`` float64 pixels, NaN if it is not known.
    label
        ``(N,)`` uint8 class indices.
    """

    rgb: npt.NDArray[np.uint8]
    mpp: tuple[float, float]
    points: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]
    label: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledTile:
    """One tile and its nuclei.

    Attributes
    ----------
    id, run
        Its name, and the group it must not be parted from.
    image
        The image file.
    mpp
        um per pixel of the image.
    points
        ``(N, 2)`` float64, pixels of the image from its corner.
    label
        ``(N,)`` uint8, index into ``LabelSpec.names``.
    radius
        ``(N,)`` float64 pixels of the image, NaN if it is not known.
    """

    id: str
    run: str
    image: Path
    mpp: float
    points: npt.NDArray[np.float64]
    label: npt.NDArray[np.uint8]
    radius: npt.NDArray[np.float64]

    @property
    def labels(self) -> Path:
        """The label file."""
        return self.image.parent.parent / "labels" / f"{self.image.stem}.txt"

    def read(self, mpp: float) -> TilePixels:
        """Return the tile at about `mpp`: within 5 % as it is, else resampled."""
        rgb = read_rgb(self.image)
        factor = self.mpp / mpp
        if abs(factor - 1) <= 0.05:
            return TilePixels(rgb, (self.mpp, self.mpp), self.points, self.radius, self.label)
        height, width = rgb.shape[:2]
        size = max(1, round(width * factor)), max(1, round(height * factor))
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        x, y = size[0] / width, size[1] / height
        return TilePixels(
            rgb=cv2.resize(rgb, size, interpolation=how).astype(np.uint8),
            mpp=(self.mpp / x, self.mpp / y),
            points=self.points * (x, y),
            radius=self.radius * math.sqrt(x * y),
            label=self.label,
        )


def load_tiles(folder: Path, labels: LabelSpec, *, mpp: float | None = None) -> list[LabelledTile]:
    """List the tiles of a folder, sorted by id.

    Parameters
    ----------
    folder
        Holds ``images/``, ``labels/`` and, for runs and pixel sizes, ``tiles.csv``.
    labels
        How label files are read.
    mpp
        um per pixel of all tiles, where ``tiles.csv`` does not say.

    Raises
    ------
    DataError
        Something is missing or cannot be read; the message names file and line.
    PixelSizeError
        Neither ``tiles.csv`` nor `mpp` gives the pixel size.
    """
    for part in ("images", "labels"):
        if not (folder / part).is_dir():
            raise DataError(f"{folder}: no folder '{part}' in it; expected images/ and labels/")
    images = _list_images(folder / "images")
    table = read_tile_table(folder / "tiles.csv")
    tiles = [_tile(image, folder, labels, table=table, mpp=mpp) for image in images]
    _refuse_leaks(tiles)
    return tiles


def _tile(
    image: Path,
    folder: Path,
    spec: LabelSpec,
    *,
    table: Mapping[str, TileRow] | None,
    mpp: float | None,
) -> LabelledTile:
    name = tile_id(image.name)
    row = table.get(name) if table is not None else None
    if table is not None and row is None:
        hint = did_you_mean(name, table) or "; add its run"
        raise DataError(f"{folder / 'tiles.csv'}: no line for tile {name}{hint}")
    stated = row.mpp if row and row.mpp is not None else mpp
    if stated is None:
        raise PixelSizeError(f"{image}: no pixel size in tiles.csv; give --mpp")
    nuclei = read_labels(folder / "labels" / f"{image.stem}.txt", spec, size=picture_size(image))
    return LabelledTile(
        id=name,
        run=row.run if row else name,
        image=image,
        mpp=check_mpp(stated, image),
        points=nuclei.points,
        label=nuclei.label,
        radius=nuclei.radius,
    )


def tiles_of_runs(tiles: list[LabelledTile], runs: Collection[str]) -> list[LabelledTile]:
    """Return the tiles of the named runs; a name that is not there is refused."""
    known = {tile.run for tile in tiles}
    for run in runs:
        if run not in known:
            hint = did_you_mean(run, known) or f"; known: {', '.join(sorted(known))}"
            raise DataError(f"no tile belongs to the run '{run}'{hint}")
    return [tile for tile in tiles if tile.run in runs]


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Return the ``(H, W, 3)`` RGB of an image file, the very pixels that a run on it reads.

    Raises
    ------
    DataError
        It is missing, damaged, or not 8-bit RGB.
    """
    from wsi_suite.slides.opening import read_picture

    try:
        return read_picture(path)
    except SlideError as error:
        raise DataError(str(error)) from None


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image file, from its header."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or 'not an image that can be read'}") from None


def _list_images(folder: Path) -> list[Path]:
    """Return the images of a folder by name; of one name there may be one only."""
    images = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    if not images:
        raise DataError(f"{folder}: holds no images ({', '.join(IMAGE_SUFFIXES)})")
    for one, other in pairwise(sorted(images, key=lambda path: tile_id(path.name))):
        if tile_id(one.name) == tile_id(other.name):
            raise DataError(f"{other}: {one.name} has the same id; keep one of them")
    return images


def _refuse_leaks(tiles: Sequence[LabelledTile]) -> None:
    """Refuse one picture in two runs: a split by run would test on training data."""
    by_size = defaultdict(list)
    for tile in tiles:
        by_size[tile.image.stat().st_size].append(tile)
    for alike in by_size.values():
        seen: dict[bytes, LabelledTile] = {}
        for tile in alike if len({tile.run for tile in alike}) > 1 else ():
            digest = hashlib.sha256(tile.image.read_bytes()).digest()
            first = seen.setdefault(digest, tile)
            if first.run != tile.run:
                raise DataError(
                    f"{tile.image}: the same picture as {first.image.name}, but in run {tile.run}"
                    f" instead of {first.run}; keep one of them, or give both the same id_run"
                )
