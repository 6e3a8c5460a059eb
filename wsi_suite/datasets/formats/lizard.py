"""Lizard's labels: one MATLAB file a picture, with a map of nuclei and their classes.

``inst_map`` has the number of the nucleus of each pixel, ``id`` the numbers, ``class`` their
classes from 1. Pictures are 20x, 0.5 um per pixel. Source: Graham et al., *Lizard*, ICCVW 2021,
arXiv 2108.11195.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wsi_suite.datasets.formats import ReadOptions
from wsi_suite.datasets.instances import outlines_of_map
from wsi_suite.datasets.labelled_image import LabelledImage, labels_of_outlines, nucleus_labels
from wsi_suite.datasets.per_picture import labelled_pictures
from wsi_suite.datasets.pictures import picture_size
from wsi_suite.errors import DataError

CLASSES = ("Neutrophil", "Epithelial", "Lymphocyte", "Plasma", "Eosinophil", "Connective tissue")
MPP = 0.5


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of a folder of ``<picture>.mat``; they lie in ``options.images``."""
    from scipy.io import loadmat

    mpp = options.mpp or MPP
    for name, path, file in labelled_pictures(
        source, (".mat",), images=options.images, tell=options.tell
    ):
        size = picture_size(path)
        try:
            content = loadmat(file)
            numbers = np.asarray(content["inst_map"]).astype(np.int64)
            ids = np.asarray(content["id"]).ravel().astype(int)
            kinds = np.asarray(content["class"]).ravel().astype(int)
            classes = {
                number: CLASSES[range(1, len(CLASSES) + 1).index(kind)]
                for number, kind in zip(ids.tolist(), kinds.tolist(), strict=True)
            }
        except Exception as error:
            raise DataError(
                f"{file}: not as Lizard has it ({' '.join(str(error).split())}); expected inst_map,"
                " id and class"
            ) from None
        if numbers.shape[::-1] != size:
            raise DataError(
                f"{file}: {' x '.join(map(str, numbers.shape[::-1]))} px, but its picture has"
                f" {size[0]} x {size[1]}"
            )
        outlines = outlines_of_map(numbers)
        for number in sorted(outlines.keys() - classes.keys()):
            raise DataError(
                f"{file}: nucleus {number} of inst_map has no entry in id; mend the file"
            )
        names = [classes[number] for number in outlines]
        yield LabelledImage(
            name=name,
            size_px=size,
            mpp=(mpp, mpp),
            labels=labels_of_outlines(list(outlines.values()), names)
            if outlines
            else nucleus_labels([], []),
            file=path,
        )
