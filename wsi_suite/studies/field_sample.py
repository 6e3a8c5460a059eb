"""Fields of slides to annotate: of all kinds of tissue, or where models are in doubt.

Candidates are the squares of a grid that lie on clean tissue: nearly all tissue, in focus, without
folds or ink. Each slide gives as many fields as the others, as far as it can. Within a slide the
candidates are sorted by DAB into four parts of equal number and each of these by hematoxylin into
two, and fields are drawn from the eight parts in turn, so that weak and strong stain, loose and
dense tissue are there alike.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely
from PIL import Image
from shapely.geometry import MultiPolygon

from wsi_suite.analysis.quality import find_artefacts
from wsi_suite.datasets.labelled_image import LabelledImage, NucleusLabels, nucleus_labels
from wsi_suite.datasets.likeness import alike_pairs, difference_hash
from wsi_suite.datasets.matching import MATCH_UM, match_points
from wsi_suite.errors import DataError
from wsi_suite.files import file_names
from wsi_suite.geometry import Box
from wsi_suite.qupath.annotations import Annotation, write_annotations
from wsi_suite.qupath.objects import FIELD_CLASSES
from wsi_suite.slides.slide import Slide, open_slide
from wsi_suite.slides.tissue import TissueMask, find_tissue
from wsi_suite.staining.deconvolution import separate_stains
from wsi_suite.training.labelled import LabelledTile
from wsi_suite.training.tiles import detect_tiles

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Detector
    from wsi_suite.training.matches import Labelled

LEAST_TISSUE = 0.7
"""Share of a candidate that must be clean tissue."""

POOL = 4
"""Candidates that models look at for each field that is wanted, to find those in doubt."""

_DAB_PARTS, _DENSITY_PARTS = 4, 2


@dataclass(frozen=True)
class Field:
    """A square of a slide.

    Attributes
    ----------
    slide
        The file.
    name
        Of its picture.
    box
        Level-0 pixels.
    hematoxylin_od, dab_od
        Means of the square, from the overview.
    """

    slide: Path
    name: str
    box: Box
    hematoxylin_od: float
    dab_od: float


@dataclass(frozen=True, eq=False)
class ChosenField:
    """A field that was cut out of its slide, with what a model found in it.

    Attributes
    ----------
    source
        File of the slide.
    image
        The picture, and the model's nuclei as its labels; without a model none.
    confidence
        ``(N,)`` float32 of these nuclei.
    size_px0
        Width and height of the slide, level-0 pixels.
    doubt
        How unsure models are of it, 0 to 1; 0 without a model.
    """

    source: Path
    image: LabelledImage
    confidence: npt.NDArray[np.float32]
    size_px0: tuple[int, int]
    doubt: float = 0.0

    @property
    def area(self) -> MultiPolygon:
        """The square, level-0 pixels of the slide."""
        assert self.image.corner_px0 is not None
        (left, top), (width, height) = self.image.corner_px0, self.image.size_px
        return MultiPolygon([shapely.box(left, top, left + width, top + height)])


def sample_fields(
    slides: Sequence[Path],
    *,
    count: int,
    size_um: float,
    mpp: float | None = None,
    seed: int = 0,
) -> list[Field]:
    """Choose fields of slides; the same call chooses the same.

    Parameters
    ----------
    slides
        Files.
    count
        Fields in all.
    size_um
        Side of a field.
    mpp
        um per pixel of slides that do not say.
    seed
        Of the draw.

    Raises
    ------
    SlideError
        A slide cannot be read.
    DataError
        The slides have fewer candidates than fields are wanted.
    """
    queues: list[list[Field]] = []
    titles = file_names([path.stem for path in slides])
    for number, (path, title) in enumerate(zip(slides, titles, strict=True)):
        rng = np.random.default_rng((seed, number))
        with open_slide(path, mpp=mpp) as slide:
            candidates = _candidates(slide, path, title=title, size_um=size_um)
        queues.append(_in_turn(candidates, rng))
    if sum(map(len, queues)) < count:
        raise DataError(
            f"{len(slides)} slides have only {sum(map(len, queues))} squares of {size_um:g} um of"
            f" clean tissue; ask for fewer than {count} fields, or smaller ones"
        )
    chosen: list[Field] = []
    turn = 0
    while len(chosen) < count:
        chosen += [queue[turn] for queue in queues if turn < len(queue)][: count - len(chosen)]
        turn += 1
    return sorted(chosen, key=lambda field: field.name)


def _candidates(slide: Slide, path: Path, *, title: str, size_um: float) -> list[Field]:
    """Return the squares of a slide's grid that lie on clean tissue."""
    tissue = find_tissue(slide)
    clean = tissue.mask.copy()
    for mask in find_artefacts(slide, tissue).masks.values():
        clean &= ~mask
    if tissue.ink is not None:
        clean &= ~tissue.ink
    stains = _stains(slide, tissue)
    side = size_um / math.sqrt(math.prod(slide.mpp))
    sums = [_integral(part) for part in (clean, stains[..., 0] * clean, stains[..., 1] * clean)]
    found: list[Field] = []
    for row in range(int(slide.height // side)):
        for column in range(int(slide.width // side)):
            box = Box(round(column * side), round(row * side), round(side), round(side))
            part = _within(box, tissue)
            pixels = (part[1] - part[0]) * (part[3] - part[2])
            inside, hematoxylin, dab = (_sum(one, part) for one in sums)
            if pixels and inside >= LEAST_TISSUE * pixels:
                name = f"{title}/{box.y:07}_{box.x:07}.png"
                found.append(Field(path, name, box, hematoxylin / inside, dab / inside))
    return found


def _stains(slide: Slide, tissue: TissueMask) -> npt.NDArray[np.float64]:
    """Return ``(rows, columns, 2)`` hematoxylin and DAB of the overview, not below 0."""
    rgb = tissue.picture
    if rgb is None:
        raster = slide.raster(tissue.scale.x * slide.mpp[0])
        rgb = raster.read(raster.box)
    return np.maximum(separate_stains(rgb)[..., :2], 0).astype(np.float64)


def _integral(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    return np.pad(values.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))


def _within(box: Box, tissue: TissueMask) -> tuple[int, int, int, int]:
    """Return first and last row, first and last column of a box in the mask."""
    rows, columns = tissue.mask.shape
    return (
        min(rows, round(box.y / tissue.scale.y)),
        min(rows, round(box.bottom / tissue.scale.y)),
        min(columns, round(box.x / tissue.scale.x)),
        min(columns, round(box.right / tissue.scale.x)),
    )


def _sum(integral: npt.NDArray[np.float64], part: tuple[int, int, int, int]) -> float:
    top, bottom, left, right = part
    return float(
        integral[bottom, right]
        - integral[top, right]
        - integral[bottom, left]
        + integral[top, left]
    )


def _in_turn(candidates: list[Field], rng: np.random.Generator) -> list[Field]:
    """Return the candidates of a slide in the order in which they are drawn."""
    by_dab = sorted(candidates, key=lambda field: (field.dab_od, field.name))
    parts: list[list[Field]] = []
    for some in _split(by_dab, _DAB_PARTS):
        dense = sorted(some, key=lambda field: (field.hematoxylin_od, field.name))
        parts += _split(dense, _DENSITY_PARTS)
    shuffled = [[part[row] for row in rng.permutation(len(part))] for part in parts]
    order = rng.permutation(len(shuffled))
    longest = max(map(len, shuffled), default=0)
    return [
        shuffled[part][turn]
        for turn in range(longest)
        for part in order
        if turn < len(shuffled[part])
    ]


def _split(fields: list[Field], count: int) -> list[list[Field]]:
    ends = np.linspace(0, len(fields), count + 1).round().astype(int).tolist()
    return [fields[ends[part] : ends[part + 1]] for part in range(count)]


def cut_fields(
    fields: Sequence[Field], folder: Path, *, mpp: float | None = None
) -> list[ChosenField]:
    """Write the pictures of fields into a folder; return them without labels, alike ones left out.

    Parameters
    ----------
    fields
        In the order of their names.
    folder
        Gets the pictures, at full resolution, under their names.
    mpp
        As for :func:`sample_fields`.
    """
    chosen: list[ChosenField] = []
    hashes: list[int | None] = []
    for path in sorted({field.slide for field in fields}):
        with open_slide(path, mpp=mpp) as slide:
            for field in (one for one in fields if one.slide == path):
                rgb = slide.read_level(0, field.box)
                file = folder / field.name
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rgb).save(file)
                hashes.append(difference_hash(rgb))
                image = LabelledImage(
                    name=field.name,
                    size_px=(field.box.width, field.box.height),
                    mpp=slide.mpp,
                    labels=nucleus_labels([], []),
                    file=file,
                    slide=path.stem,
                    corner_px0=(float(field.box.x), float(field.box.y)),
                )
                size_px0 = (slide.width, slide.height)
                chosen.append(ChosenField(path, image, np.zeros(0, np.float32), size_px0))
    doubles = {second for _, second in alike_pairs(hashes)}
    for row in doubles:
        (folder / chosen[row].image.name).unlink()
    kept = [one for row, one in enumerate(chosen) if row not in doubles]
    return sorted(kept, key=lambda one: one.image.name)


def pre_annotate(
    chosen: Sequence[ChosenField], detector: Detector, second: Detector | None = None
) -> list[ChosenField]:
    """Return fields with the nuclei that a model finds, by its name as annotator.

    The doubt about a field is the disagreement of this model and the second; without a second it
    is the mean of one minus the confidence of its nuclei, that is the share of them that the model
    expects to be none.
    """
    images = [one.image for one in chosen]
    found = _detect(images, detector)
    doubts = [float(1 - one.confidence.mean()) if len(one.points) else 0.0 for one in found]
    if second is not None:
        pairs = zip(found, _detect(images, second), strict=True)
        doubts = [disagreement(one, other) for one, other in pairs]
    return [
        replace(
            one,
            image=replace(one.image, labels=_as_labels(nuclei, one.image, detector)),
            confidence=nuclei.confidence.astype(np.float32),
            doubt=doubt,
        )
        for one, nuclei, doubt in zip(chosen, found, doubts, strict=True)
    ]


def most_doubtful(chosen: Sequence[ChosenField], *, count: int) -> list[ChosenField]:
    """Return the fields of which models are least sure, in the order of their names."""
    order = sorted(chosen, key=lambda one: (-one.doubt, one.image.name))
    return sorted(order[:count], key=lambda one: one.image.name)


def by_slide(chosen: Sequence[ChosenField]) -> dict[Path, list[ChosenField]]:
    """Return the fields of each slide, those of most doubt first."""
    found: dict[Path, list[ChosenField]] = {}
    for one in sorted(chosen, key=lambda one: (-one.doubt, one.image.name)):
        found.setdefault(one.source, []).append(one)
    return found


def field_name(number: int) -> str:
    """Return the name of a field that stands at a place of its slide's list, from 1."""
    return f"Field {number:03}"


def disagreement(first: Labelled, second: Labelled) -> float:
    """Return the share of nuclei of two sets on which they disagree; 0 if both are empty."""
    pairs = match_points(first.points, second.points, within=MATCH_UM)
    same = int((first.label[pairs[:, 0]] == second.label[pairs[:, 1]]).sum())
    nuclei = len(first.points) + len(second.points) - len(pairs)
    return 1 - same / nuclei if nuclei else 0.0


def _detect(images: Sequence[LabelledImage], detector: Detector) -> list[Labelled]:
    _, found = detect_tiles(detector.network, list(_tiles(images)), spec=detector.spec)
    return [_confident(one, detector.spec.min_confidence) for one in found]


def _tiles(images: Sequence[LabelledImage]) -> Iterator[LabelledTile]:
    for image in images:
        assert image.file is not None
        assert image.mpp is not None
        yield LabelledTile(
            id=image.name,
            run=image.group,
            image=image.file,
            mpp=math.sqrt(math.prod(image.mpp)),
            points=np.zeros((0, 2)),
            label=np.zeros(0, np.uint8),
            radius=np.zeros(0),
        )


def _confident(found: Labelled, least: float) -> Labelled:
    from wsi_suite.training.matches import Labelled

    kept = found.confidence >= least
    return Labelled(found.points[kept], found.label[kept], found.confidence[kept])


def _as_labels(found: Labelled, image: LabelledImage, detector: Detector) -> NucleusLabels:
    assert image.mpp is not None
    points = np.clip(found.points / math.sqrt(math.prod(image.mpp)), 0, image.size_px)
    names = [detector.classes[label] for label in found.label.tolist()]
    return nucleus_labels(points, names, annotators=detector.spec.name)


def write_pictures(images: Sequence[LabelledImage], out: Path) -> None:
    """Write the pictures of fields into ``images/`` of a folder that is there."""
    for image in images:
        assert image.file is not None
        target = out / "images" / image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image.file, target)


def write_field_annotations(chosen: Sequence[ChosenField], out: Path) -> None:
    """Write the fields of each slide as QuPath's annotations into ``fields/`` of a folder."""
    (out / "fields").mkdir()
    for some in by_slide(chosen).values():
        title = some[0].image.name.partition("/")[0]
        annotations = [_annotation(one, number) for number, one in enumerate(some, start=1)]
        write_annotations(annotations, out / "fields" / f"{title}.geojson", origin={}, locked=False)


def _annotation(field: ChosenField, number: int) -> Annotation:
    return Annotation(field_name(number), FIELD_CLASSES[0], *field.area.bounds)
