"""Folders of masks: for each picture a map in which every nucleus has a number of its own.

::

    masks/<picture>.png          16 or 32 bit: the number of the nucleus of each pixel, 0 for none
    masks/<picture>.classes.csv  number,class; without the file nuclei have no class

Maps are PNG, TIFF or NumPy (``.npy``), as StarDist, Cellpose and many others write them.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import shapely

from wsi_suite.datasets.formats import ReadOptions, WriteOptions
from wsi_suite.datasets.instances import map_of_outlines, outlines_of_map
from wsi_suite.datasets.labelled_image import LabelledImage, labels_of_outlines, nucleus_labels
from wsi_suite.datasets.losses import describe_losses, tally
from wsi_suite.datasets.per_picture import labelled_pictures
from wsi_suite.datasets.pictures import picture_size
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file

_ENDINGS = (".png", ".tif", ".tiff", ".npy")
_MOST = 65_535
_GONE = "hold the centre of no pixel, or are covered by others, and are left out"
_LESS = "are covered in part by others, and have fewer pixels"


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of a folder of masks; the pictures must lie elsewhere."""
    if options.images is None and not (source.parent / "images").is_dir():
        raise DataError(f"{source}: give the folder of the pictures as --images")
    images = options.images or source.parent / "images"
    for name, path, file in labelled_pictures(source, _ENDINGS, images=images, tell=options.tell):
        size = picture_size(path)
        table = file.with_name(f"{file.stem}.classes.csv")
        outlines = outlines_of_map(read_map(file, size=size, is_numbered=table.is_file()))
        classes = _read_classes(table)
        names = [classes.get(number) for number in outlines]
        yield LabelledImage(
            name=name,
            size_px=size,
            mpp=None if options.mpp is None else (options.mpp, options.mpp),
            labels=labels_of_outlines(list(outlines.values()), names)
            if outlines
            else nucleus_labels([], []),
            file=path,
        )


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write 16-bit PNG maps and classes; every nucleus needs an outline.

    Where outlines overlap, a pixel belongs to the later nucleus. Nuclei without a pixel of their
    own are left out, and counted like those that lose pixels.
    """
    del options
    lost: Counter[str] = Counter()
    with whole_file(out) as made:
        made.mkdir()
        for image in tally(images, lost, holds=("outline",)):
            labels = image.labels
            if any(outline is None for outline in labels.outlines):
                raise DataError(f"'{image.name}': a nucleus without outline, which a mask needs")
            if len(labels) > _MOST:
                raise DataError(f"'{image.name}': more than {_MOST:,} nuclei; cut it into parts")
            numbers = map_of_outlines(labels.outlines, image.size_px).astype(np.uint16)
            gone, less = _covered(numbers, labels.outlines)
            lost[_GONE] += gone
            lost[_LESS] += less
            path = (made / image.name).with_suffix(".png")
            if path.exists():
                raise DataError(f"'{image.name}': another picture has its name; rename one")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", numbers)[1].tobytes())
            _write_classes(path.with_name(f"{path.stem}.classes.csv"), labels.class_names)
    said = describe_losses(lost, title="A folder of masks")
    for fact in (_GONE, _LESS):
        said += [f"{lost[fact]:,} nuclei {fact}"] if lost[fact] else []
    return said


def _covered(numbers: npt.NDArray[np.uint16], outlines: npt.NDArray[np.object_]) -> tuple[int, int]:
    """Return how many nuclei have no pixel in a map, and how many only some of theirs."""
    size = numbers.shape[1], numbers.shape[0]
    held = np.bincount(numbers.ravel(), minlength=len(outlines) + 1)[1:]
    tree = shapely.STRtree(outlines)
    first, second = tree.query(outlines, predicate="intersects")
    overlapped = set(first[first < second].tolist())
    less = sum(
        int((map_of_outlines(outlines[row : row + 1], size) > 0).sum()) > held[row] > 0
        for row in overlapped
    )
    return int((held == 0).sum()), less


def read_map(
    path: Path, *, size: tuple[int, int], is_numbered: bool = False
) -> npt.NDArray[np.integer]:
    """Return ``(H, W)`` numbers of nuclei.

    Parameters
    ----------
    path
        The map.
    size
        Width and height of its picture.
    is_numbered
        Whether numbers are known to be those of nuclei, so that one may have several parts.

    Raises
    ------
    DataError
        It cannot be read, has colours, is not of the picture's size, or has one number only where
        there are many nuclei (a map of yes and no).
    """
    numbers: Any
    try:
        if path.suffix.lower() == ".npy":
            numbers = np.load(path, allow_pickle=False)
        else:
            numbers = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, cv2.error) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if numbers is None or numbers.ndim != 2 or not np.issubdtype(numbers.dtype, np.integer):
        raise DataError(f"{path}: expected whole numbers of nuclei, one for each pixel")
    if numbers.shape[::-1] != size:
        raise DataError(
            f"{path}: {' x '.join(map(str, numbers.shape[::-1]))} px, but its picture has"
            f" {size[0]} x {size[1]}"
        )
    parts = cv2.connectedComponents((numbers > 0).astype(np.uint8))[0] - 1
    if not is_numbered and len(np.unique(numbers[numbers > 0])) == 1 and parts > 1:
        raise DataError(
            f"{path}: {parts} parts have one number; expected another number for each nucleus"
        )
    return np.asarray(numbers)


def _write_classes(path: Path, names: tuple[str | None, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "class"])
        writer.writerows((number, name) for number, name in enumerate(names, 1) if name)


def _read_classes(path: Path) -> dict[int, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {int(row["number"]): row["class"] for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path}: no table of classes; expected the columns number,class") from None
