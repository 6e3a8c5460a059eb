"""What a command answers, and files to give to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile

SAME_RESULTS = ("--set", "score.marker=ER", "--set", "detect.precision=fp32")
"""Options of runs that are compared; left alone, a machine may find another precision faster."""


@dataclass(frozen=True)
class Answer:
    """What a command answers: its exit code, results and remarks."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines that tell of something wrong."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


Cli = Callable[..., Answer]


def field_of_view(*, seed: int = 0) -> np.ndarray:
    """Pixels ``(300, 400, 3)`` of a bright, stained field."""
    noise = np.random.default_rng(seed).normal(size=(300, 400, 3)).astype(np.float32)
    blobs = cv2.GaussianBlur(noise, (0, 0), 6)
    return np.clip(190 + 800 * blobs, 0, 255).astype(np.uint8)


def write_tiff(path: Path, pixels: np.ndarray, *, axes: str | None = None, copies: int = 1) -> Path:
    """Write a tiled TIFF; with `axes` an OME-TIFF of 0.5 um per pixel, `copies` series in it."""
    about = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5} if axes else None
    kind = "rgb" if pixels.shape[-1] in (3, 4) else "minisblack"
    with tifffile.TiffWriter(path, ome=axes is not None) as tiff:
        for _ in range(copies):
            tiff.write(pixels, tile=(256, 256), photometric=kind, metadata=about)
    return path


def write_geojson(path: Path, *corners: tuple[float, float], name: str = "Tumour") -> Path:
    """Write one polygon as QuPath exports an annotation."""
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        "properties": {"objectType": "annotation", "name": name},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def square(start: float, stop: float) -> tuple[tuple[float, float], ...]:
    """Corners of a square on the diagonal."""
    return (start, start), (stop, start), (stop, stop), (start, stop)
