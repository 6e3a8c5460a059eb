"""EndoNuke as it is published: pictures, and labels of several annotators in lists.

::

    dataset/images/<id>.png
    dataset/labels/<subset>/<annotator>/<id>.txt     x y class, 0 stroma, 1 epithelium, 2 other
    master_ymls/<name>.yaml                          images_lists, labels_lists: files of paths

The paths in a list are relative to the list, and those of lists to the YAML file. Source: Naumov et
al., *EndoNuke*, Data 2022, 7, 75.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsi_suite.datasets.formats import ReadOptions
from wsi_suite.datasets.labelled_image import LabelledImage, join_labels, nucleus_labels
from wsi_suite.datasets.pictures import IMAGE_SUFFIXES, picture_size
from wsi_suite.datasets.tile_files import read_labels, read_tile_table
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.errors import DataError
from wsi_suite.yaml_files import YamlError, parse_yaml

CLASSES = LabelSpec(classes={0: "Stroma", 1: "Epithelium", 2: "Other"})
MPP = 0.5
"""um per pixel that the pictures of 200 x 200 px have, if nothing else is said."""


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures of a master YAML, or of the whole folder, with all annotators' labels.

    A picture that several annotators labelled has the labels of each; ``dataset consensus`` brings
    them together. Pictures without label file are left out: nobody said that they have no nuclei.
    """
    images, labels = _listed(source) if source.is_file() else _found(source)
    by_id: dict[str, list[Path]] = defaultdict(list)
    for path in labels:
        by_id[path.stem].append(path)
    there = {path.stem for path in images}
    for name in sorted(by_id.keys() - there):
        raise DataError(f"{by_id[name][0]}: labels without a picture {name}")
    base = source.parent.parent if source.is_file() else source
    runs = read_tile_table(base / "tiles.csv") or {}
    spec = options.labels or CLASSES
    labelled = [path for path in images if path.stem in by_id]
    if len(labelled) < len(images):
        options.tell(f"{len(images) - len(labelled)} pictures without label file are left out")
    for path in sorted(labelled, key=lambda one: one.name):
        size = picture_size(path)
        row = runs.get(path.stem)
        mpp = (row.mpp if row else None) or options.mpp or MPP
        parts = []
        for file in by_id[path.stem]:
            nuclei = read_labels(file, spec, size=size)
            names = [spec.names[index] for index in nuclei.label.tolist()]
            parts.append(nucleus_labels(nuclei.points, names, annotators=file.parent.name))
        yield LabelledImage(
            name=path.name,
            size_px=size,
            mpp=(mpp, mpp),
            labels=join_labels(parts),
            file=path,
            slide=row.run if row else None,
        )


def _found(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return all pictures and label files of the published folder."""
    base = folder / "dataset" if (folder / "dataset").is_dir() else folder
    if not (base / "images").is_dir() or not (base / "labels").is_dir():
        raise DataError(f"{folder}: expected dataset/images and dataset/labels, or a master YAML")
    images = [path for path in (base / "images").iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    return images, sorted((base / "labels").glob("*/*/*.txt"))


def _listed(master: Path) -> tuple[list[Path], list[Path]]:
    """Return the pictures and label files that a master YAML names, each once."""
    try:
        content: Any = parse_yaml(master.read_text("utf-8-sig"))
        lists = [[master.parent / one for one in content[key]] for key in _KEYS]
    except (OSError, UnicodeDecodeError, YamlError, KeyError, TypeError) as error:
        raise DataError(
            f"{master}: not a list of EndoNuke ({error}); expected {' and '.join(_KEYS)}"
        ) from None
    both = [list(dict.fromkeys(path for one in files for path in _paths(one))) for files in lists]
    return both[0], sorted(both[1])


def _paths(listing: Path) -> list[Path]:
    try:
        lines = listing.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listing}: cannot be read ({error})") from None
    paths = [(listing.parent / line.strip()).resolve() for line in lines if line.strip()]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{listing}: names {path}, which is missing")
    return paths


_KEYS = ("images_lists", "labels_lists")
