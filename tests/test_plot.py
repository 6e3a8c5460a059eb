"""Nuclei drawn in axes of matplotlib."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from bench import Bench
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnchoredOffsetbox
from PIL import Image

import wsi_suite as ws
from wsi_suite.colours import class_colour
from wsi_suite.nuclei.outlines import outline_rings
from wsi_suite.overview import plot_marks, style
from wsi_suite.slides.pictures import as_slide

DAB = "Nucleus: DAB OD mean"
GREEN, RED = (0, 160, 0), (200, 0, 0)


def make_nuclei(count: int = 40, **fields: Any) -> ws.Nuclei:
    """Return nuclei in a picture of 400 x 300 pixels, the last of which is nowhere."""
    rng = np.random.default_rng(0)
    given: dict[str, Any] = {
        "x": np.r_[rng.uniform(0, 400, count - 1), np.nan],
        "y": np.r_[rng.uniform(0, 300, count - 1), np.nan],
        "confidence": rng.uniform(0.3, 1, count).astype(np.float32),
        "label": (np.arange(count) % 2).astype(np.uint8),
        "classes": ("Stroma", "Epithelium"),
        "measurements": {DAB: np.linspace(0, 1, count).astype(np.float32)},
        "outline": np.full((count, 16), 6, np.float32),
    }
    return ws.Nuclei(**{**given, **fields})


def two_nuclei(**fields: Any) -> ws.Nuclei:
    given: dict[str, Any] = {"x": np.array([100.0, 300.0]), "y": np.array([50.0, 200.0])}
    return make_nuclei(2, **{**given, **fields})


@pytest.fixture
def picture() -> np.ndarray:
    """400 x 300 pixels, green on the left and red on the right."""
    pixels = np.empty((300, 400, 3), np.uint8)
    pixels[:, :200], pixels[:, 200:] = GREEN, RED
    return pixels


@pytest.fixture
def ax() -> Axes:
    """Axes that pyplot does not know."""
    figure = Figure(figsize=(6, 6))
    FigureCanvasAgg(figure)
    return figure.add_subplot()


@pytest.fixture(autouse=True)
def _no_figures_left() -> Iterator[None]:
    yield
    pyplot.close("all")


def drawn(axes: Axes) -> np.ndarray:
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]


def colour_at(axes: Axes, x: float, y: float) -> tuple[int, ...]:
    """Return the colour that the axes show at a place in level-0 pixels."""
    pixels = drawn(axes)
    column, row = axes.transData.transform((x, y))
    return tuple(pixels[pixels.shape[0] - 1 - int(row), int(column)].tolist())


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def one(axes: Axes, kind: type) -> Any:
    (found,) = [artist for artist in axes.get_children() if type(artist) is kind]
    return found


def test_pixels_and_nuclei_are_where_they_are_on_the_slide(ax: Axes, picture: np.ndarray) -> None:
    assert ws.plot(two_nuclei(), picture, mpp=0.5, ax=ax, by="class") is ax
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 400), (300, 0))
    assert colour_at(ax, 150, 50) == GREEN
    assert colour_at(ax, 250, 200) == RED
    for x, y, label, beneath in ((100, 50, 0, GREEN), (300, 200, 1, RED)):
        edge, inside = colour_at(ax, x + 6, y), colour_at(ax, x, y)
        own = 255 * np.array(to_rgb(class_colour(label)))
        assert np.abs(np.array(edge) - own).max() < 60
        mixed = 0.15 * own + 0.85 * np.array(beneath)
        assert np.abs(np.array(inside) - mixed).max() <= 2


def test_picture_is_cut_to_the_box_and_shrunk(ax: Axes, picture: np.ndarray) -> None:
    ws.plot(two_nuclei(), picture, mpp=0.5, ax=ax, box=(150, 20, 900, 100), max_px=25)
    assert (ax.get_xlim(), ax.get_ylim()) == ((150, 400), (120, 20))
    (image,) = ax.images
    assert image.get_array().shape == (10, 25, 3)
    assert image.get_extent() == [150, 400, 120, 20]
    assert np.array_equal(image.get_array()[0], [GREEN] * 5 + [RED] * 20)
    assert legend_of(ax) == ["no nuclei"]


def test_sources_of_pixels_give_the_same_picture(bench: Bench, tmp_path: Path) -> None:
    with ws.open_slide(bench.slide) as slide:
        pixels = slide.read_level(0, ws.Box(0, 0, 600, 560))
        nuclei = two_nuclei(mpp=(0.25, 0.25))
        images = [
            np.asarray(ws.plot(nuclei, on, box=(50, 60, 200, 100)).images[0].get_array())
            for on in (slide, bench.slide, str(bench.slide), pixels, Image.fromarray(pixels))
        ]
        assert not slide.closed
    Image.fromarray(pixels).save(tmp_path / "no_pixel_size.png")
    axes = ws.plot(two_nuclei(), tmp_path / "no_pixel_size.png", box=(50, 60, 200, 100))
    images.append(np.asarray(axes.images[0].get_array()))
    assert all(np.array_equal(image, pixels[60:160, 50:250]) for image in images)


def test_outlines_start_at_detected_points(ax: Axes) -> None:
    nuclei = two_nuclei(detected=np.array([[104.0, 52.0], [298.0, 199.0]]))
    ws.plot(nuclei, ax=ax)
    rings = outline_rings(nuclei.detected_points, nuclei.outline)
    paths = one(ax, PolyCollection).get_paths()
    assert [path.vertices[:-1].tolist() for path in paths] == rings.tolist()


def test_many_nuclei_and_those_without_outline_are_points(
    ax: Axes, monkeypatch: pytest.MonkeyPatch
) -> None:
    nuclei = make_nuclei(40)
    monkeypatch.setattr(plot_marks, "MOST_OUTLINES", 38)
    ws.plot(nuclei, ax=ax)
    points = one(ax, PathCollection)
    assert points.get_rasterized()
    assert sorted(points.get_offsets().tolist()) == sorted(nuclei.points[:-1].tolist())
    places = map(tuple, points.get_offsets().tolist())
    shown = dict(zip(places, points.get_facecolors(), strict=True))
    for point, label in zip(nuclei.points[:-1].tolist(), nuclei.label, strict=False):
        assert tuple(shown[tuple(point)][:3]) == to_rgb(class_colour(label))

    ax.clear()
    monkeypatch.setattr(plot_marks, "MOST_OUTLINES", 39)
    ws.plot(nuclei, ax=ax)
    assert len(one(ax, PolyCollection).get_paths()) == 39

    ax.clear()
    assert nuclei.outline is not None
    nuclei.outline[:10] = np.nan
    ws.plot(nuclei, ax=ax)
    assert len(one(ax, PolyCollection).get_paths()) == 29
    assert len(one(ax, PathCollection).get_offsets()) == 10


def test_legend_counts_the_nuclei_in_the_box(ax: Axes) -> None:
    nuclei = make_nuclei(1001)
    ws.plot(nuclei, ax=ax, box=ws.Box(100, 50, 100, 100))
    inside = (nuclei.x >= 100) & (nuclei.x < 200) & (nuclei.y >= 50) & (nuclei.y < 150)
    assert legend_of(ax) == [
        f"{name} ({np.sum(inside & (nuclei.label == label)):,})"
        for label, name in enumerate(nuclei.classes)
    ]
    assert len(one(ax, PolyCollection).get_paths()) == inside.sum() > 0


def test_values_have_one_scale_whatever_the_box_and_gaps_are_grey(ax: Axes) -> None:
    nuclei = make_nuclei(1000, measurements={DAB: np.linspace(0, 1, 1000, dtype=np.float32)})
    nuclei.measurements[DAB][::10] = np.nan
    low, high = np.nanpercentile(nuclei.measurements[DAB].astype(float), [1, 99])
    for box in ((0, 0, 400, 300), (0, 0, 200, 300)):
        axes = ws.plot(nuclei, by=DAB, box=box)
        bar = axes.get_figure().axes[1]
        assert bar.get_ylabel() == DAB
        assert bar.get_ylim() == pytest.approx((low, high))
        rows = np.flatnonzero(nuclei.x < box[2])
        faces = one(axes, PolyCollection).get_facecolors()[:, :3]
        values = nuclei.measurements[DAB][rows]
        missing = np.isnan(values)
        assert np.allclose(faces[missing], np.array(style.GRADE_COLOURS[-1]) / 255)
        expected = mpl.colormaps["viridis"](mpl.colors.Normalize(low, high)(values[~missing]))
        assert np.allclose(faces[~missing], expected[:, :3])
        assert legend_of(axes) == [f"not measurable ({missing.sum()})"]


def test_nuclei_are_coloured_by_confidence_or_by_an_array() -> None:
    nuclei = make_nuclei(40, measurements={})
    for by in ("confidence", "Detection probability", nuclei.confidence.astype(np.float64)):
        faces = one(ws.plot(nuclei, by=by), PolyCollection).get_facecolors()
        assert np.argmin(faces[:, 1]) == np.argmin(nuclei.confidence[:-1])


def test_grades_have_the_colours_of_qupath(ax: Axes) -> None:
    grades = np.r_[np.arange(4), 255].astype(np.uint8)
    nuclei = make_nuclei(6)
    ws.plot(nuclei, by=np.r_[grades, 0].astype(np.uint8), ax=ax)
    assert legend_of(ax) == ["Negative (1)", "1+ (1)", "2+ (1)", "3+ (1)", "not measurable (1)"]
    edges = one(ax, PolyCollection).get_edgecolors()[:, :3]
    assert np.allclose(255 * edges, style.GRADE_COLOURS)


@pytest.mark.parametrize(
    ("mpp", "stated", "bar"),
    [
        (None, (0.5, 0.5), (40, "20 um")),
        (None, (0.25, 0.25), (40, "10 um")),
        (0.1, (0.5, 0.5), (50, "5 um")),
        (50.0, None, (40, "2 mm")),
    ],
)
def test_scale_bar_has_the_length_that_it_tells(
    ax: Axes,
    mpp: float | None,
    stated: tuple[float, float] | None,
    bar: tuple[float, str],
) -> None:
    # It takes a sixth of the width at most, and is 1, 2 or 5 times a power of ten.
    ws.plot(make_nuclei(mpp=stated), ax=ax, mpp=mpp, box=(0, 0, 400, 300))
    plate = one(ax, AnchoredOffsetbox)
    (line,) = plate.findobj(Line2D)
    assert np.ptp(line.get_xdata()) == pytest.approx(bar[0])
    assert bar[1] in [text.get_text() for text in plate.findobj(mpl.text.Text)]


def test_without_a_pixel_size_there_is_no_scale_bar(ax: Axes, picture: np.ndarray) -> None:
    ws.plot(make_nuclei(), picture, ax=ax)
    assert not [each for each in ax.get_children() if isinstance(each, AnchoredOffsetbox)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "Nucleus: DAB OD men"}, r"no measurement .*did you mean 'Nucleus: DAB OD mean'"),
        ({"by": "size"}, "expected 'class', 'confidence', 'Nucleus: DAB OD mean', or an array"),
        ({"by": np.zeros(3)}, r"an array of shape \(3,\); expected \(40,\)"),
        ({"by": np.full(40, 7)}, "by: 7 is no grade; expected 0 to 3, or 255"),
        ({"by": np.full(40, "a")}, "by: an array of <U1; expected numbers"),
        ({"box": (0, 0, 0, 9)}, r"box=\(0, 0, 0, 9\): has no pixels"),
        ({"box": (0, 0, 9)}, r"box=\(0, 0, 9\): expected a Box, or x, y, width and height"),
        ({"box": (0, 0, np.nan, 9)}, "expected a Box, or x, y, width and height"),
        ({"box": (500, 0, 9, 9)}, r"box \(x 500, y 0, 9 x 9 px\) holds no nuclei; they lie at x"),
        ({"max_px": 0}, "max_px=0: expected 1 or more"),
        ({"mpp": 0}, "mpp=0: expected um per pixel"),
        ({"on": [[0]]}, "a list: expected a path, a Slide"),
        ({"on": "nowhere.svs"}, "nowhere.svs"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ws.WsiSuiteError, match=message) as refused:
        ws.plot(make_nuclei(), **arguments)
    assert "\n" not in str(refused.value)
    assert not pyplot.get_fignums()


def test_another_slide_is_refused(picture: np.ndarray) -> None:
    nuclei = make_nuclei(mpp=(0.5, 0.5))
    with pytest.raises(ws.WsiSuiteError, match="lies outside of picture, which is 400 x 300 px"):
        ws.plot(nuclei, picture, box=(400, 0, 10, 10))
    with pytest.raises(ws.WsiSuiteError, match="of 40 nuclei lie outside of its 200 x 300 px"):
        ws.plot(nuclei, picture[:, :200])
    with pytest.raises(ws.WsiSuiteError, match=r"0.25 um per pixel, but .* found at 0.5"):
        ws.plot(nuclei, as_slide(picture, mpp=0.25))
    assert ws.plot(nuclei, as_slide(picture, mpp=0.25), mpp=0.5).images
    with pytest.raises(ws.WsiSuiteError, match="a str: expected Nuclei, as in found"):
        ws.plot("nuclei.parquet")  # type: ignore[arg-type]


def test_matplotlib_is_left_as_it_was(ax: Axes, picture: np.ndarray) -> None:
    settings, backend = dict(mpl.rcParams), mpl.get_backend()
    ws.plot(make_nuclei(), picture, ax=ax, by=DAB)
    assert not pyplot.get_fignums()
    axes = ws.plot(make_nuclei(), picture, by=DAB)
    assert pyplot.get_fignums() == [1]
    assert pyplot.figure(1) is axes.get_figure()
    assert (dict(mpl.rcParams), mpl.get_backend()) == (settings, backend)


@pytest.mark.parametrize(
    "nuclei",
    [
        ws.Nuclei.empty(("A",)),
        make_nuclei(1),
        two_nuclei().take(np.array([0])),
        make_nuclei(classes=("<b>bold</b>", "Ångström")),
        make_nuclei(classes=("$x_1", "_hidden")),
        make_nuclei(classes=()),
        make_nuclei(classes=("x" * 300, "")),
        make_nuclei(outline=None),
        make_nuclei(outline=np.full((40, 16), np.nan, np.float32)),
        make_nuclei(y=np.r_[np.full(39, 7.0), np.nan], x=np.arange(0, 40e4, 1e4)),
    ],
    ids=["none", "nowhere", "one", "html", "maths", "no classes", "long", "points", "gaps", "wide"],
)
@pytest.mark.parametrize("by", ["class", "confidence"])
def test_odd_tables_are_drawn(nuclei: ws.Nuclei, by: str) -> None:
    axes = ws.plot(nuclei, by=by)
    assert drawn(axes).size
    names = [text.rpartition(" (")[0] for text in legend_of(axes)]
    if by == "class" and nuclei.classes == ("$x_1", "_hidden"):
        assert names == ["$x_1", "_hidden"]


def test_slide_of_a_run_is_drawn_with_its_nuclei(bench: Bench) -> None:
    found = ws.analyse(bench.slide, settings=bench.settings())
    axes = ws.plot(found.nuclei, bench.slide, by=found.grades)
    assert len(one(axes, PolyCollection).get_paths()) == len(found)
    assert one(axes, AnchoredOffsetbox)
