"""Nuclei drawn on their slide, in axes of matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox, TextArea, VPacker

from wsi_suite.cards import cut
from wsi_suite.errors import InputError, PixelSizeError
from wsi_suite.geometry import Box, Points
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.overview.plot_marks import draw_marks, points_per_px0
from wsi_suite.overview.plot_shades import By, Shades, shade
from wsi_suite.overview.style import INK, PAPER, round_length
from wsi_suite.slides.pictures import Picture, as_slide
from wsi_suite.slides.slide import Slide, open_slide

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BoxLike: TypeAlias = Box | Sequence[float]
"""A box, or its x, y, width and height."""

_LONGEST_IN = 7.0
_SHORTEST_IN = 1.6
_WIDE = 2.5  # from this ratio of width to height on, a colour bar stands below
_FLAT_PT = 50.0
_OUTSIDE_SHARE = 0.05
_UNLIKE_MPP = 0.05


def plot(
    nuclei: Nuclei,
    on: str | Path | Slide | Picture | None = None,
    *,
    box: BoxLike | None = None,
    by: By = "class",
    mpp: float | None = None,
    ax: Axes | None = None,
    max_px: int = 2000,
) -> Axes:
    """Draw nuclei, on the picture of their slide if it is given.

    Axes are in level-0 pixels, y downward, as in QuPath. Up to 20,000 nuclei have their outlines;
    more, and nuclei without, are points.

    Parameters
    ----------
    nuclei
        The nuclei.
    on
        Their slide: its file, or as it was opened. Or the whole of it as a picture in memory:
        ``(H, W, 3)`` uint8 RGB, or an image of Pillow.
    box
        What to show, level-0 pixels: a :class:`Box`, or x, y, width and height. By default the
        whole slide, or without one the place of all nuclei.
    by
        What nuclei are coloured by: ``class``, ``confidence``, the name of a measurement, or an
        array with a value for each: grades of intensity as whole numbers, as
        :attr:`Analysed.grades` has them, or other values as floats.
    mpp
        um per level-0 pixel, for the scale bar; by default that of the slide, or of the nuclei.
    ax
        Axes to draw in; by default those of a new figure.
    max_px
        Longest side of the picture beneath; more shows finer detail and takes longer.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, to add to, or to save with ``axes.figure.savefig(...)``.

    Raises
    ------
    SlideError
        The slide cannot be read.
    InputError
        `by` names no measurement, or has another length than the nuclei; the box is empty, lies
        outside the slide, or holds no nuclei without a slide; or the nuclei are of another slide.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> nuclei, _ = ws.read_nuclei("results/B12_ER/nuclei.parquet")
    >>> axes = ws.plot(nuclei, "slides/B12_ER.svs")
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['Stroma (192)', 'Epithelium (51)']
    >>> box = ws.Box(200, 100, 400, 300)
    >>> field = ws.plot(nuclei, "slides/B12_ER.svs", box=box, by="Nucleus: DAB OD mean")
    >>> field.figure.savefig("field.png", dpi=150)
    """
    if not isinstance(nuclei, Nuclei):
        raise InputError(f"a {type(nuclei).__name__}: expected Nuclei, as in found.nuclei")
    if max_px < 1:
        raise InputError(f"max_px={max_px}: expected 1 or more")
    if mpp is not None and not 0 < mpp < np.inf:
        raise InputError(f"mpp={mpp:g}: expected um per pixel, as in mpp=0.25")
    wanted = None if box is None else _box_of(box)
    scene = (
        _empty_scene(nuclei, wanted) if on is None else _scene_on(on, nuclei, wanted, mpp, max_px)
    )
    rows = np.flatnonzero(scene.box.contains(nuclei.points))
    shades = shade(nuclei, by, rows=rows)
    is_ours = ax is None
    axes = _new_axes(scene.box, shades) if ax is None else ax
    _draw_picture(axes, scene)
    draw_marks(axes, nuclei.take(rows), shades, on_picture=scene.pixels is not None)
    size = (mpp, mpp) if mpp is not None else scene.mpp or nuclei.mpp
    if size is not None:
        _add_scale_bar(axes, width_px0=scene.box.width, mpp=size[0])
    _explain(axes, shades, box=scene.box, outside=is_ours)
    return axes


@dataclass(frozen=True, eq=False)
class _Scene:
    """Background of a plot: a box, and maybe its pixels and their box, level-0 pixels."""

    box: Box
    mpp: tuple[float, float] | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    extent: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def _box_of(given: BoxLike) -> Box:
    try:
        x, y, width, height = (
            (given.x, given.y, given.width, given.height) if isinstance(given, Box) else given
        )
        left, top = int(np.floor(x)), int(np.floor(y))
        right, bottom = int(np.ceil(x + width)), int(np.ceil(y + height))
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"box={given}: expected a Box, or x, y, width and height in level-0 pixels"
        ) from None
    if right <= left or bottom <= top:
        raise InputError(f"box={given}: has no pixels; width and height are to be 1 or more")
    return Box(left, top, right - left, bottom - top)


def _empty_scene(nuclei: Nuclei, wanted: Box | None) -> _Scene:
    """Return the place of the nuclei, or the box that was asked for."""
    points = _placed(nuclei)
    if not len(points):
        return _Scene(wanted or Box(0, 0, 1, 1))
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    if wanted is not None:
        if not wanted.contains(points).any():
            raise InputError(
                f"{_named(wanted)} holds no nuclei; they lie at x {left:.0f} to {right:.0f} and y "
                f"{top:.0f} to {bottom:.0f}"
            )
        return _Scene(wanted)
    margin = 0.02 * max(right - left, bottom - top)
    if nuclei.outline is not None:
        longest = np.max(nuclei.outline, where=np.isfinite(nuclei.outline), initial=0.0)
        margin = max(margin, float(longest))
    left, top = np.floor([left - margin, top - margin]).astype(int).tolist()
    right, bottom = (np.floor([right + margin, bottom + margin]).astype(int) + 1).tolist()
    return _Scene(Box(left, top, right - left, bottom - top))


def _scene_on(
    on: str | Path | Slide | Picture,
    nuclei: Nuclei,
    wanted: Box | None,
    mpp: float | None,
    max_px: int,
) -> _Scene:
    """Return the pixels of a slide in a box, shrunk to `max_px`."""
    with _opened(on, mpp) as (slide, known):
        if mpp is None:
            _check_sizes(slide, known, nuclei.mpp)
        _check_places(slide, nuclei)
        box = slide.levels[0].box if wanted is None else wanted.intersect(slide.levels[0].box)
        if not box.area:
            raise InputError(
                f"{_named(wanted or box)} lies outside of {slide.path.name}, which is "
                f"{slide.width} x {slide.height} px"
            )
        raster = slide.thumbnail_raster(max_px, box=box)
        part = raster.scale.box_from_level0(box).intersect(raster.box)
        pixels = raster.read(part)
        (left, top), (right, bottom) = raster.scale.to_level0(
            np.array([[part.x, part.y], [part.right, part.bottom]], np.float64)
        ).tolist()
    return _Scene(box, known, pixels, (left, right, bottom, top))


@contextmanager
def _opened(
    on: str | Path | Slide | Picture, mpp: float | None
) -> Iterator[tuple[Slide, tuple[float, float] | None]]:
    """Open a slide, and tell its pixel size; one that is not known does not matter here."""
    if isinstance(on, Slide):
        yield on, on.mpp
        return
    known = True
    try:
        slide = _open(on, mpp)
    except PixelSizeError:
        if mpp is not None:
            raise
        slide, known = _open(on, 1.0), False
    with slide:
        yield slide, slide.mpp if known else None


def _open(on: str | Path | Picture, mpp: float | None) -> Slide:
    return (
        open_slide(on, mpp=mpp, mend=True) if isinstance(on, str | Path) else as_slide(on, mpp=mpp)
    )


def _check_sizes(
    slide: Slide, known: tuple[float, float] | None, found: tuple[float, float] | None
) -> None:
    if known is None or found is None or abs(known[0] / found[0] - 1) <= _UNLIKE_MPP:
        return
    raise InputError(
        f"{slide.path.name}: {known[0]:.4g} um per pixel, but the nuclei were found at "
        f"{found[0]:.4g}; give the slide that they are of, or the true size as mpp="
    )


def _check_places(slide: Slide, nuclei: Nuclei) -> None:
    outside = int(np.sum(~slide.levels[0].box.expand(1).contains(_placed(nuclei))))
    if outside > _OUTSIDE_SHARE * len(nuclei):
        raise InputError(
            f"{slide.path.name}: {outside:,} of {len(nuclei):,} nuclei lie outside of its "
            f"{slide.width} x {slide.height} px; give the whole slide that they are of"
        )


def _placed(nuclei: Nuclei) -> Points:
    return nuclei.points[np.isfinite(nuclei.points).all(axis=1)]


def _named(box: Box) -> str:
    return f"box (x {box.x}, y {box.y}, {box.width} x {box.height} px)"


def _new_axes(box: Box, shades: Shades) -> Axes:
    """Return the axes of a new figure in the shape of the box."""
    from matplotlib import pyplot

    scale = _LONGEST_IN / max(box.width, box.height)
    width, height = (max(side * scale, _SHORTEST_IN) for side in (box.width, box.height))
    longest = max((len(text) for text in _legend_texts(shades)), default=0)
    beside = 1.5 if shades.bar is not None else 1.0 + 0.085 * longest
    figure: Figure = pyplot.figure(figsize=(width + beside, height + 0.5), layout="constrained")
    return figure.add_subplot()


def _draw_picture(axes: Axes, scene: _Scene) -> None:
    box = scene.box
    if scene.pixels is not None:
        axes.imshow(scene.pixels, extent=scene.extent, origin="upper", interpolation="antialiased")
    axes.set_xlim(box.x, box.right)
    axes.set_ylim(box.bottom, box.y)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=8)
    axes.set_xlabel("x (level-0 px)", fontsize=8)
    if _is_flat(axes):
        axes.set_yticks([])
    else:
        axes.set_ylabel("y (level-0 px)", fontsize=8)


def _is_flat(axes: Axes) -> bool:
    """Whether a scale bar and labels would take all of the height."""
    bottom, top = axes.get_ylim()
    return abs(bottom - top) * points_per_px0(axes) < _FLAT_PT


def _add_scale_bar(axes: Axes, *, width_px0: int, mpp: float) -> None:
    length_um, text = round_length(width_px0 * mpp / 6)
    bar = AuxTransformBox(axes.transData)  # keeps its length when the axes are zoomed
    bar.add_artist(Line2D([0, length_um / mpp], [0, 0], color=_colour(INK), lw=3))
    label = TextArea(text, textprops={"color": _colour(INK), "size": 9})
    packed = VPacker(children=[label, bar], align="center", pad=0, sep=3)
    place: dict[str, Any] = {"borderpad": 0.4}
    if _is_flat(axes):  # above, where it hides nothing
        place = {"borderpad": 0, "bbox_to_anchor": (0, 1), "bbox_transform": axes.transAxes}
    plate = AnchoredOffsetbox("lower left", child=packed, pad=0.3, **place)
    plate.patch.set(facecolor=_colour(PAPER), edgecolor="none", alpha=0.85)
    plate.set_zorder(6)
    axes.add_artist(plate)


def _explain(axes: Axes, shades: Shades, *, box: Box, outside: bool) -> None:
    """Add the colour bar and the legend."""
    if shades.bar is not None:
        below = box.width > _WIDE * box.height
        bar = axes.get_figure().colorbar(  # type: ignore[union-attr]
            shades.bar,
            ax=axes,
            location="bottom" if below else "right",
            extend="both",
            shrink=0.8,
            aspect=30,
        )
        label = bar.ax.xaxis if below else bar.ax.yaxis
        label.set_label_text(shades.bar_name, fontsize=9, parse_math=False)
        bar.ax.tick_params(labelsize=8)
    handles = [
        Line2D([], [], ls="", marker="o", ms=7, mew=0, color=one.colour) for one in shades.entries
    ]
    texts = _legend_texts(shades)
    if not texts:
        return
    handles = handles or [Line2D([], [], ls="")]
    place: dict[str, Any] = {"loc": "upper right"}
    if outside and shades.bar is None:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False}
    # Names are set afterwards: the legend would leave out those that begin with "_".
    legend = axes.legend(handles, [" "] * len(texts), fontsize=9, borderaxespad=0.5, **place)
    for line, text in zip(legend.get_texts(), texts, strict=True):
        line.set(text=text, parse_math=False)


def _legend_texts(shades: Shades) -> list[str]:
    texts = [f"{cut(one.name)} ({one.count:,})" for one in shades.entries]
    return texts or (["no nuclei"] if shades.bar is None else [])


def _colour(rgb: tuple[int, int, int]) -> tuple[float, float, float]:
    return rgb[0] / 255, rgb[1] / 255, rgb[2] / 255
