"""Masks of COCO in run lengths become outlines of just their pixels."""

import json

import numpy as np
import pytest
import shapely
from PIL import Image

from wsi_suite.datasets.formats import ReadOptions, reader_of
from wsi_suite.datasets.run_lengths import outline_of_runs
from wsi_suite.errors import DataError


def lengths(mask):
    """Run lengths of a mask, column by column, from the zeros on."""
    flat = np.concatenate([[0], mask.T.ravel(), [0]]).astype(int)
    borders = np.flatnonzero(np.diff(flat))
    return np.diff([0, *borders, mask.size]).tolist()


def packed(counts):
    """The numbers as the COCO API writes them (rleToString)."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits, value = value & 0x1F, value >> 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr((bits | (0x20 if more else 0)) + 48)
    return text


@pytest.mark.parametrize("pack", [list, packed])
@pytest.mark.parametrize("seed", range(8))
def test_the_outline_is_that_of_the_pixels(seed, pack):
    rng = np.random.default_rng(seed)
    mask = rng.random((rng.integers(1, 40), rng.integers(1, 90))) < rng.random()
    outline = outline_of_runs(
        {"size": mask.shape, "counts": pack(lengths(mask))}, size=mask.shape[::-1]
    )
    if outline is None:
        assert not mask.any()
        return
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]] + 0.5
    assert (shapely.contains_xy(outline, x, y) == mask).all()
    assert outline.area == mask.sum()
    assert outline.centroid.x == pytest.approx(x[mask].mean())


def test_the_text_that_pycocotools_makes():
    # pycocotools 2.0: encode(asfortranarray(m)) of 10 x 12 zeros with m[2:5, 3:6] = 1
    outline = outline_of_runs({"size": [10, 12], "counts": "P137000j1"}, size=(12, 10))
    assert outline is not None
    assert outline.equals(shapely.box(3, 2, 6, 5))


@pytest.fixture
def coco(tmp_path):
    Image.new("RGB", (20, 10), "white").save(tmp_path / "a.png")

    def write(*annotations):
        entries = [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], **one}
            for n, one in enumerate(annotations)
        ]
        document = {
            "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
            "categories": [{"id": 1, "name": "Stroma"}],
            "annotations": entries,
        }
        (tmp_path / "a.json").write_text(json.dumps(document))
        said = []
        options = ReadOptions(mpp=0.5, tell=said.append)
        (image,) = reader_of("coco")(tmp_path / "a.json", options)
        return image, said

    return write


def test_a_mask_is_a_nucleus_and_a_crowd_is_none(coco):
    mask = np.zeros((10, 20), bool)
    mask[2:6, 4:10] = True
    crowd = np.zeros((10, 20), bool)
    crowd[:, 15:] = True
    image, said = coco(
        {"segmentation": {"size": [10, 20], "counts": packed(lengths(mask))}},
        {"segmentation": {"size": [10, 20], "counts": lengths(crowd)}, "iscrowd": 1},
    )
    assert image.labels.points.tolist() == [[7, 4]]
    assert image.labels.outlines[0].area == 24
    assert image.annotated.equals(shapely.box(0, 0, 15, 10))
    assert "1 crowds" in said[0]


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        ({"size": [20, 10], "counts": [200]}, "a mask of 10 x 20 px"),
        ({"size": [10, 20], "counts": [20, 10]}, "30 px, expected 200"),
        ({"size": [10, 20], "counts": [210, -10]}, "200 px, expected|run lengths"),
        ({"size": [10, 20], "counts": "P137000~1"}, "character '~'"),
        ({"size": [10, 20], "counts": "P137000j"}, "break off"),
        ({"size": [10, 20]}, "no 'counts'"),
    ],
)
def test_a_damaged_mask_is_refused(coco, mask, why):
    with pytest.raises(DataError, match=why):
        coco({"segmentation": mask})
