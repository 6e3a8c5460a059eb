"""Random datasets, with names and classes as people have them, out and back in each format."""

import random

import numpy as np
import pytest
import shapely
from PIL import Image

from wsi_suite.datasets.card import DatasetCard
from wsi_suite.datasets.collecting import make_dataset
from wsi_suite.datasets.formats import ReadOptions, WriteOptions, reader_of, writer_of
from wsi_suite.datasets.labelled_image import UNGRADED, LabelledImage, nucleus_labels
from wsi_suite.datasets.store import open_dataset, read_images

NAMES = (
    *("a.png", "a b.png", "ä ö.png", "sub/a.png", "sub.x/d.1.2.jpg", "c.tif", "好.png", "e#1.png"),
    *("50%.png", "a%20b.png", "[x].PNG", "0123abcd-z.png", "images/i.png", "train/images/k.png"),
    *("labels/l.png", "1.0.png", "g&h.png", "semi;colon.png", "com,ma.png"),
)
CLASSES = (
    "Ünï 好",
    "A, B",
    'it\'s "q"',
    "a/b",
    "0",
    "=1+2",
    "None",
    "-",
    "yes",
    "missed",
    "<b> & c",
)
HELD = {
    "tiles": {"mpp"},
    "points": {"grade", "annotator", "mpp", "patient", "slide"},
    "coco": {"outline", "grade", "annotator", "mpp", "patient", "slide", "split"},
    "yolo": {"split"},
    "cvat": {"grade", "annotator"},
    "label-studio": {"annotator"},
    "geojson": {"outline", "grade"},
}
SUFFIXES = {"points": (".csv", ".parquet"), "coco": (".json",), "cvat": (".xml",),
            "label-studio": (".json",)}  # fmt: skip


def nuclei(rng, size):
    """Return points on whole, half and other places, and some outlines about their centroids."""
    width, height = size
    points, outlines = [], []
    for _ in range(rng.choice((0, 1, 6))):
        place = (rng.choice((rng.uniform(6, end - 6), float(rng.randint(6, end - 6)), end / 2))
                 for end in (width, height))  # fmt: skip
        shape = shapely.Point(*place).buffer(rng.uniform(2, 5), quad_segs=rng.choice((1, 3)))
        points.append(shape.centroid.coords[0])
        outlines.append(rng.choice((None, shape)))
    count = len(points)
    return nucleus_labels(
        points,
        [rng.choice(CLASSES) for _ in range(count)],
        outlines=outlines,
        radii_px=[rng.uniform(1, 9) for _ in range(count)],
        annotators=[rng.choice((None, "ann", "bob@x.y")) for _ in range(count)],
        grades=[rng.choice((0, 1, 2, 3, UNGRADED)) for _ in range(count)],
    )


@pytest.fixture
def dataset(tmp_path, request):
    rng = random.Random(request.param)
    images = []
    for name in sorted(rng.sample(NAMES, 5)):
        size = rng.randint(20, 60), rng.randint(20, 60)
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(images)).integers(0, 255, (*size[::-1], 3), np.uint8)
        Image.fromarray(pixels).save(path)
        mpp = rng.choice((0.5, 0.4987))
        facts = {"patient": rng.choice((None, "P;2")), "slide": rng.choice((None, "=S"))}
        images.append(
            LabelledImage(
                name, size, (mpp, mpp), nuclei(rng, size), file=path,
                split=rng.choice(("train", "val", "test")), **facts,
            )
        )  # fmt: skip
    make_dataset(tmp_path / "mine", DatasetCard(name="mine"), images, message="")
    return list(read_images(open_dataset(tmp_path / "mine")))


def rows_of(image, held):
    labels = image.labels
    return sorted(
        (
            *np.round(labels.points[row], 6).tolist(),
            labels.class_names[row],
            labels.grades[row] if "grade" in held else None,
            labels.annotators[row] or "" if "annotator" in held else None,
            labels.outlines[row] is not None if "outline" in held else None,
        )
        for row in range(len(labels))
    )


@pytest.mark.parametrize("dataset", range(5), indirect=True)
@pytest.mark.parametrize("name", HELD)
def test_what_a_format_holds_comes_back_from_random_datasets(dataset, tmp_path, name):
    own = name in ("tiles", "yolo")
    given = ReadOptions(images=None if own else tmp_path / "mine" / "images", mpp=0.5, tell=print)
    for suffix in SUFFIXES.get(name, ("",)):
        out = tmp_path / f"out{suffix}"
        writer_of(name)(dataset, out, WriteOptions())
        found = {one.name: one for one in reader_of(name)(out, given)}
        for image in dataset:
            written = image.name.replace("/", "_") if name == "tiles" else image.name
            if name == "points" and not len(image.labels):
                assert written not in found
                continue
            after = found.pop(written)
            assert rows_of(after, HELD[name]) == rows_of(image, HELD[name])
            for fact in {"patient", "slide", "split", "mpp"} & HELD[name]:
                assert getattr(after, fact) == getattr(image, fact), fact
        assert not found
