from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from shapely.geometry import MultiPolygon, Point, Polygon
from shapely.geometry import box as rectangle

from wsi_suite.geometry import Box, Roi, Scale
from wsi_suite.slides.chunks import (
    chunk_shape,
    chunks_in_rois,
    chunks_with_tissue,
    whiten_unwanted,
)


@dataclass(frozen=True)
class Mask:
    mask: np.ndarray
    scale: Scale


@settings(max_examples=40)  # each looks at every chunk
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([(1.0, 8.0), (2.0, 16.0), (1.37, 11.3), (4.0, 3.0)]),
    st.integers(0, 2**32 - 1),
)
def test_tissue_under_a_chunk_is_found_as_by_looking_at_each_mask_pixel(
    width, height, scales, seed
):
    scale, mask_scale = Scale(scales[0], scales[0]), Scale(scales[1], scales[1])
    mask_shape = [max(1, round(side * scale.x / mask_scale.x)) for side in (height, width)]
    mask = np.random.default_rng(seed).random(mask_shape) < 0.2
    found = chunks_with_tissue(
        Mask(mask, mask_scale), width=width, height=height, scale=scale, chunk_px=16
    )
    assert found.shape == chunk_shape(width, height, chunk_px=16)
    for row, col in np.ndindex(found.shape):
        chunk = Box(col * 16, row * 16, 16, 16).intersect(Box(0, 0, width, height))
        top, left = chunk.y * scale.y / mask_scale.y, chunk.x * scale.x / mask_scale.x
        bottom = chunk.bottom * scale.y / mask_scale.y - 1e-6
        right = chunk.right * scale.x / mask_scale.x - 1e-6
        rows = np.arange(mask.shape[0]).clip(int(top + 1e-6), int(bottom))
        cols = np.arange(mask.shape[1]).clip(int(left + 1e-6), int(right))
        # A chunk wholly beyond the rounded mask looks at the mask's last pixels.
        rows, cols = rows.clip(0, mask.shape[0] - 1), cols.clip(0, mask.shape[1] - 1)
        assert found[row, col] == mask[np.ix_(rows, cols)].any()


def test_one_tissue_pixel_wants_the_one_chunk_over_it():
    mask = np.zeros((32, 48), dtype=bool)
    mask[15, 16] = True  # level-0 rows 240..256, columns 256..272
    found = chunks_with_tissue(
        Mask(mask, Scale(16, 16)), width=384, height=256, scale=Scale(2, 2), chunk_px=64
    )
    assert np.argwhere(found).tolist() == [[1, 2]]


def roi(*polygons: Polygon) -> Roi:
    return Roi("Region 1", None, MultiPolygon(polygons))


def test_a_roi_wants_the_chunks_it_shares_area_with_and_not_those_it_touches():
    raster = {"width": 400, "height": 300, "scale": Scale(2, 2), "chunk_px": 64}
    # One chunk spans 128 level-0 pixels; this rectangle is chunks (1..2, 1) exactly.
    found = chunks_in_rois([roi(rectangle(128, 128, 256, 384))], **raster)
    assert np.argwhere(found).tolist() == [[1, 1], [2, 1]]
    found = chunks_in_rois([roi(rectangle(128, 128, 257, 384))], **raster)
    assert np.argwhere(found).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_rois_with_holes_several_parts_and_none():
    raster = {"width": 640, "height": 640, "scale": Scale(1, 1), "chunk_px": 64}
    ring = Point(320, 320).buffer(300).difference(Point(320, 320).buffer(200))
    found = chunks_in_rois(
        [roi(ring), roi(rectangle(0, 0, 5, 5), rectangle(630, 1, 700, 2))], **raster
    )
    assert found[0, 0]
    assert found[0, 9]
    assert not found[5, 5]
    expected = [
        [ring.intersection(rectangle(x, y, x + 64, y + 64)).area > 0 for x in range(0, 640, 64)]
        for y in range(0, 640, 64)
    ]
    expected[0][0] = expected[0][9] = True
    assert found.tolist() == expected
    assert not chunks_in_rois([], **raster).any()
    assert not chunks_in_rois([roi(rectangle(900, 900, 950, 950))], **raster).any()


@given(
    npst.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))),
    st.integers(-20, 150),
    st.integers(-20, 150),
    st.integers(0, 90),
)
def test_whitening_clears_unwanted_chunks_and_nothing_else(wanted, x, y, side):
    box = Box(x, y, side, side)
    pixels = np.full((side, side, 3), 7, dtype=np.uint8)
    whiten_unwanted(pixels, box, wanted=wanted, chunk_px=8)
    rows, cols = wanted.shape
    frame = np.full((rows * 8, cols * 8), 7)
    frame[~np.kron(wanted, np.ones((8, 8), dtype=bool))] = 255
    expected = np.pad(frame, 300, constant_values=7)[
        y + 300 : y + 300 + side, x + 300 : x + 300 + side
    ]
    assert (pixels == expected[..., None]).all()
