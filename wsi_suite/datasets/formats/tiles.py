"""Folders of tiles, as ``train --data`` reads them: ``images/``, ``labels/``, ``tiles.csv``."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from wsi_suite.datasets.formats import ReadOptions, WriteOptions
from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.datasets.losses import describe_losses, tally
from wsi_suite.datasets.pictures import copy_picture, list_pictures
from wsi_suite.datasets.tile_folder import read_tile_folder
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file

HOLDS = ("radius", "pixel size", "slide")
CLASS_TABLE = "classes.csv"
"""Name of the table of label values: ``value`` and ``class``."""


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the tiles of a folder; see :mod:`wsi_suite.datasets.tile_folder`.

    Without ``options.labels`` the classes are those of ``classes.csv``, which :func:`write` leaves
    there, else those of EndoNuke.
    """
    pictures = source / "images"
    if pictures.is_dir():
        stems = {image.stem for image in list_pictures(pictures)}
        for path in sorted((source / "labels").glob("*.txt")):
            if path.stem not in stems:
                raise DataError(f"{path}: labels without a picture; add it, or delete them")
    labels = options.labels or _read_classes(source / CLASS_TABLE) or LabelSpec()
    return read_tile_folder(source, labels, mpp=options.mpp)


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write a folder of tiles; ``classes.csv`` names the class of each label value.

    Returns
    -------
    list of str
        What such a folder cannot hold. Of patient and slide it holds that which pictures are kept
        together by.
    """
    del options
    numbers: dict[str, int] = {}
    lost: Counter[str] = Counter()
    with whole_file(out) as made:
        for part in ("images", "labels"):
            (made / part).mkdir(parents=True)
        with (made / "tiles.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "id_run", "mpp"])
            for image in tally(images, lost, holds=HOLDS):
                name = _flat_name(image, made)
                labels = made / "labels" / f"{PurePosixPath(name).stem}.txt"
                labels.write_text(_label_lines(image, numbers), "utf-8")
                table.writerow([PurePosixPath(name).stem, image.group, repr(_mpp(image))])
        with (made / CLASS_TABLE).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["value", "class"])
            writer.writerows((value, name) for name, value in numbers.items())
    return describe_losses(lost, title="A folder of tiles")


def _read_classes(path: Path) -> LabelSpec | None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            classes = {int(row["value"]): row["class"] for row in csv.DictReader(file)}
        return LabelSpec(classes=classes) if classes else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path}: no table of classes; expected the columns value,class") from None


def _flat_name(image: LabelledImage, made: Path) -> str:
    """Copy the picture and return its name, which has no folders."""
    name = image.name.replace("/", "_")
    target = made / "images" / name
    if image.file is None:
        raise DataError(f"'{image.name}' has labels only; give its picture, too")
    if target.exists():
        raise DataError(f"'{image.name}': another picture becomes '{name}' too; rename one")
    copy_picture(image.file, target)
    return name


def _mpp(image: LabelledImage) -> float:
    if image.mpp is None or abs(image.mpp[0] / image.mpp[1] - 1) > 0.02:
        raise DataError(f"'{image.name}': pixel size {image.mpp}; expected one in x and y")
    return float(np.sqrt(np.prod(image.mpp)))


def _label_lines(image: LabelledImage, numbers: dict[str, int]) -> str:
    """Return the lines of a label file; `numbers` gets the value of each new class."""
    lines = []
    labels = image.labels
    rows = zip(labels.points.tolist(), labels.class_names, labels.radii_px.tolist(), strict=True)
    for (x, y), name, radius in rows:
        if name is None:
            raise DataError(f"'{image.name}': a nucleus without class; name it with --class")
        value = numbers.setdefault(name, len(numbers))
        known = "" if np.isnan(radius) else f" {radius!r}"
        lines.append(f"{_place(x, y)} {value}{known}\n")
    return "".join(lines)


def _place(x: float, y: float) -> str:
    """Return a point as it is read back: whole numbers name a pixel and so its centre.

    A point between pixels, whose numbers are whole, is moved by the least there is.
    """
    if (x - 0.5).is_integer() and (y - 0.5).is_integer():
        return f"{int(x - 0.5)} {int(y - 0.5)}"
    if x.is_integer() and y.is_integer():
        x = float(np.nextafter(x, np.inf if x == 0 else 0))
    return f"{x!r} {y!r}"
