"""GeoJSON as QuPath and people write it."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]


def polygon(*rings: Any, **extra: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings), **extra}


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def saved(folder: Path, document: object, *, name: str = "rois.geojson") -> Path:
    """Write a document; packed as its name says, as QuPath does."""
    path = folder / name
    text = json.dumps(document).encode()
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name.removesuffix(".zip") + ".geojson", text)
    else:
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path
