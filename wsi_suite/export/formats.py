"""Models for other programs: TorchScript, ONNX, and the folder that QuPath runs by itself.

Every export is run on a picture before it takes its place, and refused if it answers otherwise
than the detector.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import wsi_suite
from wsi_suite.detector.detector import Compute, Detector
from wsi_suite.detector.model_folder import ModelFolder
from wsi_suite.errors import ConfigError, OutputConflictError, OutputError, did_you_mean
from wsi_suite.export.check import ExportDifference, compare_peaks, sample_picture
from wsi_suite.export.instanseg import write_instanseg
from wsi_suite.export.onnx_model import write_onnx
from wsi_suite.export.torchscript import load_script, save_script, script_detector
from wsi_suite.files import output_error, whole_file


@dataclass(frozen=True)
class Export:
    """Files and properties of an exported model.

    Attributes
    ----------
    path
        The file, or the folder that QuPath reads.
    difference
        How far its answers are from the detector's.
    """

    path: Path
    difference: ExportDifference


def export_model(model: ModelFolder, out: Path, *, format_name: str) -> Export:
    """Write a model for another program.

    Parameters
    ----------
    model
        What is exported.
    out
        The file, or for ``instanseg`` the folder; it must not be there yet. Beside a TorchScript
        file a ``.json`` says what must be known to use it.
    format_name
        One of :data:`FORMATS`.

    Raises
    ------
    ConfigError
        The format is unknown, or what it needs is not installed.
    OutputConflictError
        `out` is there already.
    OutputError
        `out` cannot be written, or would answer otherwise than the detector.
    """
    if format_name not in FORMATS:
        hint = did_you_mean(format_name, FORMATS) or f"; there is: {', '.join(FORMATS)}"
        raise ConfigError(f"format '{format_name}' is unknown{hint}")
    if out.exists():
        raise OutputConflictError(f"{out}: is there already; remove it or give another --out")
    detector = Detector(model, Compute("cpu", "fp32", 1))
    remedy = "choose another --out"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error, remedy=remedy) from error
    with whole_file(out, remedy=remedy) as partial:
        difference = FORMATS[format_name](detector, partial, describe_model(model))
        if not difference.tolerable:
            raise OutputError(
                f"{out}: not written, its answers differ from the detector's (confidences by "
                f"{difference.confidence:.2g}, positions by {difference.position_px:.2g} px); "
                "update torch, onnx and onnxruntime"
            )
    if format_name == "torchscript":
        about = json.dumps(describe_model(model), ensure_ascii=False, indent=2) + "\n"
        with whole_file(out.with_suffix(".json"), remedy=remedy) as partial:
            partial.write_text(about, encoding="utf-8")
    return Export(out, difference)


def describe_model(model: ModelFolder) -> dict[str, Any]:
    """Return input, output and scale of a model for programs that run it, as plain values."""
    spec = model.spec
    return {
        "name": spec.name,
        "hash": model.hash,
        "wsi_suite": wsi_suite.__version__,
        "classes": list(spec.classes),
        "read_mpp": spec.read_mpp,
        "min_confidence": spec.min_confidence,
        "min_distance_px": spec.min_distance_um / spec.read_mpp,
        "separation": spec.separation,
        "halo_px": spec.halo_px,
        "align_px": spec.network.align_px,
        "cell_px": spec.network.cell_px,
        "input": "RGB at read_mpp um per pixel, channels first, 0 - 255 as in the file",
    }


def _write_torchscript(detector: Detector, path: Path, _about: dict[str, Any]) -> ExportDifference:
    save_script(script_detector(detector.model), path)
    picture = sample_picture(detector.spec.network.align_px)
    # From a confidence of 0 every local maximum counts, so that the whole picture is compared.
    points, confidence, label, _ = load_script(path)(torch.from_numpy(picture).movedim(-1, 0), 0.0)
    (peaks,) = detector.detect(picture[None], min_confidence=0.0)
    return compare_peaks(peaks, points.numpy(), confidence=confidence.numpy(), label=label.numpy())


FORMATS: dict[str, Callable[[Detector, Path, dict[str, Any]], ExportDifference]] = {
    "instanseg": write_instanseg,
    "onnx": write_onnx,
    "torchscript": _write_torchscript,
}
"""What writes each format to a path, runs it, and says how far it is from the detector."""
