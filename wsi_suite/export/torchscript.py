"""The detector as one TorchScript module: pixels in, nuclei out, nothing of ours needed to run it.

The detector's own decoding (:mod:`wsi_suite.detector.detector`) is compiled here in tensors; the
tests hold both to the same answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from wsi_suite.detector.detector import fuse_batch_norms
from wsi_suite.detector.model_folder import ModelFolder, ModelSpec, load_network
from wsi_suite.detector.network import NucleusNet, find_maxima

NUCLEUS_RADIUS_UM = 3.0
"""Radius of a nucleus whose size is not predicted; the mean of EndoNuke is 2.98 um."""


class HeatMaps(nn.Module):
    """A network whose answer is a tuple, as tracing wants it; zeros for maps that it lacks."""

    def __init__(self, network: NucleusNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return heat and class logits, offset and size for ``(N, 3, H, W)`` in 0 - 255."""
        maps = self.network(rgb)
        nothing = torch.zeros_like(maps["heat"][:, :1])
        return maps["heat"], maps.get("kind", nothing), maps["offset"], maps.get("size", nothing)


class PointDetector(nn.Module):
    """One picture to its nuclei.

    Parameters
    ----------
    network
        A traced :class:`HeatMaps`.
    spec
        Of the model.
    """

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.min_confidence = spec.min_confidence
        self.cell_px = spec.network.cell_px
        self.align_px = spec.network.align_px
        self.distance_px = spec.min_distance_um / spec.read_mpp
        self.radius_px = NUCLEUS_RADIUS_UM / spec.read_mpp
        self.separation = spec.separation
        self.class_map = spec.network.class_map
        self.sizes = spec.network.sizes

    def forward(
        self,
        rgb: Tensor,
        min_confidence: float | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Find the nuclei of one picture of any size.

        Parameters
        ----------
        rgb
            ``(3, H, W)`` in 0 - 255, of any type, at the model's resolution.
        min_confidence
            Lowest confidence that counts; the model's own by default.

        Returns
        -------
        tuple
            Points ``(N, 2)`` float64 (x, y) in pixels from the corner, confidences ``(N,)``
            float32, classes ``(N,)`` int64 and radii ``(N,)`` float32 in pixels; from top to
            bottom.
        """
        height, width = rgb.shape[1], rgb.shape[2]
        right, bottom = -width % self.align_px, -height % self.align_px
        picture = F.pad(rgb[None].float(), [0, right, 0, bottom], value=255.0)
        heat, kind, offset, size = self.network(picture)
        # Reading peaks off the maps is little work, and not every device can do all of it.
        classes: Tensor | None = None
        if self.class_map:
            classes = kind.cpu()
        found, confidence, label = find_maxima(
            heat.cpu(),
            self.min_confidence if min_confidence is None else min_confidence,
            kind=classes,
        )
        _, row, col = torch.nonzero(found).unbind(1)
        shift = offset.cpu().double()[0, :, row, col].t()
        points = (torch.stack([col, row], 1) + 0.5 + shift) * self.cell_px
        confidences, labels = confidence[0, row, col], label[0, row, col]
        radii = torch.full_like(confidences, self.radius_px)
        distance = torch.full_like(confidences, self.distance_px)
        if self.sizes:
            radii = size.cpu().float()[0, 0, row, col] * self.cell_px
            distance = torch.maximum(distance, radii * self.separation)
        keep = separate_points(points, confidences, distance)
        keep = keep & (points[:, 0] < width) & (points[:, 1] < height)
        return points[keep], confidences[keep], labels[keep], radii[keep]


class LabelPainter(nn.Module):
    """Module for QuPath's InstanSeg extension: a stretched picture to labels and classes.

    The picture is put between the levels that are usual in training tiles first
    (:mod:`wsi_suite.detector.stretch`).

    Parameters
    ----------
    detector
        A scripted :class:`PointDetector`.
    spec
        Of the model.
    """

    def __init__(self, detector: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.detector = detector
        self.darkest = list(spec.darkest)
        self.brightest = list(spec.brightest)

    def forward(
        self,
        x: Tensor,
        args: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return a label image and the class of every label.

        Parameters
        ----------
        x
            ``(1, 3, H, W)`` float32, each channel stretched to 0 - 1; what lies beyond is cut off.
        args
            ``min_confidence``, one number, if it is not to be the model's own.

        Returns
        -------
        tuple
            ``(1, 1, H, W)`` float32, 0 for background and 1 .. N for the nuclei; and ``(M, 1)``
            float32, the class of label i in row i - 1, with one row if there is no nucleus.
        """
        min_confidence: float | None = None
        if args is not None and "min_confidence" in args:
            min_confidence = float(args["min_confidence"].item())
        low = torch.tensor(self.darkest, device=x.device).view(3, 1, 1)
        high = torch.tensor(self.brightest, device=x.device).view(3, 1, 1)
        rgb = low + x[0].clamp(0, 1) * (high - low)
        points, _, label, radius = self.detector(rgb, min_confidence)
        height, width = x.shape[2], x.shape[3]
        classes = torch.zeros([max(1, len(label)), 1])
        classes[: len(label), 0] = label.float()
        return paint_discs(points, radius, height, width)[None, None].float(), classes


def separate_points(points: Tensor, confidences: Tensor, distance: Tensor) -> Tensor:
    """Return which points remain if weaker ones near stronger ones are removed.

    As :func:`~wsi_suite.detector.detector.suppress_close`: greedy from the highest confidence
    down, ties by (y, x). Here every round settles the points that no unsettled stronger one is
    close to.

    Parameters
    ----------
    points
        ``(N, 2)`` float64.
    confidences
        ``(N,)``.
    distance
        ``(N,)``; a weaker point no farther than this from a stronger one is removed.
    """
    count = len(points)
    keep = torch.ones(count, dtype=torch.bool)
    if count < 2:
        return keep
    order = torch.argsort(points[:, 0], stable=True)
    order = order[torch.argsort(points[order, 1], stable=True)]
    order = order[torch.argsort(confidences[order], descending=True, stable=True)]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(count)
    strong, weak = _close_pairs(points, rank, distance)
    while len(weak) > 0:
        waiting = torch.zeros(count, dtype=torch.bool)
        waiting[weak] = True
        settled = ~waiting[strong]  # the stronger one of the pair stays for good
        keep[weak[settled]] = False
        unsettled = keep[strong] & keep[weak]
        strong, weak = strong[unsettled], weak[unsettled]
    return keep


def _close_pairs(points: Tensor, rank: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs no farther apart than the stronger one's distance, that one first."""
    strong, weak = [torch.zeros(0, dtype=torch.long)], [torch.zeros(0, dtype=torch.long)]
    rows = 1024  # of the table of distances, in memory at a time
    for start in range(0, len(points), rows):
        part = points[start : start + rows]
        apart = torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist")
        reach = distance[start : start + rows, None]
        near = (apart <= reach) & (reach > 0)
        one, other = torch.nonzero(near).unbind(1)
        one = one + start
        first = rank[one] < rank[other]
        strong.append(one[first])
        weak.append(other[first])
    return torch.cat(strong), torch.cat(weak)


def paint_discs(points: Tensor, radius: Tensor, height: int, width: int) -> Tensor:
    """Return a ``(height, width)`` int64 image with 1 .. N in discs around points, else 0.

    A pixel within the radius of several points belongs to the nearest of them.

    Parameters
    ----------
    points
        ``(N, 2)`` float64 (x, y), pixels from the corner.
    radius
        ``(N,)`` pixels.
    """
    image = torch.zeros(height * width, dtype=torch.long)
    if len(points) == 0:
        return image.view(height, width)
    reach = int(torch.ceil(radius.max()).item())
    steps = torch.arange(-reach, reach + 1)
    step_y, step_x = steps.repeat_interleave(len(steps)), steps.repeat(len(steps))
    col = torch.floor(points[:, :1]).long() + step_x
    row = torch.floor(points[:, 1:]).long() + step_y
    apart = (col + 0.5 - points[:, :1]) ** 2 + (row + 0.5 - points[:, 1:]) ** 2
    inside = (apart <= radius[:, None] ** 2) | ((step_x == 0) & (step_y == 0))[None]
    inside = inside & (col >= 0) & (row >= 0) & (col < width) & (row < height)
    pixel = (row * width + col)[inside]
    apart = apart[inside]
    label = torch.arange(1, len(points) + 1)[:, None].expand_as(inside)[inside]
    nearest = torch.full([height * width], 1e30, dtype=torch.double)
    nearest.scatter_reduce_(0, pixel, apart, "amin")
    first = apart == nearest[pixel]
    image[pixel[first]] = label[first]
    return image.view(height, width)


def fused_maps(model: ModelFolder) -> HeatMaps:
    """Load a model's network in float32, as the detector runs it."""
    return HeatMaps(fuse_batch_norms(load_network(model))).eval().requires_grad_(False)


def script_detector(model: ModelFolder) -> torch.jit.ScriptModule:
    """Compile a model into a :class:`PointDetector`."""
    align = model.spec.network.align_px
    with _quiet_torchscript():
        traced = torch.jit.trace(fused_maps(model), torch.zeros(1, 3, 4 * align, 8 * align))
        return torch.jit.script(PointDetector(traced, model.spec).eval())


def script_painter(model: ModelFolder) -> torch.jit.ScriptModule:
    """Compile a model into a :class:`LabelPainter`."""
    detector = script_detector(model)
    with _quiet_torchscript():
        return torch.jit.script(LabelPainter(detector, model.spec).eval())


def save_script(script: torch.jit.ScriptModule, path: Path) -> None:
    """Write a compiled module to a file."""
    with _quiet_torchscript():
        torch.jit.save(script, path)


def load_script(path: Path) -> torch.jit.ScriptModule:
    """Read a compiled module from a file."""
    with _quiet_torchscript():
        script: torch.jit.ScriptModule = torch.jit.load(path)
    return script


@contextmanager
def _quiet_torchscript() -> Iterator[None]:
    """Silence torch's deprecation of TorchScript, which QuPath's extension needs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.* is (deprecated|not supported)")
        yield
