"""The detector at work: a network on a device, in the precision that suits it.

Device, precision and shape of a batch are chosen once per run (:func:`choose_compute`) and then
kept, since another choice moves confidences in their last digits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wsi_suite.detector.cpu_layers import has_cpu_layers, use_cpu_layers
from wsi_suite.detector.flips import average_flips
from wsi_suite.detector.int8_layers import int8_is_fast, use_int8_layers
from wsi_suite.detector.int8_ranges import RANGES_FILE, read_ranges
from wsi_suite.detector.model_folder import ModelFolder, ModelSpec, find_model, load_network
from wsi_suite.detector.network import NucleusNet, Peaks, decode_peaks
from wsi_suite.errors import ModelError, did_you_mean

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
T = TypeVar("T")

log = logging.getLogger(__name__)

_DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.float32,  # what is not computed in bytes
}


@dataclass(frozen=True)
class Compute:
    """How forward passes are run.

    Attributes
    ----------
    device
        ``cpu``, ``mps``, ``cuda:N``, or ``cuda``: each worker the one that is its own.
    precision
        ``fp32``, ``bf16``, ``fp16`` or ``int8``.
    batch
        Windows per forward pass; every pass has exactly this many.
    flips
        Whether the answers for eight flips and quarter turns are averaged.
    ranges
        First digits of the SHA-256 of the model's ``int8.json``, by which results in int8 are
        settled; see :func:`for_model`.
    """

    device: str
    precision: str
    batch: int
    flips: bool = False
    ranges: str = ""


def choose_compute(
    device: str = "auto", precision: str = "auto", *, flips: bool = False
) -> Compute:
    """Settle device, precision and batch for this machine.

    The choice depends on what the machine is, never on how busy it is, so that it is the same at
    every start. Running, serving and training all ask here.

    Parameters
    ----------
    device
        ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    precision
        ``auto``, ``fp32``, ``bf16``, ``fp16`` or ``int8``. ``auto`` is fp16 with CUDA and fp32
        elsewhere. On CPUs with instructions for it (:func:`bf16_is_fast`) bf16 is about twice as
        fast, but moves up to 0.9 % of the nuclei over the threshold; int8
        (:func:`~wsi_suite.detector.int8_layers.int8_is_fast`) is more than three times as fast and
        moves up to 2.4 %. So they are taken only if they are asked for.
    flips
        As for :class:`Compute`.

    Raises
    ------
    ModelError
        The device is unknown or not there, or cannot compute in this precision. Nothing else is
        taken instead.
    """
    resolved = resolve_device(device)
    kind = resolved.partition(":")[0]
    if precision == "auto":
        precision = "fp16" if kind == "cuda" else "fp32"
    _check_precision(kind, precision)
    compute = Compute(resolved, precision, 8 if kind == "cuda" else 1, flips)
    warn_if_slow(compute)
    return compute


def for_model(compute: Compute, model: ModelFolder) -> Compute:
    """Return how a model's forward passes are run, with all that its results depend on.

    Raises
    ------
    ModelError
        The model cannot be computed in int8.
    """
    if compute.precision != "int8":
        return compute
    _, digest = read_ranges(model)
    return replace(compute, ranges=digest[:12])


def _check_precision(kind: str, precision: str) -> None:
    """Refuse a precision that a kind of device does not have."""
    if precision == "int8" and not (kind == "cpu" and int8_is_fast()):
        what = "this CPU has none" if kind == "cpu" else f"it is not for {kind}"
        raise ModelError(
            "detect.precision int8: needs a CPU with instructions for it (AVX-512 VNNI), and "
            f"{what}; take another precision, or auto"
        )
    if kind == "cpu" and precision == "fp16":
        raise ModelError("detect.precision fp16 is for GPUs; on a CPU take fp32, bf16 or auto")
    if kind == "mps" and precision == "bf16":
        raise ModelError("detect.precision bf16 is not for MPS; take fp32, fp16 or auto")
    if kind == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported(False):
        raise ModelError("detect.precision bf16: this GPU has none; take fp32, fp16 or auto")


def bf16_is_fast() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware (avx512_bf16 or AMX).

    Others compute the same several times slower than float32. ARM counts among them: whether bf16
    gains there has not been measured.
    """
    cpu = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())


