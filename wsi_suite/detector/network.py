"""CenterNet on a timm ResNet: the network, and the peaks read off its maps.

The network reads RGB at the read resolution and predicts, on a grid of cells about 1 um wide, the
centres of nuclei (one heatmap for all classes), the class, the offset from the cell's centre to
the nucleus' centre and, if the data has sizes, the radius. It is built of local operations
only, so that a tile with enough real pixels around it gives the same answer as the whole slide.

Source: Zhou, Wang, Kraehenbuehl, *Objects as Points*, 2019 (heatmap, offset, focal loss);
Lin et al., *Feature Pyramid Networks*, 2017 (lateral and top-down paths).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from wsi_suite.detector.network_spec import NetworkSpec
from wsi_suite.detector.resnet import PlainResNet
from wsi_suite.errors import ModelError

if TYPE_CHECKING:
    from timm.models import FeatureListNet


_STRIP_ROWS = 64  # of a map, about 10 MB in float32


class NucleusNet(nn.Module):
    """Backbone, feature pyramid and heads.

    Parameters
    ----------
    spec
        The parts.
    classes
        Number of classes.
    backbone
        Its backbone, if weights are to be loaded into it; by default timm makes it anew.

    Raises
    ------
    ModelError
        The backbone is unknown, or its output at a point depends on the whole tile.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, spec: NetworkSpec, *, classes: int, backbone: PlainResNet | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = _new_backbone(spec) if backbone is None else backbone
        self.lateral = nn.ModuleList(
            nn.Conv2d(width, spec.channels, 1) for width in _widths(self.backbone)
        )
        self.smooth = _conv_block(spec.channels, spec.channels)
        self.heat = _head(spec.channels, 1 if spec.class_map else classes)
        self.kind = _head(spec.channels, classes) if spec.class_map else None
        self.offset = _head(spec.channels, 2)
        self.size = _head(spec.channels, 1) if spec.sizes else None
        final = self.heat[-1]
        assert isinstance(final, nn.Conv2d)
        assert final.bias is not None
        nn.init.constant_(final.bias, -2.19)  # a prior of 0.1, as in the paper
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Return the maps of a batch.

        Parameters
        ----------
        rgb
            ``(N, 3, H, W)`` in 0 - 255 at read resolution; H and W multiples of ``align_px``.

        Returns
        -------
        dict
            ``heat`` ``(N, 1, h, w)`` logits of a nucleus' centre and ``kind`` ``(N, classes, h,
            w)`` logits of its class (without a class map: ``heat`` ``(N, classes, h, w)`` alone),
            ``offset`` ``(N, 2, h, w)`` x and y from the cell's centre in cells, and ``size``
            ``(N, 1, h, w)`` radius in cells, where h and w count cells. All are float32, whatever
            the precision between (:meth:`use_precision`).
        """
        features = self._features(rgb)
        maps: dict[str, Tensor] = {"heat": self.heat(features)}
        return maps | {name: head(features) for name, head in self._beside_heat().items()}

    def look_for_peaks(self, rgb: Tensor) -> dict[str, Tensor | CellValues]:
        """Return the maps of a batch, all but ``heat`` to be computed where nuclei are.

        That is one cell in a hundred, and these maps are a quarter of the whole pass. The values
        are those of :meth:`forward` but for the order of sums. Batch norms are folded.
        """
        features = self._lean_features(rgb)
        maps: dict[str, Tensor | CellValues] = {"heat": self.heat.in_strips(features)}
        heads = self._beside_heat()
        return maps | {name: CellValues(head, features) for name, head in heads.items()}

    def _features(self, rgb: Tensor) -> Tensor:
        """Return the ``(N, channels, h, w)`` features that the heads read."""
        x = self._normalised(rgb)
        top: Tensor | None = None
        for feature, lateral in zip(
            reversed(self.backbone(x)), reversed(list(self.lateral)), strict=True
        ):
            level = lateral(feature)
            top = level if top is None else level + F.interpolate(top, scale_factor=2)
        features: Tensor = self.smooth(top)
        return features

    def _lean_features(self, rgb: Tensor) -> Tensor:
        """Return what :meth:`_features` does, to the bit, with two of its finest maps in memory.

        Without gradients, features of a stage but the first are given up once those of the next
        and their part of the pyramid are there, and levels are added in place.
        """
        x = self._normalised(rgb)
        backbone = self.backbone
        stages = backbone.stages(x) if isinstance(backbone, PlainResNet) else iter(backbone(x))
        del x
        finest = next(stages)
        first, *others = self.lateral
        levels = [lateral(feature) for lateral, feature in zip(others, stages, strict=True)]
        levels.insert(0, first(finest))  # last: until then two such maps would be in memory
        del finest
        top: Tensor = levels.pop()
        while levels:
            level = levels.pop()
            count, width, rows, cols = level.shape
            quads = level.movedim(1, -1).view(count, rows // 2, 2, cols // 2, 2, width)
            quads += top.movedim(1, -1)[:, :, None, :, None]
            top = level
        features: Tensor = self.smooth(top)
        return features

    def _normalised(self, rgb: Tensor) -> Tensor:
        """Return the picture as the backbone reads it."""
        x = (rgb.float() / 255 - self.mean) / self.std
        if self.spec.upsample > 1:
            x = F.interpolate(x, scale_factor=self.spec.upsample, mode="bilinear")
        x = x.contiguous(memory_format=torch.channels_last)
        return x.to(next(self.backbone.parameters()).dtype)

    def _beside_heat(self) -> dict[str, _Head]:
        """Return the heads other than the heatmap's, by the names of their maps."""
        heads = {"offset": self.offset, "kind": self.kind, "size": self.size}
        return {name: head for name, head in heads.items() if head is not None}

    def use_precision(self, dtype: torch.dtype) -> NucleusNet:
        """Compute in `dtype` between the first and the last step, and return the network.

        The picture is normalised and enlarged in float32, and each head's last convolution, one
        to a few channels wide, is float32. These two steps take no time, and in bfloat16, with its
        eight bits, they cost more nuclei than all others together: colours next to each other
        become one, and so do confidences near the threshold.
        """
        for part in (self.backbone, self.lateral, self.smooth):
            part.to(dtype)
        for head in (self.heat, self.kind, self.offset, self.size):
            if head is not None:
                head[:-1].to(dtype)
        return self


