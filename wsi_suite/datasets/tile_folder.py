"""Folders of labelled tiles: ``images/``, ``labels/`` and ``tiles.csv``.

``labels/<id>.txt`` has one nucleus per line: two coordinates, a class and, if it is known, a
radius in pixels. Whole coordinates name a pixel, so its centre is meant; coordinates with a
fraction are taken as they are. ``tiles.csv`` has the columns ``id``, ``id_run`` (tiles of one run
may share a slide and stay together in every split) and ``mpp``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from wsi_suite.datasets.labelled_image import LabelledImage, nucleus_labels
from wsi_suite.datasets.pictures import list_pictures, picture_size, tile_id
from wsi_suite.datasets.tile_files import TileRow, check_mpp, read_labels, read_tile_table
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.errors import DataError, did_you_mean
from wsi_suite.files import hash_file


def read_tile_folder(
    folder: Path, labels: LabelSpec, *, mpp: float | None = None
) -> Iterator[LabelledImage]:
    """Yield the tiles of a folder in the order of their names; the run is their slide.

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
        A pixel size is not within 0.05 - 10 um.
    """
    for part in ("images", "labels"):
        if not (folder / part).is_dir():
            raise DataError(f"{folder}: no folder '{part}' in it; expected images/ and labels/")
    table = read_tile_table(folder / "tiles.csv")
    for image in list_pictures(folder / "images"):
        yield _read_tile(image, folder, labels, table=table, mpp=mpp)


def _read_tile(
    image: Path,
    folder: Path,
    spec: LabelSpec,
    *,
    table: Mapping[str, TileRow] | None,
    mpp: float | None,
) -> LabelledImage:
    name = tile_id(image.name)
    row = table.get(name) if table is not None else None
    if table is not None and row is None:
        hint = did_you_mean(name, table) or "; add its run"
        raise DataError(f"{folder / 'tiles.csv'}: no line for tile {name}{hint}")
    stated = row.mpp if row and row.mpp is not None else mpp
    size, file = picture_size(image), folder / "labels" / f"{image.stem}.txt"
    nuclei = read_labels(file, spec, size=size)
    return LabelledImage(
        name=image.name,
        size_px=size,
        mpp=None if stated is None else (check_mpp(stated, image),) * 2,
        labels=nucleus_labels(
            nuclei.points,
            [spec.names[index] for index in nuclei.label.tolist()],
            radii_px=nuclei.radius,
        ),
        file=image,
        slide=row.run if row else None,
        labels_sha256=hash_file(file),
    )
