"""The folder that QuPath's InstanSeg extension runs by itself (QuPath 0.6 and later).

What the extension does, read from its source (0.1.0 - 0.1.6): it brings a region to the pixel size
of the first output's axes x and y in ``rdf.yaml``, stretches each channel between the region's
percentiles of 0.1 and 99.9 (:mod:`wsi_suite.detector.stretch`), gives ``instanseg.pt`` overlapping
tiles as ``(1, 3, H, W)`` float32, makes an object of every label and gives it the class that row
``label - 1`` of the second output names. The files of test pixels are for the tools of
bioimage.io, whose format ``rdf.yaml`` is (0.5).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml

from wsi_suite.detector.detector import Detector
from wsi_suite.detector.model_folder import ModelFolder, ModelSpec
from wsi_suite.detector.network import Peaks
from wsi_suite.detector.stretch import PERCENTILES, stretch_limits
from wsi_suite.export.check import ExportDifference, sample_picture
from wsi_suite.export.torchscript import load_script, save_script, script_painter

SCRIPT_FILE, RDF_FILE = "instanseg.pt", "rdf.yaml"

_EPSILON = 1e-6  # what the extension adds to the range it divides by

_README = """# {name}

A nucleus detector of wsi-suite {version} for QuPath's InstanSeg extension (QuPath 0.6 and later).

Put this folder into the folder `local` of the model directory that the extension names in its
window. Choose `{name}` there, all three channels (red, green, blue), and a tile padding of
{padding} or more.
Nuclei come as detections of the classes {classes}: discs of the size of a nucleus around the
detected centres, no outlines. Nuclei below the confidence {min_confidence} are left out; a script
may ask for another threshold: `.arg("min_confidence", 0.4)`.

The extension stretches the contrast of every region between its darkest and brightest pixels. The
model puts it back between levels that were usual where it was trained, so that results are near
those of `wsi-suite run`; they differ more in regions that hold one stain alone. For scores to be
reported take `wsi-suite run`.

"""


def write_instanseg(detector: Detector, folder: Path, about: dict[str, Any]) -> ExportDifference:
    """Make the folder, and run its model on a stretched picture."""
    folder.mkdir()
    spec = detector.spec
    save_script(script_painter(detector.model), folder / SCRIPT_FILE)
    picture = sample_picture(spec.network.align_px)
    stretched = _stretch(picture)
    labels, classes = load_script(folder / SCRIPT_FILE)(
        torch.from_numpy(stretched).movedim(-1, 0)[None]
    )
    np.save(folder / "test-input.npy", picture.transpose(2, 0, 1)[None].astype(np.float32))
    np.save(folder / "test-labels.npy", labels.numpy())
    np.save(folder / "test-classes.npy", classes.numpy())
    rdf = yaml.safe_dump(describe_rdf(spec, about), sort_keys=False, allow_unicode=True)
    (folder / RDF_FILE).write_text(rdf, encoding="utf-8")
    readme = folder / f"{spec.name}_README.md"
    readme.write_text(_tell_use(detector.model, about["wsi_suite"]), encoding="utf-8")
    low, high = np.array(spec.darkest, np.float32), np.array(spec.brightest, np.float32)
    (peaks,) = detector.detect((low + stretched * (high - low))[None])
    return _compare(peaks, labels[0, 0].numpy(), classes[:, 0].numpy())


def describe_rdf(spec: ModelSpec, about: dict[str, Any]) -> dict[str, Any]:
    """Return ``rdf.yaml``.

    Parameters
    ----------
    spec
        Of the model.
    about
        As :func:`~wsi_suite.export.formats.describe_model` returns it.
    """
    return {
        "type": "model",
        "format_version": "0.5.3",
        "name": spec.name,
        "version": about["wsi_suite"],
        "description": f"Nuclei of the classes {', '.join(spec.classes)}, found by wsi-suite.",
        "authors": [{"name": "The wsi-suite authors"}],
        "cite": [
            {"text": "Zhou et al., Objects as Points, 2019", "doi": "10.48550/arXiv.1904.07850"}
        ],
        "license": "GPL-3.0-or-later",
        "documentation": f"{spec.name}_README.md",
        "inputs": [_describe_input(spec)],
        "outputs": [_describe_labels(spec), _describe_classes(spec)],
        "weights": {
            "torchscript": {
                "source": SCRIPT_FILE,
                "pytorch_version": torch.__version__.partition("+")[0],
            }
        },
        "config": {"wsi_suite": about},
    }


def _describe_input(spec: ModelSpec) -> dict[str, Any]:
    low, high = PERCENTILES
    stretching = {"min_percentile": low, "max_percentile": high, "eps": _EPSILON}
    size = {"min": spec.network.align_px, "step": 1}
    return {
        "id": "raw",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": ["red", "green", "blue"]},
            *(_space(name, spec.read_mpp, size) for name in "yx"),
        ],
        "data": {"type": "float32"},
        "preprocessing": [{"id": "scale_range", "kwargs": stretching | {"axes": ["x", "y"]}}],
        "test_tensor": {"source": "test-input.npy"},
    }


def _describe_labels(spec: ModelSpec) -> dict[str, Any]:
    return {
        "id": "instance_segmentation",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": ["nuclei"]},
            *(_space(name, spec.read_mpp, {"tensor_id": "raw", "axis_id": name}) for name in "yx"),
        ],
        "data": {"type": "float32"},
        "test_tensor": {"source": "test-labels.npy"},
    }


def _describe_classes(spec: ModelSpec) -> dict[str, Any]:
    return {
        "id": "detection_classes",
        "axes": [
            {"type": "index", "id": "n_objects", "size": {"min": 1}},
            {"type": "index", "id": "n_classes", "size": 1},
        ],
        "data": {"type": "float32", "values": list(spec.classes)},
        "test_tensor": {"source": "test-classes.npy"},
    }


def _space(name: str, mpp: float, size: dict[str, Any]) -> dict[str, Any]:
    return {"type": "space", "id": name, "unit": "micrometer", "scale": mpp, "size": size.copy()}


def _tell_use(model: ModelFolder, version: str) -> str:
    """Return the text that the extension shows: how the model is used, and its card."""
    spec, card = model.spec, model.path / "MODEL_CARD.md"
    use = _README.format(
        name=spec.name,
        version=version,
        padding=32 * math.ceil(spec.halo_px / 32),
        classes=", ".join(spec.classes),
        min_confidence=spec.min_confidence,
    )
    return use + (card.read_text(encoding="utf-8") if card.is_file() else "")


def _stretch(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return ``(H, W, 3)`` pixels as the extension stretches them, cut off at 0 and 1."""
    low, high = stretch_limits(rgb)
    return ((rgb - low) / (high - low + _EPSILON)).clip(0, 1).astype(np.float32)


def _compare(
    peaks: Peaks, labels: npt.NDArray[np.float32], classes: npt.NDArray[np.float32]
) -> ExportDifference:
    """Return no difference where every nucleus has its label and class, else an infinite one."""
    kept = (peaks.points < labels.shape[::-1]).all(axis=1)
    points, label = peaks.points[kept], peaks.label[kept]
    number = np.arange(1, len(points) + 1)
    seen = (points >= 0).all(axis=1)
    col, row = np.floor(points[seen]).astype(int).T
    same = len(classes) == max(1, len(points)) and (classes[: len(points)] == label).all()
    same = same and (labels[row, col] == number[seen]).all()
    return ExportDifference(0.0, 0.0) if same else ExportDifference(math.inf, math.inf)
