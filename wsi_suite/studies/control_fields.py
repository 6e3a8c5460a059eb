"""Fields with known truth, hidden among those that are to be annotated.

A control is cut out of a labelled picture to the size of a field. All pictures of the round then
get new names in an order drawn by chance, and forget their slides, so that neither name nor order
nor what a format tells of a picture shows which are controls; a key tells it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from wsi_suite.datasets.controls import ControlKey, KeyPicture
from wsi_suite.datasets.formats import ReadOptions, reader_of
from wsi_suite.datasets.labelled_image import LabelledImage, NucleusLabels, nucleus_labels
from wsi_suite.datasets.pictures import read_rgb
from wsi_suite.datasets.store import is_dataset, open_dataset, read_images
from wsi_suite.errors import DataError
from wsi_suite.studies.field_sample import ChosenField, pre_annotate

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Detector

_SCALES_ALIKE = 0.02


def with_controls(
    fields: Sequence[ChosenField],
    source: Path,
    folder: Path,
    *,
    count: int,
    size_um: float,
    detector: Detector | None = None,
    seed: int = 0,
) -> tuple[list[LabelledImage], ControlKey]:
    """Return the pictures of fields with controls hidden among them, and the key to them.

    Parameters
    ----------
    fields
        The fields to annotate.
    source, folder, count, size_um, seed
        As for :func:`cut_controls`.
    detector
        The model whose nuclei fields hold, to be corrected: controls get them, too.
    """
    controls = cut_controls(source, folder, count=count, size_um=size_um, seed=seed)
    if detector is not None:
        seen = pre_annotate([field for field, _ in controls], detector)
        controls = [(field, truth) for field, (_, truth) in zip(seen, controls, strict=True)]
    return hide_controls(fields, controls, controls_from=source, seed=seed)


def read_controls(source: Path) -> Iterable[LabelledImage]:
    """Return the pictures of a dataset's newest version, or of a folder of tiles."""
    if is_dataset(source):
        return read_images(open_dataset(source))
    return reader_of("tiles")(source, ReadOptions())


def cut_controls(
    source: Path, folder: Path, *, count: int, size_um: float, seed: int = 0
) -> list[tuple[ChosenField, NucleusLabels]]:
    """Cut controls out of labelled pictures, each from its middle; return them with their truth.

    Parameters
    ----------
    source
        A dataset or a folder of tiles.
    folder
        Gets the pictures.
    count
        How many; pictures are drawn by chance, of each patient or slide as many as of others.
    size_um
        Side of a control.
    seed
        Of the draw.

    Raises
    ------
    DataError
        There are too few pictures that are as large, labelled all over and with nuclei.
    """
    fit = [image for image in read_controls(source) if _fits(image, size_um)]
    if len(fit) < count:
        raise DataError(
            f"{source}: {len(fit)} pictures can be controls, at least {size_um:g} um wide and high,"
            f" of known pixel size and with nuclei in their middle; ask for fewer than {count}, or"
            " for smaller fields with --size-um"
        )
    rng = np.random.default_rng((seed, 1))
    groups: dict[str, list[LabelledImage]] = {}
    for row in rng.permutation(len(fit)):
        groups.setdefault(fit[row].group, []).append(fit[row])
    turns = sorted((turn, name) for name, some in groups.items() for turn in range(len(some)))
    chosen = [groups[name][turn] for turn, name in turns[:count]]
    return [
        _cut(image, folder / f"control-{number}.png", size_um=size_um, source=source)
        for number, image in enumerate(chosen)
    ]


def _middle(image: LabelledImage, size_um: float) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the middle of a picture."""
    assert image.mpp is not None
    width, height = (
        min(round(size_um / scale), whole)
        for scale, whole in zip(image.mpp, image.size_px, strict=True)
    )
    return (image.size_px[0] - width) // 2, (image.size_px[1] - height) // 2, width, height


def _inside(image: LabelledImage, size_um: float) -> NucleusLabels:
    """Return the nuclei in the middle of a picture, in its frame."""
    left, top, width, height = _middle(image, size_um)
    at = image.labels.points - (left, top)
    inside = ((at >= 0) & (at < (width, height))).all(axis=1)
    return image.labels.take(np.flatnonzero(inside))


def _fits(image: LabelledImage, size_um: float) -> bool:
    if image.mpp is None or image.file is None or image.annotated is not None:
        return False
    wide = all(
        side * scale >= 0.99 * size_um for side, scale in zip(image.size_px, image.mpp, strict=True)
    )
    return wide and len(_inside(image, size_um)) > 0


def _cut(
    image: LabelledImage, file: Path, *, size_um: float, source: Path
) -> tuple[ChosenField, NucleusLabels]:
    assert image.file is not None
    left, top, width, height = _middle(image, size_um)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(read_rgb(image.file)[top : top + height, left : left + width]).save(file)
    truth = _inside(image, size_um)
    truth = nucleus_labels(truth.points - (left, top), truth.class_names)
    part = LabelledImage(
        name=image.name,
        size_px=(width, height),
        mpp=image.mpp,
        labels=nucleus_labels([], []),
        file=file,
        corner_px0=(float(left), float(top)),
    )
    return ChosenField(source / image.name, part, np.zeros(0, np.float32), image.size_px), truth


def hide_controls(
    fields: Sequence[ChosenField],
    controls: Sequence[tuple[ChosenField, NucleusLabels]],
    *,
    controls_from: Path,
    seed: int = 0,
) -> tuple[list[LabelledImage], ControlKey]:
    """Return the pictures of fields and controls in an order by chance, and the key to them.

    Their names begin with a number of the round, so that two rounds may lie in one dataset.
    """
    marked = [
        *((field, None) for field in fields),
        *((field, truth) for field, truth in controls),
    ]
    told = [f"{field.source.name} {field.image.name}" for field, _ in marked]
    code = hashlib.sha256("\n".join([str(seed), *sorted(told)]).encode()).hexdigest()[:6]
    order = np.random.default_rng((seed, 2)).permutation(len(marked))
    images, pictures = [], []
    for number, row in enumerate(order.tolist(), start=1):
        field, truth = marked[row]
        name = f"{code}-{number:04}.png"
        images.append(replace(field.image, name=name, slide=None, corner_px0=None))
        assert field.image.mpp is not None
        assert field.image.corner_px0 is not None
        picture = KeyPicture(
            name=name,
            source=str(field.source),
            corner_px0=field.image.corner_px0,
            mpp=field.image.mpp,
            control=truth is not None,
            points=() if truth is None else tuple(map(tuple, truth.points.tolist())),
            classes=() if truth is None else truth.class_names,
        )
        pictures.append(picture)
    return images, ControlKey(controls_from=str(controls_from), pictures=tuple(pictures))


def unlike_scales(key: ControlKey) -> bool:
    """Return whether pixel sizes of controls are none of the others: annotators may see that."""
    scales = {
        control: [_scale(one) for one in key.pictures if one.control is control]
        for control in (True, False)
    }
    return any(
        all(abs(math.log(scale / other)) > _SCALES_ALIKE for other in scales[False])
        for scale in scales[True]
    )


def _scale(picture: KeyPicture) -> float:
    return math.sqrt(math.prod(picture.mpp))