class _Head(nn.Sequential):
    """Convolutions of which the last has a precision of its own."""

    def forward(self, x: Tensor) -> Tensor:
        *block, final = self
        for layer in block:
            x = layer(x)
        if not self.training:  # in training autocast chooses
            x = x.to(next(final.parameters()).dtype)
        maps: Tensor = final(x)
        return maps

    def in_strips(self, features: Tensor) -> Tensor:
        """Return what :meth:`forward` does; the last layer sees some rows at a time.

        Its precision would double the memory of the whole map.
        """
        *block, final = self
        assert isinstance(final, nn.Conv2d)
        x = features
        for layer in block:
            x = layer(x)
        weight = final.weight.flatten(1)
        strips = (
            F.linear(strip.movedim(1, -1).to(weight.dtype), weight, final.bias).movedim(-1, 1)
            for strip in x.split(_STRIP_ROWS, dim=2)
        )
        return torch.cat(list(strips), dim=2)

    def at(self, features: Tensor, cells: tuple[Tensor, ...]) -> Tensor:
        """Return the outputs of :meth:`forward` in some cells, ``(cells, outputs)``."""
        conv, *block, final = self
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(final, nn.Conv2d)
        x = F.linear(_surroundings(features, cells), conv.weight.permute(0, 2, 3, 1).flatten(1))
        if conv.bias is not None:
            x = x + conv.bias
        for layer in block:
            x = layer(x)
        return F.linear(x.to(final.weight.dtype), final.weight.flatten(1), final.bias)


def _surroundings(features: Tensor, cells: tuple[Tensor, ...]) -> Tensor:
    """Return ``(cells, 9 * channels)`` features about cells, row by row; 0 beyond the window."""
    window, row, col = cells
    by_cell = features.movedim(1, -1)
    height, width = features.shape[-2:]
    taps = []
    for down, right in product((-1, 0, 1), repeat=2):
        y, x = row + down, col + right
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        values = by_cell[window, y.clamp(0, height - 1), x.clamp(0, width - 1)]
        taps.append(values * inside[:, None])
    return torch.cat(taps, dim=1)


@dataclass(frozen=True, eq=False)
class CellValues:
    """A map that is computed only in the cells that are asked for."""

    head: _Head
    features: Tensor

    def at(self, cells: tuple[Tensor, ...]) -> Tensor:
        """Return the ``(cells, channels)`` float32 values in cells: windows, rows, columns."""
        return self.head.at(self.features, cells).float()


@dataclass(frozen=True)
class Peaks:
    """Nuclei of one window.

    Attributes
    ----------
    points
        ``(N, 2)`` float64 centres, read pixels from the window's corner.
    confidence
        ``(N,)`` float32 in [0, 1], that there is a nucleus.
    label
        ``(N,)`` uint8 index of the likeliest class.
    class_probability
        ``(N, classes)`` float32, rows of sum 1; ``None`` if the network has a heatmap per class.
    radius
        ``(N,)`` float32, read pixels; ``None`` if the network predicts no sizes.
    """

    points: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    class_probability: npt.NDArray[np.float32] | None = None
    radius: npt.NDArray[np.float32] | None = None

    def take(self, rows: npt.NDArray[np.int_] | npt.NDArray[np.bool_]) -> Peaks:
        """Return the nuclei at `rows`: indices in their order, or a mask."""
        likely, radius = self.class_probability, self.radius
        return Peaks(
            points=self.points[rows],
            confidence=self.confidence[rows],
            label=self.label[rows],
            class_probability=None if likely is None else likely[rows],
            radius=None if radius is None else radius[rows],
        )


