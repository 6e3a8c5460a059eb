"""The network as ONNX, for runtimes of many kinds.

The graph ends at maps: confidence, class, offset and radius (in cells) of every cell, and which
cells are peaks. Reading the peaks off them is a line or two in any language. A peak is to be left
out if a stronger one is nearer than ``min_distance_px`` or than ``separation`` times the latter's
radius.
"""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wsi_suite.detector.detector import Detector
from wsi_suite.detector.model_folder import ModelSpec
from wsi_suite.detector.network import find_maxima
from wsi_suite.errors import ConfigError
from wsi_suite.export.check import ExportDifference, sample_picture
from wsi_suite.export.torchscript import HeatMaps, fused_maps

OUTPUTS = ("confidence", "class", "offset", "radius", "peak")


class PeakMaps(nn.Module):
    """A network whose answer is peaks in maps."""

    def __init__(self, maps: HeatMaps, spec: ModelSpec) -> None:
        super().__init__()
        self.maps = maps
        self.min_confidence = spec.min_confidence
        self.class_map = spec.network.class_map

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the maps of :data:`OUTPUTS` for ``(N, 3, H, W)`` in 0 - 255."""
        heat, kind, offset, size = self.maps(rgb)
        kinds = kind if self.class_map else None
        peak, confidence, label = find_maxima(heat, self.min_confidence, kind=kinds)
        return confidence, label, offset, size, peak


def write_onnx(detector: Detector, path: Path, about: dict[str, Any]) -> ExportDifference:
    """Write a model as one ONNX file and run it with onnxruntime.

    Its input ``rgb`` is ``(N, 3, H, W)`` float32; N, H and W are free, H and W multiples of
    ``align_px``. `about` becomes the file's metadata, values that are no text as JSON.

    Raises
    ------
    ConfigError
        The extra ``export`` is not installed.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"ONNX needs {' and '.join(missing)}: pip install 'wsi-suite[export]'")
    spec = detector.spec
    network = PeakMaps(fused_maps(detector.model), spec).eval()
    program = _to_onnx(network, spec.network.align_px)
    for key, value in about.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        program.model.metadata_props[key] = text
    program.save(path)
    return _run(detector, path)


def _to_onnx(network: nn.Module, align_px: int) -> Any:  # noqa: ANN401 - an onnxscript program
    windows, height, width = (torch.export.Dim(name, min=1) for name in ("n", "h", "w"))
    with warnings.catch_warnings(), torch.inference_mode():
        # Torch's exporter warns of itself.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
        return torch.onnx.export(
            network,
            (torch.zeros(2, 3, 8 * align_px, 6 * align_px),),
            dynamo=True,
            dynamic_shapes=({0: windows, 2: align_px * height, 3: align_px * width},),
            input_names=["rgb"],
            output_names=list(OUTPUTS),
            verbose=False,
        )


def _run(detector: Detector, path: Path) -> ExportDifference:
    """Compare the output of onnxruntime with that of torch for one picture."""
    import onnxruntime

    picture = sample_picture(detector.spec.network.align_px)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rgb = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
    confidence, _, offset, _, _ = session.run(None, {"rgb": rgb})
    maps = detector.forward(picture[None])
    _, wanted, _ = find_maxima(maps["heat"], 0.0, kind=maps.get("kind"))
    shift = np.abs(offset - maps["offset"].numpy()).max()
    return ExportDifference(
        float(np.abs(confidence - wanted.numpy()).max()),
        float(shift) * detector.spec.network.cell_px,
    )
