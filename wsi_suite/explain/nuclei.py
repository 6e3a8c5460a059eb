"""Nuclei of a slide, and the class map of each."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wsi_suite.analysis.survey import coarseness
from wsi_suite.detector.detector import separate_peaks
from wsi_suite.detector.model_folder import ModelFolder, ModelSpec, load_network
from wsi_suite.detector.network import NucleusNet, Peaks, decode_peaks, find_maxima
from wsi_suite.errors import ConfigError, SlideError
from wsi_suite.explain.gradcam import Method, class_map
from wsi_suite.geometry import Box
from wsi_suite.slides.slide import Raster, Slide

NEAR_UM = 8.0
"""A nucleus is meant by places no farther from its centre than this."""

LARGEST_PICTURE_UM = 600.0
"""Up to this side a picture is searched for doubtful nuclei."""


GRAD_CAM_LAYER = "smooth"
"""The last layer that all outputs of the network share."""

_DECIDING_STAGE = 3  # coarser cells hold the whole nucleus, finer ones single edges


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Map of the evidence for the class of a nucleus.

    Attributes
    ----------
    method, layer
        As :func:`~wsi_suite.explain.gradcam.class_map` takes them.
    values
        ``(h, w)`` float32 in [-1, 1], cells of the layer in and around the field: what speaks for
        the class (> 0) or against it, relative to the strongest in the field.
    inside
        Left, top, right and bottom of the field in cells of `values`.
    cell_um
        Width of a cell, um.
    """

    method: Method
    layer: str
    values: npt.NDArray[np.float32]
    inside: tuple[float, float, float, float]
    cell_um: float


