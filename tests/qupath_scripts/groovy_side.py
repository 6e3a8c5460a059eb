"""What goes to Groovy and comes back: GeoJSON of nuclei, errors."""

from __future__ import annotations

import json

ID = "1b4e28ba-2fa1-51d2-883f-0016d3cca427"
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]}


def nucleus(geometry: object = SQUARE, **properties: object) -> dict[str, object]:
    known = {
        "objectType": "detection",
        "classification": {"name": "Stroma: 1+", "color": [1, 2, 3]},
    }
    return {"type": "Feature", "id": ID, "geometry": geometry, "properties": known | properties}


def collection(*features: object) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features})


class GroovyError(Exception):
    """What Groovy code threw: its class and message."""
