"""Labelled tiles, as training and evaluation read them."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import shapely

from wsi_suite.datasets.agreement import CONSENSUS
from wsi_suite.datasets.labelled_image import LabelledImage, Shape
from wsi_suite.datasets.pictures import read_rgb, tile_id
from wsi_suite.datasets.remote import on_disk
from wsi_suite.datasets.store import is_dataset, open_dataset, read_images
from wsi_suite.datasets.tile_folder import read_tile_folder
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.errors import DataError, PixelSizeError, did_you_mean


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
    labels_sha256
        SHA-256 of its labels.
    part
        Part of the split of its dataset, if that has one.
    annotated
        Part of the image in which every nucleus is labelled, pixels of the image; the rest is read
        as white. ``None`` for all of it.
    """

    id: str
    run: str
    image: Path
    mpp: float
    points: npt.NDArray[np.float64]
    label: npt.NDArray[np.uint8]
    radius: npt.NDArray[np.float64]
    labels_sha256: str = ""
    part: str | None = None
    annotated: Shape | None = None

    def read(self, mpp: float) -> TilePixels:
        """Return the tile at about `mpp`: within 5 % as it is, else resampled."""
        rgb = read_rgb(self.image)
        if self.annotated is not None:
            rows, columns = np.mgrid[0 : rgb.shape[0], 0 : rgb.shape[1]] + 0.5
            shapely.prepare(self.annotated)
            inside = shapely.contains_xy(self.annotated, columns, rows)
            rgb = np.where(inside[..., None], rgb, np.uint8(255))
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
    """List the tiles of a dataset, or of a folder of tiles, sorted by id.

    Parameters
    ----------
    folder
        A dataset (:mod:`wsi_suite.datasets.store`), or a folder of tiles
        (:mod:`wsi_suite.datasets.tile_folder`).
    labels
        The classes, and how the label files of a folder of tiles are read.
    mpp
        um per pixel of all tiles, where the folder does not say.

    Raises
    ------
    DataError
        Something is missing or cannot be read; the message names file and line.
    PixelSizeError
        The pixel size is not known, or absurd.
    """
    if is_dataset(on_disk(str(folder))):
        images = read_images(open_dataset(folder))
    else:
        images = read_tile_folder(folder, labels, mpp=mpp)
    tiles = [_tile(image, labels, folder=folder) for image in images]
    _refuse_leaks(tiles)
    return tiles


def _tile(image: LabelledImage, spec: LabelSpec, *, folder: Path) -> LabelledTile:
    if image.file is None:
        raise DataError(f"{folder}: '{image.name}' has labels only; add its picture")
    names = {name for name in image.labels.annotators if name and not name.startswith(CONSENSUS)}
    if len(names) > 1:
        raise DataError(
            f"{folder}: '{image.name}' has labels of several annotators, so that nuclei stand there"
            " more than once; bring them together with 'wsi-suite dataset consensus'"
        )
    if image.mpp is None:
        raise PixelSizeError(f"{image.file}: no pixel size in tiles.csv; give --mpp")
    labels = image.labels
    if image.annotated is not None:
        labels = labels.take(shapely.intersects_xy(image.annotated, labels.points))
    return LabelledTile(
        id=tile_id(image.name),
        run=image.patient or image.slide or tile_id(image.name),
        image=image.file,
        mpp=math.sqrt(math.prod(image.mpp)),
        points=labels.points,
        label=_label(replace(image, labels=labels), spec, folder=folder),
        radius=labels.radii_px,
        labels_sha256=image.labels_sha256 or "",
        part=image.split,
        annotated=image.annotated,
    )


def _label(image: LabelledImage, spec: LabelSpec, *, folder: Path) -> npt.NDArray[np.uint8]:
    """Return for each nucleus the index of its class."""
    index = {name: number for number, name in enumerate(spec.names)}
    for name in image.labels.class_names:
        if name not in index:
            unclear = "a nucleus without class" if name is None else f"class '{name}'"
            raise DataError(
                f"{folder}: {unclear} in '{image.name}', expected {', '.join(spec.names)}; map or"
                " leave it out when the dataset is made, or name it in labels.classes"
            )
    return np.array([index[str(name)] for name in image.labels.class_names], np.uint8)


def tiles_of_runs(tiles: list[LabelledTile], runs: Collection[str]) -> list[LabelledTile]:
    """Return the tiles of the named runs; a name that is not there is refused."""
    known = {tile.run for tile in tiles}
    for run in runs:
        if run not in known:
            hint = did_you_mean(run, known) or f"; known: {', '.join(sorted(known))}"
            raise DataError(f"no tile belongs to the run '{run}'{hint}")
    return [tile for tile in tiles if tile.run in runs]


def tiles_of_part(tiles: list[LabelledTile], part: str) -> list[LabelledTile]:
    """Return the tiles of a part of their dataset's split; an unknown part is refused."""
    known = sorted({tile.part for tile in tiles if tile.part is not None})
    if part not in known:
        hint = did_you_mean(part, known) or f"; known: {', '.join(known) or 'none'}"
        raise DataError(f"no tile belongs to the part '{part}'{hint}")
    return [tile for tile in tiles if tile.part == part]


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