@dataclass(frozen=True, eq=False)
class Explained:
    """A nucleus and the field around it.

    Attributes
    ----------
    point
        ``(x, y)`` of the detected centre, level-0 pixels.
    name
        Its class.
    probability
        Of each class; ``None`` if the model tells none.
    confidence
        That there is a nucleus.
    radius_px0
        As predicted, level-0 pixels; ``None`` if the model predicts no sizes.
    field
        Field, level-0 pixels.
    rgb
        ``(H, W, 3)`` uint8 pixels of `field`.
    maps
        What speaks for its class.
    """

    point: tuple[float, float]
    name: str
    probability: dict[str, float] | None
    confidence: float
    radius_px0: float | None
    field: Box
    rgb: npt.NDArray[np.uint8]
    maps: tuple[ClassMap, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the facts of the nucleus as plain values."""
        box = self.field
        return {
            "x": round(self.point[0], 2),
            "y": round(self.point[1], 2),
            "class": self.name,
            "class_probability": self.probability,
            "confidence": round(self.confidence, 4),
            "field_px0": [box.x, box.y, box.width, box.height],
            "maps": [
                {"method": one.method, "layer": one.layer, "cell_um": round(one.cell_um, 4)}
                for one in self.maps
            ],
        }


class Explainer:
    """A model in float32 on the CPU, and a slide.

    Parameters
    ----------
    slide
        Open slide.
    model
        The model.
    size_um
        Side of the field shown around a nucleus, um; less where the slide is smaller.

    Attributes
    ----------
    remarks
        What the user should know of the slide.

    Raises
    ------
    PixelSizeError
        The slide is too coarse for the model.
    """

    def __init__(self, slide: Slide, model: ModelFolder, *, size_um: float) -> None:
        self._slide = slide
        self._spec: ModelSpec = model.spec
        self._network: NucleusNet = load_network(model).requires_grad_(requires_grad=False)
        self._raster: Raster = slide.raster(model.spec.read_mpp)
        self.remarks = coarseness(slide.path, self._raster, read_mpp=model.spec.read_mpp)
        mpp = max(slide.mpp)
        self._side_px0 = max(1, min(round(size_um / mpp), slide.width, slide.height))

    def at(self, point: tuple[float, float]) -> Explained:
        """Explain the nucleus nearest to a place in level-0 pixels.

        Raises
        ------
        ConfigError
            The place lies outside the slide, or no nucleus is near.
        """
        slide, (x, y) = self._slide, point
        if not (0 <= x < slide.width and 0 <= y < slide.height):
            raise ConfigError(
                f"--at {x:g},{y:g}: outside {slide.path.name}, which has {slide.width} x "
                f"{slide.height} px; expected level-0 pixels, as QuPath shows them"
            )
        field = self._field(point)
        window = self._window(field)
        rgb = self._read(window)
        maps, peaks = self._detect(rgb)
        points = self._to_level0(peaks, window)
        away = np.hypot(*((points - point) * slide.mpp).T)
        chosen = int(np.argmin(away)) if len(away) else -1
        if chosen < 0 or away[chosen] > NEAR_UM:
            raise ConfigError(self._nobody_near(point, points, away))
        nucleus = peaks.take(np.array([chosen]))
        stage = min(_DECIDING_STAGE, self._spec.network.stages)
        asked: tuple[tuple[Method, str], ...] = (
            ("Grad-CAM", GRAD_CAM_LAYER),
            ("HiResCAM", f"backbone.layer{stage}"),
        )
        cell, label = self._cell(maps, nucleus), int(nucleus.label[0])
        drawn = []
        for method, layer in asked:
            values = class_map(
                self._network, rgb, method=method, layer=layer, cell=cell, label=label
            )
            drawn.append(self._map(method, layer, values=values, field=field, window=window))
        return self._told(nucleus, points[chosen], field=field, maps=tuple(drawn))

    def doubtful(self, number: int) -> list[Explained]:
        """Explain the nuclei of a picture whose class is the least sure, the most doubtful first.

        Raises
        ------
        ConfigError
            The slide is too large to be searched.
        SlideError
            There is no nucleus in it.
        """
        slide, box = self._slide, self._raster.box
        sides_um = slide.width * slide.mpp[0], slide.height * slide.mpp[1]
        if max(sides_um) > LARGEST_PICTURE_UM:
            raise ConfigError(
                f"{slide.path.name} is {sides_um[0]:.0f} x {sides_um[1]:.0f} um, too large to be "
                "searched for doubtful nuclei; give a nucleus' place in level-0 pixels with --at"
            )
        window = _aligned(box.expand(self._spec.halo_px), self._spec.network.align_px)
        _, peaks = self._detect(self._read(window))
        points = self._to_level0(peaks, window)
        inside = np.flatnonzero(Box(0, 0, slide.width, slide.height).contains(points))
        if not len(inside):
            raise SlideError(
                f"{slide.path.name}: no nucleus of confidence {self._spec.min_confidence:g} or more"
                " in it; try another model or pixel size"
            )
        likely = peaks.class_probability
        sure = peaks.confidence if likely is None else likely.max(axis=1)
        order = inside[np.argsort(sure[inside], kind="stable")]
        return [self.at((float(x), float(y))) for x, y in points[order[:number]]]

    def _field(self, point: tuple[float, float]) -> Box:
        """Return the square field around a place, moved so that it lies on the slide."""
        side = self._side_px0
        x = min(max(0, round(point[0] - side / 2)), self._slide.width - side)
        y = min(max(0, round(point[1] - side / 2)), self._slide.height - side)
        return Box(x, y, side, side)

    def _window(self, field: Box) -> Box:
        working = self._raster.scale.box_from_level0(field).expand(self._spec.halo_px)
        return _aligned(working, self._spec.network.align_px)

    def _read(self, window: Box) -> Tensor:
        rgb = np.ascontiguousarray(self._raster.read(window))
        return torch.from_numpy(rgb).movedim(-1, 0)[None].float()

    def _detect(self, rgb: Tensor) -> tuple[dict[str, Tensor], Peaks]:
        with torch.inference_mode():
            maps: dict[str, Tensor] = self._network(rgb)
        return maps, separate_peaks(self._decoded(maps), self._spec)

    def _decoded(self, maps: dict[str, Tensor]) -> Peaks:
        return decode_peaks(
            maps,
            min_confidence=self._spec.min_confidence,
            cell_px=self._spec.network.cell_px,
        )[0]

    def _to_level0(self, peaks: Peaks, window: Box) -> npt.NDArray[np.float64]:
        return self._raster.scale.to_level0(peaks.points + np.array([window.x, window.y]))

    def _told(
        self,
        nucleus: Peaks,
        point: npt.NDArray[np.float64],
        *,
        field: Box,
        maps: tuple[ClassMap, ...],
    ) -> Explained:
        likely, radius, names = nucleus.class_probability, nucleus.radius, self._spec.classes
        probability = None
        if likely is not None:
            probability = {
                name: round(float(p), 4) for name, p in zip(names, likely[0], strict=True)
            }
        return Explained(
            point=(float(point[0]), float(point[1])),
            name=names[int(nucleus.label[0])],
            probability=probability,
            confidence=float(nucleus.confidence[0]),
            radius_px0=None if radius is None else float(radius[0]) * self._raster.scale.x,
            field=field,
            rgb=self._slide.read_level(0, field),
            maps=maps,
        )

    def _map(
        self,
        method: Method,
        layer: str,
        *,
        values: npt.NDArray[np.float32],
        field: Box,
        window: Box,
    ) -> ClassMap:
        """Scale a map to the strongest in the field, and place it."""
        corners = np.array([[field.x, field.y], [field.right, field.bottom]], np.float64)
        cell_px = window.width / values.shape[1]  # in working pixels
        cells = (self._raster.scale.from_level0(corners) - (window.x, window.y)) / cell_px
        (left, top), (right, bottom) = cells.tolist()
        shown = values[floor(top) : ceil(bottom), floor(left) : ceil(right)]
        strongest = float(np.abs(shown).max(initial=0))
        return ClassMap(
            method=method,
            layer=layer,
            values=np.clip(values / strongest, -1, 1) if strongest else values,
            inside=(left, top, right, bottom),
            cell_um=cell_px * self._raster.mpp[0],
        )

    def _cell(self, maps: dict[str, Tensor], nucleus: Peaks) -> tuple[int, int]:
        """Return row and column of the cell that a nucleus was read off."""
        found, _, _ = find_maxima(maps["heat"], self._spec.min_confidence, kind=maps.get("kind"))
        _, rows, cols = (index.numpy() for index in torch.nonzero(found, as_tuple=True))
        apart = np.abs(self._decoded(maps).points - nucleus.points[0]).sum(axis=1)
        index = int(np.argmin(apart))  # they are in the order of the cells
        return int(rows[index]), int(cols[index])

    def _nobody_near(
        self,
        point: tuple[float, float],
        points: npt.NDArray[np.float64],
        away: npt.NDArray[np.float64],
    ) -> str:
        said = f"--at {point[0]:g},{point[1]:g}: no nucleus within {NEAR_UM:g} um"
        if not len(away):
            return f"{said}, nor in the field around it; give the place of a nucleus"
        x, y = points[np.argmin(away)]
        return f"{said}; the nearest is at {x:.1f},{y:.1f} ({away.min():.0f} um away)"


def _aligned(box: Box, align: int) -> Box:
    """Return the smallest box of whole multiples of `align` that covers a box."""
    x, y = floor(box.x / align) * align, floor(box.y / align) * align
    right, bottom = ceil(box.right / align) * align, ceil(box.bottom / align) * align
    return Box(x, y, right - x, bottom - y)