def warn_if_slow(compute: Compute) -> None:
    """Warn in one line if this CPU has no instructions for the precision of a run."""
    if (compute.device, compute.precision) == ("cpu", "bf16") and not bf16_is_fast():
        log.warning(
            "detect.precision bf16: this CPU has no instructions for it and may be seven times "
            "slower than with fp32"
        )


def resolve_device(device: str) -> str:
    """Return the torch device that `device` names."""
    count = torch.cuda.device_count()
    there = [*(["cuda"] if count else []), *(f"cuda:{i}" for i in range(count))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    there.append("cpu")
    if device == "auto":
        return there[0]
    if device not in there:
        hint = did_you_mean(device, ["auto", *there])
        raise ModelError(
            f"device '{device}' is not on this machine{hint}; there is: auto, {', '.join(there)}"
        )
    return device


class Detector:
    """A model ready to find nuclei.

    Parameters
    ----------
    model
        Where it comes from.
    compute
        How it is run.
    gpu
        The GPU that ``cuda`` means here.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> rgb, truth = ws.make_tile(mpp=0.5)
    >>> detector = ws.load_detector("endonuke-resnet18", device="cpu")
    >>> detector.classes
    ('Stroma', 'Epithelium')
    >>> (peaks,) = detector.detect(rgb[None])
    >>> peaks.points.shape
    (472, 2)
    """

    def __init__(self, model: ModelFolder, compute: Compute, *, gpu: int = 0) -> None:
        self.model = model
        self.compute = compute
        self._device = f"cuda:{gpu}" if compute.device == "cuda" else compute.device
        network = fuse_batch_norms(load_network(model)).use_precision(_DTYPES[compute.precision])
        network = convert_conv2d_weight_memory_format(network.to(self._device), torch.channels_last)
        self.network = self._put_together(network.requires_grad_(requires_grad=False))

    def _put_together(self, network: NucleusNet) -> NucleusNet:
        """Return the network with the layers that suit the device and the precision."""
        compute = self.compute
        if compute.precision == "int8":
            _check_precision(compute.device, "int8")  # a run may have begun on another machine
            ranges, digest = read_ranges(self.model)
            if not digest.startswith(compute.ranges):
                raise ModelError(
                    f"{self.model.path / RANGES_FILE}: differs from that of this run; give all "
                    "workers the same model, or begin anew with --overwrite"
                )
            return use_int8_layers(network, ranges.largest, source=self.model.path / RANGES_FILE)
        fused = self._device == "cpu" and compute.precision != "fp16" and has_cpu_layers()
        return use_cpu_layers(network) if fused else network

    @property
    def spec(self) -> ModelSpec:
        """Content of ``model.yaml``."""
        return self.model.spec

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.spec.classes

    def look(self, rgb: Tensor) -> dict[str, Tensor]:
        """Return the network's maps for ``(N, 3, H, W)`` pixels on its device."""
        if self.compute.flips:
            return average_flips(self.network, rgb)
        maps: dict[str, Tensor] = self.network(rgb)
        return maps

    def forward(self, windows: Pixels) -> dict[str, Tensor]:
        """Return the maps for ``(N, H, W, 3)`` windows at read resolution.

        Raises
        ------
        ModelError
            The device's memory is full.
        """
        return self._shown(windows, self.look)

    def _shown(self, windows: Pixels, look: Callable[[Tensor], T]) -> T:
        """Return the result of `look` for windows on the device."""
        try:
            rgb = torch.from_numpy(np.ascontiguousarray(windows)).to(self._device)
            with torch.inference_mode():
                return look(rgb.movedim(-1, 1))
        except torch.OutOfMemoryError:
            raise ModelError(
                f"{self.compute.device}: its memory is too small for {len(windows)} windows of "
                f"{windows.shape[1]} x {windows.shape[2]} px, or others use it; end those, or give "
                "--device cpu"
            ) from None

    def detect(self, windows: Pixels, *, min_confidence: float | None = None) -> list[Peaks]:
        """Find the nuclei of a batch of windows.

        Parameters
        ----------
        windows
            ``(N, H, W, 3)`` RGB in 0 - 255 at about ``spec.read_mpp``; H and W are multiples of
            ``spec.network.align_px``.
        min_confidence
            Lowest confidence that counts; the model's own by default.

        Returns
        -------
        list of Peaks
            Per window, points in its pixels, separated by :func:`separate_peaks`.
        """
        lowest = self.spec.min_confidence if min_confidence is None else min_confidence

        def find(rgb: Tensor) -> list[Peaks]:
            sparse = self._device == "cpu" and not self.compute.flips
            maps = self.network.look_for_peaks(rgb) if sparse else self.look(rgb)
            return decode_peaks(maps, min_confidence=lowest, cell_px=self.spec.network.cell_px)

        return [separate_peaks(peaks, self.spec) for peaks in self._shown(windows, find)]


def load_detector(
    name: str | Path = "endonuke-resnet18",
    *,
    device: str = "auto",
    precision: str = "auto",
    flips: bool = False,
) -> Detector:
    """Load a bundled model or a model folder onto a device; errors as their parts raise them.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> detector = ws.load_detector(device="cpu")
    >>> detector.spec.name, detector.spec.read_mpp
    ('endonuke-resnet18', 0.5)
    """
    model = find_model(name)
    return Detector(model, for_model(choose_compute(device, precision, flips=flips), model))


def suppress_close(
    points: npt.NDArray[np.float64],
    confidence: npt.NDArray[np.float32],
    distance: float | npt.NDArray[np.float64],
) -> npt.NDArray[np.bool_]:
    """Return which points remain if weaker ones near stronger ones are removed.

    Greedy from the highest confidence down; ties go to the point that comes first by (y, x), so the
    order of the input does not matter.

    Parameters
    ----------
    points
        ``(N, 2)``.
    confidence
        ``(N,)``.
    distance
        One for all, or ``(N,)``. A weaker point no farther than this from a stronger one is
        removed; the stronger one's distance counts.
    """
    keep = np.ones(len(points), bool)
    reach = np.broadcast_to(np.asarray(distance, np.float64), len(points))
    if len(points) < 2 or reach.max() <= 0:
        return keep
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(float(reach.max()), output_type="ndarray")
    if not len(pairs):
        return keep
    rank = np.empty(len(points), np.int64)
    rank[np.lexsort((points[:, 0], points[:, 1], -confidence))] = np.arange(len(points))
    first = np.where(rank[pairs[:, 0]] < rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    second = pairs.sum(axis=1) - first
    apart = np.linalg.norm(points[first] - points[second], axis=1)
    near = apart <= reach[first]
    first, second = first[near], second[near]
    for i in np.lexsort((rank[second], rank[first])):
        if keep[first[i]]:
            keep[second[i]] = False
    return keep


def separate_peaks(peaks: Peaks, spec: ModelSpec) -> Peaks:
    """Return the peaks of a window without weaker ones that are too near to stronger ones.

    Too near is ``spec.min_distance_um``, or ``spec.separation`` times the radius of the stronger
    one if the model predicts radii.
    """
    distance = np.full(len(peaks.points), spec.min_distance_um / spec.read_mpp)
    if peaks.radius is not None:
        distance = np.maximum(distance, spec.separation * peaks.radius)
    return peaks.take(suppress_close(peaks.points, peaks.confidence, distance))


def fuse_batch_norms(network: NucleusNet) -> NucleusNet:
    """Fold every batch norm into the convolution before it (same answers, fewer passes)."""
    from torch.fx import Tracer

    graph = Tracer().trace(network)
    modules = dict(network.named_modules())
    for node in graph.nodes:
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.args[0]
        conv = modules.get(str(before.target)) if before.op == "call_module" else None
        if isinstance(conv, nn.Conv2d) and len(before.users) == 1:
            _set_module(network, before.target, fuse_conv_bn_eval(conv, norm))
            _set_module(network, node.target, nn.Identity())
    return network


def _set_module(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(root.get_submodule(parent), leaf, module)
