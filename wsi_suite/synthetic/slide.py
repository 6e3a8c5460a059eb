"""Write a synthetic specimen as a slide file."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

from wsi_suite.files import whole_file
from wsi_suite.geometry import Box
from wsi_suite.staining.deconvolution import H_DAB, StainVectors
from wsi_suite.synthetic.cells import ENDOMETRIUM, Mix
from wsi_suite.synthetic.render import Painter, make_painter
from wsi_suite.synthetic.scene import make_scene
from wsi_suite.synthetic.truth import Truth, truth_of

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]  # width, height

_TILE_PX = 512
_STEP = 4  # each level is this much smaller than the one before
_LEVELS = 3


def make_slide(
    path: str | Path,
    *,
    width: int = 8000,
    height: int = 8000,
    mpp: float = 0.25,
    tissue_fraction: float = 1 / 3,
    mix: Mix = ENDOMETRIUM,
    quality: int = 90,
    seed: int = 0,
    stains: StainVectors = H_DAB,
) -> Truth:
    """Write a synthetic slide: a pyramidal tiled JPEG TIFF with the metadata of an Aperio scanner.

    It is drawn tile by tile: memory holds the nuclei and one row of tiles.

    Parameters
    ----------
    path
        The file; one that exists is replaced.
    width, height
        Size in level-0 px. The levels are 1, 4 and 16 times smaller.
    mpp
        Micrometres per level-0 pixel.
    tissue_fraction
        Share of the slide that tissue covers; the rest is glass.
    mix
        Shares of the intensity grades.
    quality
        JPEG quality.
    seed
        The same arguments give the same slide.
    stains
        Colours of the stains.

    Returns
    -------
    Truth
        The nuclei in the slide. Their optical densities hold before JPEG, which reads about 0.01
        more DAB and scatters by 0.02.

    Raises
    ------
    ConfigError
        The size is not positive, or the fraction of tissue not within 0 to 1.
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> truth = ws.make_slide("synthetic.svs", width=800, height=600, mpp=0.25)
    >>> truth.nuclei
    <Nuclei: 117 (76 Stroma, 41 Epithelium), outlines>
    >>> round(truth.h_score())
    238
    """
    path = Path(path)
    scene = make_scene(
        width * mpp, height * mpp, tissue_fraction=tissue_fraction, mix=mix, seed=seed
    )
    painter = make_painter(scene, mpp=mpp, seed=seed, stains=stains)
    with (
        whole_file(path) as partial,
        tempfile.TemporaryDirectory() as folder,
        tifffile.TiffWriter(partial, bigtiff=width * height > 2**31) as tiff,
    ):
        _write_levels(tiff, painter, size=(width, height), quality=quality, aside=Path(folder))
    return truth_of(scene, width=width, height=height, mpp=mpp, stains=stains)


def _write_levels(
    tiff: tifffile.TiffWriter, painter: Painter, *, size: Size, quality: int, aside: Path
) -> None:
    rows = _drawn_rows(painter, size)
    for level in range(_LEVELS):
        smaller = aside / f"level{level + 1}.raw"
        tiff.write(
            _tiles(rows, keep_smaller=smaller),
            shape=(size[1], size[0], 3),
            dtype=np.uint8,
            tile=(_TILE_PX, _TILE_PX),
            photometric="rgb",
            compression="jpeg",
            compressionargs={"level": quality},
            subfiletype=1 if level else 0,
            description=_description(painter.mpp, size) if level == 0 else None,
            software=False,
            metadata=None,
            maxworkers=1,
            buffersize=_TILE_PX * _TILE_PX * 12,
        )
        columns = math.ceil(size[0] / _TILE_PX) * _TILE_PX // _STEP
        size = max(1, size[0] // _STEP), max(1, size[1] // _STEP)
        rows = _stored_rows(smaller, columns=columns, size=size)


def _drawn_rows(painter: Painter, size: Size) -> Iterator[Pixels]:
    # Rows of whole tiles; the specimen goes on beyond the edges of the slide.
    for y in range(0, size[1], _TILE_PX):
        tiles = [painter.draw(Box(x, y, _TILE_PX, _TILE_PX)) for x in range(0, size[0], _TILE_PX)]
        yield np.concatenate(tiles, axis=1)


def _stored_rows(file: Path, *, columns: int, size: Size) -> Iterator[Pixels]:
    # Rows of whole tiles of a smaller level; what is missing repeats the last row and column.
    width = math.ceil(size[0] / _TILE_PX) * _TILE_PX
    with file.open("rb") as stored:
        for _ in range(0, size[1], _TILE_PX):
            row = np.frombuffer(stored.read(_TILE_PX * columns * 3), np.uint8)
            row = row.reshape(-1, columns, 3)[:, :width]
            missing = ((0, _TILE_PX - row.shape[0]), (0, width - row.shape[1]), (0, 0))
            yield np.pad(row, missing, mode="edge")


def _tiles(rows: Iterable[Pixels], *, keep_smaller: Path) -> Iterator[Pixels]:
    # Cut rows into tiles, and put the rows aside in the size that the next level needs.
    with keep_smaller.open("wb") as smaller:
        for row in rows:
            size = row.shape[1] // _STEP, row.shape[0] // _STEP
            smaller.write(cv2.resize(row, size, interpolation=cv2.INTER_AREA).tobytes())
            yield from np.split(row, row.shape[1] // _TILE_PX, axis=1)


def _description(mpp: float, size: Size) -> str:
    # What OpenSlide reads the pixel size and the magnification from.
    magnification = round(10 / mpp)
    return (
        "Aperio Image Library v12.0.0\r\n"
        f"{size[0]}x{size[1]} [0,0 {size[0]}x{size[1]}] ({_TILE_PX}x{_TILE_PX}) JPEG/RGB"
        f"|AppMag = {magnification}|MPP = {mpp:g}|Filename = synthetic"
    )
