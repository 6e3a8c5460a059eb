"""Folders of labelled tiles: ``images/``, ``labels/`` and ``tiles.csv``.

``labels/<id>.txt`` has one nucleus per line: two coordinates, a class and, where it is known, a
radius in pixels. Whole coordinates name a pixel, so its centre is meant; coordinates with a
fraction are taken as they are. ``tiles.csv`` has the columns ``id``, ``id_run`` (tiles of one run
may share a slide and stay together in every split) and ``mpp``.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from wsi_suite.config import Section
from wsi_suite.errors import DataError, PixelSizeError, did_you_mean

_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


class LabelSpec(Section):
    """How label files are read."""

    columns: Literal["xy", "yx"] = Field("xy", description="order of the two coordinates")
    classes: dict[int, str] = Field(
        {0: "Stroma", 1: "Epithelium", 2: "Stroma"},
        min_length=1,
        description="class of each label value",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, each once, in the order of their first label value."""
        return tuple(dict.fromkeys(self.classes[value] for value in sorted(self.classes)))


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
        ``(N,)`` float64 pixels, NaN where it is not known.
    """

    rgb: npt.NDArray[np.uint8]
    mpp: tuple[float, float]
    points: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]


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
        ``(N,)`` float64 pixels of the image, NaN where it is not known.
    """

    id: str
    run: str
    image: Path
    mpp: float
    points: npt.NDArray[np.float64]
    label: npt.NDArray[np.uint8]
    radius: npt.NDArray[np.float64]

    def read(self, mpp: float) -> TilePixels:
        """Return the tile at about `mpp`: within 5 % as it is, else resampled."""
        rgb = read_rgb(self.image)
        factor = self.mpp / mpp
        if abs(factor - 1) <= 0.05:
            return TilePixels(rgb, (self.mpp, self.mpp), self.points, self.radius)
        height, width = rgb.shape[:2]
        size = max(1, round(width * factor)), max(1, round(height * factor))
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        x, y = size[0] / width, size[1] / height
        return TilePixels(
            rgb=cv2.resize(rgb, size, interpolation=how).astype(np.uint8),
            mpp=(self.mpp / x, self.mpp / y),
            points=self.points * (x, y),
            radius=self.radius * math.sqrt(x * y),
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
    table = _read_table(folder / "tiles.csv")
    tiles = []
    for image in images:
        row = table.get(image.stem, {})
        if table and not row:
            raise DataError(f"{folder / 'tiles.csv'}: no line for tile {image.stem}; add its run")
        points, label, radius = _read_labels(folder / "labels" / f"{image.stem}.txt", labels)
        tiles.append(
            LabelledTile(
                id=image.stem,
                run=row.get("id_run") or image.stem,
                image=image,
                mpp=_pixel_size(row.get("mpp"), mpp, image),
                points=points,
                label=label,
                radius=radius,
            )
        )
    return tiles


def tiles_of_runs(tiles: list[LabelledTile], runs: Collection[str]) -> list[LabelledTile]:
    """Return the tiles of the named runs; a name that is not there is refused."""
    known = {tile.run for tile in tiles}
    for run in runs:
        if run not in known:
            hint = did_you_mean(run, known) or f"; known: {', '.join(sorted(known))}"
            raise DataError(f"no tile belongs to the run '{run}'{hint}")
    return [tile for tile in tiles if tile.run in runs]


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Read an image file as ``(H, W, 3)`` RGB."""
    # Through memory: cv2.imread cannot open paths with umlauts on Windows.
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise DataError(f"{path}: not an image that can be read")
    return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


def _list_images(folder: Path) -> list[Path]:
    """Return the images of a folder by name; of one name there may be one only."""
    images = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    )
    if not images:
        raise DataError(f"{folder}: holds no images ({', '.join(_SUFFIXES)})")
    for one, other in pairwise(sorted(images, key=lambda path: path.stem)):
        if one.stem == other.stem:
            raise DataError(f"{other}: {one.name} has the same id; keep one of them")
    return images


def _read_table(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    rows = list(csv.DictReader(_read_text(path).splitlines()))
    if rows and "id" not in rows[0]:
        raise DataError(f"{path}: no column 'id'; expected id,id_run,mpp")
    return {row["id"]: row for row in rows}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def _pixel_size(stated: str | None, given: float | None, image: Path) -> float:
    try:
        value = float(stated) if stated else given
    except ValueError:
        raise DataError(
            f"{image.parents[1] / 'tiles.csv'}: mpp '{stated}' of tile {image.stem} is not a number"
        ) from None
    if value is None:
        raise PixelSizeError(f"{image}: no pixel size in tiles.csv; give --mpp")
    if not 0.05 <= value <= 10:
        raise PixelSizeError(f"{image}: pixel size {value} um is not within 0.05 - 10")
    return value


def _read_labels(
    path: Path, labels: LabelSpec
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Return points, class indices and radii of a label file."""
    if not path.exists():
        raise DataError(f"{path}: missing; a tile without nuclei has an empty label file")
    index = {value: labels.names.index(name) for value, name in labels.classes.items()}
    points, label, radius = [], [], []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        fields = line.replace(",", " ").split()
        if not fields:
            continue
        numbers = _numbers(fields)
        if len(numbers) not in (3, 4):
            raise DataError(
                f"{path}:{number}: '{line}' is not two coordinates, a class and perhaps a radius"
            )
        first, second, value, *rest = numbers
        if value not in index:
            known = ", ".join(map(str, sorted(index)))
            raise DataError(f"{path}:{number}: class {fields[2]} is not one of {known}")
        x, y = (first, second) if labels.columns == "xy" else (second, first)
        centre = 0.5 if x.is_integer() and y.is_integer() else 0.0
        points.append((x + centre, y + centre))
        label.append(index[int(value)])
        radius.append(rest[0] if rest else math.nan)
    return (
        np.array(points, np.float64).reshape(-1, 2),
        np.array(label, np.uint8),
        np.array(radius, np.float64),
    )


def _numbers(fields: list[str]) -> list[float]:
    """Return the finite numbers that `fields` hold; empty where one is none."""
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
