"""PanNuke's folds: arrays of pictures and of one map a class.

::

    images/fold1/images.npy   (N, 256, 256, 3)
    masks/fold1/masks.npy     (N, 256, 256, 6) number of the nucleus, by class; last: background

Pictures are 40x, 0.25 um per pixel. Source: Gamper et al., *PanNuke Dataset Extension*,
arXiv 2003.10778.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsi_suite.datasets.formats import ReadOptions
from wsi_suite.datasets.instances import outlines_of_map
from wsi_suite.datasets.labelled_image import (
    LabelledImage,
    Shape,
    labels_of_outlines,
    nucleus_labels,
)
from wsi_suite.errors import DataError

CLASSES = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")
MPP = 0.25


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of all folds below a folder."""
    if options.scratch is None:
        raise ValueError("pictures are in arrays: options.scratch must name a folder")
    pictures: dict[str, Path] = {}
    for path in sorted(source.rglob("images.npy")):
        first = pictures.setdefault(_fold_of(path, source), path)
        if first != path:
            raise DataError(
                f"{path}: {first} is of the same fold; put each into a folder of its own"
            )
    if not pictures:
        raise DataError(f"{source}: holds no images.npy, as PanNuke's folds do")
    mpp = options.mpp or MPP
    for fold, path in sorted(pictures.items(), key=lambda pair: f"{pair[0]}/"):
        masks = _masks_of(path, source)
        images, maps = _load(path), _load(masks)
        if images.ndim != 4 or maps.ndim != 4 or maps.shape[3] != len(CLASSES) + 1:
            raise DataError(f"{masks}: shape {maps.shape}; expected (N, H, W, 6)")
        if images.shape[:3] != maps.shape[:3]:
            raise DataError(f"{masks}: {maps.shape[:3]}, but {path} has {images.shape[:3]}")
        for number in range(len(images)):
            name = f"{fold}/{number:05}.png"
            file = options.scratch / f"{fold.replace('/', '_')}_{number}.png"
            Image.fromarray(np.asarray(images[number]).astype(np.uint8)).save(file)
            outlines: list[Shape] = []
            names: list[str] = []
            for place, class_name in enumerate(CLASSES):
                found = outlines_of_map(np.asarray(maps[number, ..., place]).astype(np.int32))
                outlines += found.values()
                names += [class_name] * len(found)
            yield LabelledImage(
                name=name,
                size_px=(images.shape[2], images.shape[1]),
                mpp=(mpp, mpp),
                labels=labels_of_outlines(outlines, names) if names else nucleus_labels([], []),
                file=file,
            )


def _fold_of(path: Path, source: Path) -> str:
    """Return the name of the fold of an array: that of its folder, but "images" and "masks"."""
    names = [one for one in path.relative_to(source).parts[:-1] if one not in ("images", "masks")]
    return names[-1] if names else source.resolve().name


def _masks_of(path: Path, source: Path) -> Path:
    """Return the masks of a fold, beside its pictures or in a folder of the fold's name."""
    fold = _fold_of(path, source)
    found = [one for one in sorted(source.rglob("masks.npy")) if _fold_of(one, source) == fold]
    if len(found) != 1:
        raise DataError(f"{path}: {len(found)} masks.npy of '{fold}'; expected one")
    return found[0]


def _load(path: Path) -> Any:  # noqa: ANN401
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
