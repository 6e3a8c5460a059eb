"""The picture of a result: marks where the nuclei are, words that can be read, same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shapely.geometry import MultiPolygon, box

from wsi_suite.geometry import Box, Roi, Scale
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei
from wsi_suite.overview import Caption, draw_overview
from wsi_suite.overview.caption import draw_caption
from wsi_suite.overview.insets import choose_fields, draw_field
from wsi_suite.overview.slide_map import draw_slide_map, mark_diameter
from wsi_suite.overview.style import (
    HOT_SPOT,
    PAPER,
    TISSUE,
    WARNING_PAPER,
    plain,
    shortened,
    width_of,
    wrapped,
)
from wsi_suite.qupath.objects import INTENSITY_COLOURS

CLASSES = ("Stroma", "Epithelium")
CAPTION = Caption(
    title="B12 ER.svs",
    headline="H-score 187",
    detail="Epithelium, 78.2 % positive",
    facts=("4.12 mm² of tissue", "ER", "endonuke-resnet18", "0.25 µm per pixel"),
    warnings=("Thresholds 0.2 / 0.4 / 0.6 are QuPath's defaults, not calibrated here.",),
)


def make_nuclei(points: np.ndarray, *, radius: float | None = 10.0) -> Nuclei:
    count = len(points)
    return Nuclei(
        x=points[:, 0].astype(np.float64),
        y=points[:, 1].astype(np.float64),
        confidence=np.ones(count, np.float32),
        label=(np.arange(count) % 2).astype(np.uint8),
        classes=CLASSES,
        outline=None if radius is None else np.full((count, 16), radius, np.float32),
    )


def scattered(count: int, *, side: float = 8000.0) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, side, (count, 2))


def white(box: Box) -> np.ndarray:
    return np.full((box.height, box.width, 3), 255, np.uint8)


def near(pixel: np.ndarray, colour: tuple[int, int, int], *, within: float = 45) -> bool:
    return bool(np.abs(pixel.astype(float) - colour).max() <= within)


# --- the slide -----------------------------------------------------------------------------------


def draw_map(points: np.ndarray, grades: np.ndarray, **more: object) -> np.ndarray:
    options = {
        "scale": Scale(10, 20),
        "mpp": (0.25, 0.25),
        "tissue": None,
        "rois": (),
        "unit": 20,
    } | more
    thumbnail = np.full((400, 800, 3), 255, np.uint8)
    return np.asarray(draw_slide_map(thumbnail, points=points, grades=grades, **options))


def test_marks_lie_on_their_nuclei_in_the_colour_of_their_intensity() -> None:
    points = np.array([[1000.0, 1000], [3000, 1000], [5000, 1000], [7000, 1000], [5000, 5000]])
    picture = draw_map(points, np.array([0, 1, 2, 3, NOT_MEASURABLE], np.uint8))
    for (x, y), colour in zip(points, [*INTENSITY_COLOURS, (140, 140, 140)], strict=True):
        assert near(picture[int(y / 20), int(x / 10)], colour)
    assert near(picture[100, 100], (255, 255, 255), within=0)


def test_nuclei_beyond_the_edge_are_not_drawn_at_the_other_side() -> None:
    points = np.array([[-30.0, 4000], [8030, 4000], [4000, -50], [4000, 8050]])
    picture = draw_map(points, np.full(4, 3, np.uint8))
    assert near(picture[150:250, 700:790].min(axis=(0, 1)), (255, 255, 255), within=0)


def test_tissue_and_regions_are_outlined() -> None:
    tissue = MultiPolygon([box(1000, 2000, 7000, 6000)])
    roi = Roi("Hot spot", None, MultiPolygon([box(3000, 3000, 5000, 5000)]))
    picture = draw_map(np.zeros((0, 2)), np.zeros(0, np.uint8), tissue=tissue, rois=(roi,))
    assert near(picture[200, 100], TISSUE)
    assert near(picture[250, 500], (26, 30, 36))
    assert near(picture[220, 400], (255, 255, 255), within=0)


def test_hot_spots_have_a_colour_of_their_own() -> None:
    spot = Roi("hot-spot 1", None, MultiPolygon([box(3000, 3000, 5000, 5000)]))
    picture = draw_map(np.zeros((0, 2)), np.zeros(0, np.uint8), hot_spots=(spot,))
    assert near(picture[250, 500], HOT_SPOT)


def test_artefacts_are_hatched_and_their_holes_are_not() -> None:
    hole = box(3500, 3500, 4500, 4500)
    area = MultiPolygon([box(3000, 3000, 5000, 5000).difference(hole)])
    plain = draw_map(np.zeros((0, 2)), np.zeros(0, np.uint8)).astype(int)
    hatched = draw_map(np.zeros((0, 2)), np.zeros(0, np.uint8), artefacts=(area,)).astype(int)
    changed = (plain != hatched).any(axis=2)
    assert 0.05 < changed[155:170, 305:495].mean() < 0.5
    assert not changed[180:220, 355:445].any()
    assert not changed[:145].any()


def test_marks_shrink_as_nuclei_crowd() -> None:
    size = (2000, 2000)
    diameters = [
        mark_diameter(scattered(count, side=2000), size=size) for count in (50, 10_000, 10**6)
    ]
    assert diameters == sorted(diameters, reverse=True)
    assert diameters[0] > 8
    assert diameters[-1] < 2
    # A few scattered nuclei say nothing about the crowd in which most of them are.
    crowd = np.concatenate([scattered(50, side=2000), scattered(10_000, side=100)])
    assert mark_diameter(crowd, size=size) == 1


def test_in_a_crowd_the_mixture_of_colours_is_that_of_intensities() -> None:
    count = 200_000
    grades = np.where(np.arange(count) < count * 0.7, 3, 0).astype(np.uint8)
    mean = draw_map(scattered(count), grades).mean(axis=(0, 1))
    pigments = np.array([INTENSITY_COLOURS[3], INTENSITY_COLOURS[0], (255, 255, 255)]).T
    red, blue, _ = np.linalg.solve(pigments, mean)
    assert red / (red + blue) == pytest.approx(0.7, abs=0.02)


# --- the close-ups -------------------------------------------------------------------------------


def test_fields_are_the_densest_a_typical_and_the_strongest() -> None:
    rng = np.random.default_rng(0)
    counts = {(2, 3): 60, (5, 5): 30, (7, 1): 30, (1, 7): 31, (4, 4): 29, (0, 0): 1}
    points = np.concatenate(
        [500 * (rng.uniform(0, 1, (n, 2)) + cell) for cell, n in counts.items()]
    )
    grades = np.concatenate(
        [np.full(n, 3 if cell in {(5, 5), (0, 0)} else 1) for cell, n in counts.items()]
    ).astype(np.uint8)
    fields = choose_fields(make_nuclei(points), grades, side_px0=500, size_px0=(4000, 4000))
    assert [(field.letter, field.reason) for field in fields] == [
        ("A", "densest"),
        ("B", "typical"),
        ("C", "strongest stain"),
    ]
    assert fields[0].box == Box(1000, 1500, 500, 500)
    assert fields[1].box in {Box(3500, 500, 500, 500), Box(500, 3500, 500, 500)}
    assert fields[2].box == Box(2500, 2500, 500, 500)


@given(count=st.integers(0, 40), seed=st.integers(0, 999), side=st.integers(50, 900))
def test_fields_lie_inside_and_do_not_depend_on_the_order(count: int, seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (count, 2)) * (1000, 900)
    grades = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), count)
    nuclei = make_nuclei(points)
    options = {"side_px0": side, "size_px0": (1000, 900)}
    fields = choose_fields(nuclei, grades, **options)
    assert (len(fields) > 0) == (count > 0)
    for field in fields:
        assert field.box.x >= 0
        assert field.box.y >= 0
        assert field.box.right <= 1000
        assert field.box.bottom <= 900
    order = rng.permutation(count)
    assert choose_fields(nuclei.take(order), grades[order], **options) == fields


def draw_close_up(nuclei: Nuclei, *, solid_class: str | None) -> np.ndarray:
    (field,) = choose_fields(nuclei, np.array([3], np.uint8), side_px0=400, size_px0=(400, 400))
    picture = draw_field(
        field,
        side=400,
        read=white,
        mpp=(0.25, 0.25),
        nuclei=nuclei,
        grades=np.array([3], np.uint8),
        solid_class=solid_class,
        unit=10,
    )
    return np.asarray(picture)


def test_outlines_are_drawn_along_their_rays() -> None:
    nuclei = make_nuclei(np.array([[200.0, 200]]))
    nuclei.outline[0] = np.linspace(40, 100, 16)  # ray k at 2 pi k / 16, x right, y down
    picture = draw_close_up(nuclei, solid_class=None)
    for k, radius in enumerate(nuclei.outline[0]):
        x = 200 + radius * np.cos(2 * np.pi * k / 16)
        y = 200 + radius * np.sin(2 * np.pi * k / 16)
        spot = picture[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].reshape(-1, 3)
        assert any(near(pixel, INTENSITY_COLOURS[3]) for pixel in spot)
    assert near(picture[200, 200], (255, 255, 255), within=0)


def test_outlines_of_other_compartments_are_broken() -> None:
    nuclei = make_nuclei(np.array([[200.0, 200]]), radius=60)

    def ink(solid_class: str | None) -> int:
        picture = draw_close_up(nuclei, solid_class=solid_class)[100:300, 100:300]
        return int((picture[..., 1] < 150).sum())

    assert ink("Stroma") == ink(None)
    assert 0.35 < ink("Epithelium") / ink("Stroma") < 0.75


def test_nuclei_without_outlines_get_a_ring() -> None:
    nuclei = make_nuclei(np.array([[200.0, 200]]), radius=None)
    picture = draw_close_up(nuclei, solid_class=None)
    assert near(picture[200, 206], INTENSITY_COLOURS[3], within=90)  # 1.5 um at 0.25 um/px


# --- words ---------------------------------------------------------------------------------------


@given(text=st.text(max_size=60), width=st.integers(60, 600), size=st.integers(8, 40))
def test_text_stays_within_its_width(text: str, width: int, size: int) -> None:
    assert width_of(shortened(plain(text), size=size, width=10 * width), size=size) <= 10 * width
    words = plain(text).split()
    lines = wrapped(words, size=size, width=10 * width)
    assert all(width_of(line, size=size) <= 10 * width for line in lines)
    assert " ".join(lines).split() == words or "..." in " ".join(lines)


def test_plain_keeps_names_readable() -> None:
    assert plain("Müller & Søn, 4.1 mm² at 0.25 µm") == "Muller & Son, 4.1 mm2 at 0.25 um"
    assert plain("切片 7") == "?? 7"


@pytest.mark.parametrize("width", [900, 2600])
def test_captions_are_not_clipped(width: int) -> None:
    long = Caption(
        title="a very long slide name " * 12 + ".svs",
        headline="No H-score",
        detail="no nucleus of Epithelium is positive, so there is nothing to weigh " * 3,
        facts=("fact number one",) * 20,
        warnings=("a warning of many words that has to go on in another line " * 6,) * 3,
    )
    nuclei = make_nuclei(scattered(999))
    grades = np.resize(np.array([0, 1, 2, 3, 255], np.uint8), 999)
    strip = np.asarray(draw_caption(long, width=width, unit=28, nuclei=nuclei, grades=grades))
    assert strip.shape[1] == width
    ink = np.abs(strip.astype(int) - PAPER).max(axis=2) > 60
    plate = int(np.flatnonzero((strip[:, 40] == WARNING_PAPER).all(axis=1))[0])
    left = ink[:plate, : int(width * 0.45)]
    assert left.any()
    assert not left[:, -1].any()
    # Warnings stand on a plate with a margin inside; no letter touches its lower or right edge.
    assert not ink[-5:, 20:].any()
    assert not ink[-28:, -5:].any()


def test_bars_show_the_share_of_each_intensity() -> None:
    nuclei = make_nuclei(scattered(400)).take(np.arange(0, 400, 2))  # stroma only
    grades = np.repeat(np.array([0, 1, 2, 3], np.uint8), [100, 50, 30, 20])
    strip = np.asarray(draw_caption(CAPTION, width=2000, unit=30, nuclei=nuclei, grades=grades))
    row = strip[round(1.7 * 30) + 1]
    lengths = [int((row == colour).all(axis=1).sum()) for colour in INTENSITY_COLOURS]
    np.testing.assert_allclose(np.array(lengths) / sum(lengths), [0.5, 0.25, 0.15, 0.1], atol=0.005)


# --- the sheet -----------------------------------------------------------------------------------


def draw_sheet(path: Path, *, count: int, size: tuple[int, int] = (1000, 800)) -> np.ndarray:
    points = np.random.default_rng(3).uniform(0, 1, (count, 2)) * np.array(size) * 8
    draw_overview(
        path,
        thumbnail=np.full((size[1], size[0], 3), 240, np.uint8),
        scale=Scale(8, 8),
        mpp=(0.25, 0.25),
        nuclei=make_nuclei(points),
        grades=np.resize(np.array([0, 1, 2, 3, 255], np.uint8), count),
        caption=CAPTION,
        read=white,
        tissue=MultiPolygon([box(800, 800, 7200, 5600)]),
        solid_class="Epithelium",
    )
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(
    ("count", "size"),
    [(0, (600, 500)), (1, (600, 500)), (2000, (1300, 200)), (2000, (200, 1300)), (50, (60, 50))],
)
def test_any_slide_gets_a_whole_sheet(tmp_path: Path, count: int, size: tuple[int, int]) -> None:
    sheet = draw_sheet(tmp_path / "overview.png", count=count, size=size)
    assert sheet.ndim == 3
    assert max(sheet.shape) < 4000
    for border in (sheet[:20], sheet[-20:], sheet[:, :20], sheet[:, -20:]):
        assert (border == PAPER).all()
    assert [file.name for file in tmp_path.iterdir()] == ["overview.png"]


def test_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    draw_sheet(tmp_path / "a.png", count=300, size=(300, 200))
    draw_sheet(tmp_path / "b.png", count=300, size=(300, 200))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