def decode_peaks(
    maps: Mapping[str, Tensor | CellValues], *, min_confidence: float, cell_px: float
) -> list[Peaks]:
    """Read the local maxima off the maps of a batch.

    A cell is a nucleus if its heat is the maximum of its 3 x 3 neighbourhood and its confidence at
    least `min_confidence`. There is no limit on their number, and cells at the border of the
    window count like any other (what lies outside is lower than everything).

    Parameters
    ----------
    maps
        As :meth:`NucleusNet.forward` or :meth:`NucleusNet.look_for_peaks` returns them.
    min_confidence
        Lowest confidence that counts.
    cell_px
        Read pixels per cell.

    Returns
    -------
    list of Peaks
        One per window, in reading order of their cells.

    Raises
    ------
    ModelError
        A map holds values that are not numbers; they would look like a place without nuclei.
    """
    heat = maps["heat"]
    assert isinstance(heat, Tensor)
    for name, values in maps.items():
        if isinstance(values, Tensor):
            _check_numbers(name, values)
    found, confidence, label = find_maxima(heat, min_confidence, kind=None)
    at = torch.nonzero(found, as_tuple=True)  # only what lies there leaves the device
    window, row, col = (index.cpu().numpy() for index in at)
    offset = _values_at(maps, "offset", at).cpu().numpy().astype(np.float64)
    peaks = Peaks(
        points=(np.column_stack([col, row]) + 0.5 + offset) * cell_px,
        confidence=confidence[at].cpu().numpy(),
        label=label[at].cpu().numpy().astype(np.uint8),
    )
    if "kind" in maps:
        logits = _values_at(maps, "kind", at)
        peaks = replace(
            peaks,
            label=logits.argmax(dim=1).cpu().numpy().astype(np.uint8),
            class_probability=torch.softmax(logits, dim=1).cpu().numpy(),
        )
    if "size" in maps:
        radius = (_values_at(maps, "size", at)[:, 0] * cell_px).cpu().numpy()
        peaks = replace(peaks, radius=radius)
    ends = np.searchsorted(window, np.arange(len(found) + 1))
    return [peaks.take(np.arange(a, b)) for a, b in pairwise(ends)]


def find_maxima(
    heat: Tensor, min_confidence: float, *, kind: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return which cells are nuclei, and every cell's confidence and class, ``(N, h, w)`` each.

    The confidence is that of a nucleus' centre, whatever its class. Exported models contain this
    function, so it uses tensors only.

    Parameters
    ----------
    heat
        ``(N, 1, h, w)`` logits of centres, or ``(N, classes, h, w)`` without `kind`.
    min_confidence
        Lowest confidence that counts.
    kind
        ``(N, classes, h, w)`` logits of classes, or ``None``.
    """
    confidence, label = torch.sigmoid(heat.float()).max(dim=1)
    if kind is not None:
        label = kind.argmax(dim=1)
    # Row by row, then column by column: a tenth of the time of max_pool2d on a CPU.
    framed = F.pad(confidence, (1, 1, 1, 1), value=-1.0)
    rows = torch.maximum(torch.maximum(framed[:, :-2], framed[:, 1:-1]), framed[:, 2:])
    highest = torch.maximum(torch.maximum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
    return (confidence == highest) & (confidence >= min_confidence), confidence, label


def _values_at(
    maps: Mapping[str, Tensor | CellValues], name: str, at: tuple[Tensor, ...]
) -> Tensor:
    """Return the ``(cells, channels)`` float32 values of a map in cells."""
    values = maps[name]
    if isinstance(values, CellValues):
        there = values.at(at)
        _check_numbers(name, there)
        return there
    window, row, col = at
    return values[window, :, row, col].float()


def _check_numbers(name: str, values: Tensor) -> None:
    # A sum is finite only if all values are, and takes a tenth of the time.
    if not torch.isfinite(values.sum()) and not torch.isfinite(values).all():
        raise ModelError(
            f"the network's {name} is not a number somewhere: its values are beyond the range "
            "of this precision (65504 in fp16), or its weights are damaged; set "
            "detect.precision to fp32, or take another model"
        )


def _new_backbone(spec: NetworkSpec) -> FeatureListNet:
    from wsi_suite.detector.backbone import build_backbone  # takes three times as long as torch

    return build_backbone(spec)


def _widths(backbone: FeatureListNet | PlainResNet) -> list[int]:
    if isinstance(backbone, PlainResNet):
        return backbone.widths
    widths: list[int] = backbone.feature_info.channels()
    return widths


def _conv_block(width_in: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(width_out),
        nn.ReLU(inplace=True),
    )


def _head(width: int, out: int) -> _Head:
    return _Head(*_conv_block(width, width), nn.Conv2d(width, out, 1))
