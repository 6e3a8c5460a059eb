"""Nuclei as QuPath detections, for GeoJSON files and for projects alike.

Every object of ours carries metadata, text by text, that tells it from other people's and from what
they made of ours:

============  =======================================================================
``_source``   ``wsi-suite 0.1.0``; an object is ours if this begins with wsi-suite
``_model``    name of the model and the first 12 digits of its hash
``_run``      12 digits that follow from the provenance of the results
``_pushed``   ``x,y,area,compartment`` of the object as we made it, level-0 px and px²
============  =======================================================================

QuPath shows metadata as columns of its measurement tables, but not if the key begins with ``_``.

QuPath counts an object for a region if the centroid of its shape lies in it. It holds vertices
in single precision, from a GeoJSON file after rounding to 0.01 px, and the centroid of a polygon,
too. :func:`at_centroids` gives nuclei these very places, so that both count the same.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wsi_suite.geometry import Points
from wsi_suite.measurements import CONFIDENCE, OUTLINE_RAYS
from wsi_suite.nuclei.outlines import SMALLEST_RADIUS_PX0, outline_rings
from wsi_suite.nuclei.table import INTENSITIES, Nuclei

Colour = tuple[int, int, int]
Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Shape = Literal["polygon", "ellipse", "point"]

SOURCE, MODEL, RUN, PUSHED = "_source", "_model", "_run", "_pushed"

POINT, ELLIPSE, POLYGON = range(3)
"""Kinds of shapes."""

INTENSITY_COLOURS: tuple[Colour, ...] = (
    (90, 90, 180),
    (255, 215, 0),
    (225, 150, 50),
    (200, 50, 50),
)
"""QuPath's colours of Negative, 1+, 2+ and 3+ in R, G, B: those of a tumour."""

_STROMA_COLOURS: tuple[Colour, ...] = (
    (90, 245, 255),
    (50, 200, 150),
    (17, 145, 127),
    (8, 50, 46),
)
_THIRD_COLOURS: tuple[Colour, ...] = (
    (252, 170, 209),
    (238, 109, 190),
    (142, 15, 123),
    (70, 16, 75),
)
# Chosen so that they stay apart for people who see fewer colours, too: a test measures it.
_SCALES: tuple[tuple[Colour, ...], ...] = (INTENSITY_COLOURS, _THIRD_COLOURS)
_PLAIN_COLOURS: tuple[Colour, ...] = ((160, 90, 160), (190, 150, 110))
_STROMA, _STROMA_PLAIN = "stroma", (150, 200, 150)  # QuPath's colour of its own class Stroma

FIELD_TO_DO, FIELD_DONE = "Field: to do", "Field: done"
"""Classes of fields that were chosen to be annotated, as in ``Nuclei.gvy``."""

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "wsi-suite nucleus")
"""A nucleus' id is ``uuid5(NAMESPACE, "x,y")`` of its detected point, level-0 pixels with two
decimals."""


@dataclass(frozen=True)
class PathClass:
    """A class as QuPath shows it: its name, and its colour in R, G, B."""

    name: str
    colour: Colour


FIELD_CLASSES = (PathClass(FIELD_TO_DO, (240, 120, 20)), PathClass(FIELD_DONE, (60, 160, 60)))


@dataclass(frozen=True, eq=False)
class Detections:
    """Nuclei as QuPath is to show them: columns of one length N, coordinates with two decimals.

    Attributes
    ----------
    ids
        ``(N, 16)`` uint8, UUIDs from their most significant byte on. They follow from the detected
        points, so that QuPath knows a nucleus that comes again.
    kind
        ``(N,)`` uint8: ``POINT``, ``ELLIPSE`` or ``POLYGON``.
    points
        ``(N, 2)`` float64, places of nuclei that are drawn as points, level-0 pixels.
    bounds
        ``(E, 2, 2)`` float64, upper left and lower right corner of the ellipses among them.
    rings
        ``(P, 16, 2)`` float64, vertices of the polygons among them, not closed.
    centroid, area_px0
        ``(N, 2)`` and ``(N,)`` float64, of the shapes; a point is its own centroid and has no
        area. Centroids are not rounded: they are QuPath's own.
    compartment, compartments
        ``(N,)`` uint8, index into the names.
    path_class, path_classes
        ``(N,)`` uint8, index into the classes: compartment and intensity.
    measurements
        ``(N,)`` float64 each with four decimals, by QuPath's name; NaN if there is none.
    """

    ids: Codes
    kind: Codes
    points: Points
    bounds: Floats
    rings: Floats
    centroid: Points
    area_px0: Floats
    compartment: Codes
    compartments: tuple[str, ...]
    path_class: Codes
    path_classes: tuple[PathClass, ...]
    measurements: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.points)


def detections(
    nuclei: Nuclei,
    *,
    grades: Codes | None = None,
    shape: Shape = "polygon",
    radius_px0: float | None = None,
) -> Detections:
    """Return nuclei as QuPath is to show them.

    Parameters
    ----------
    nuclei
        The nuclei. Their measurements go along, and the confidence as ``Detection probability``.
    grades
        ``(N,)`` uint8, 0 to 3 for a class such as ``Epithelium: 1+``. Where it is 255 (not
        measurable), or without grades, the class is the compartment alone.
    shape
        Polygons (the outlines), ellipses (circles of the same area) or points.
    radius_px0
        Radius of the circle for a nucleus without outline, in level-0 pixels; without it such a
        nucleus is a point.
    """
    drawn = _draw(nuclei, shape=shape, radius_px0=radius_px0)
    plain = len(INTENSITIES)
    shown = np.full(len(nuclei), plain) if grades is None else np.minimum(grades, plain)
    measured = {CONFIDENCE: nuclei.confidence, **nuclei.measurements}
    return Detections(
        ids=_ids(_rounded(nuclei.detected_points)),
        kind=drawn.kind,
        points=drawn.points,
        bounds=drawn.bounds,
        rings=drawn.rings,
        centroid=drawn.centroid,
        area_px0=_rounded(drawn.area_px0),
        compartment=nuclei.label,
        compartments=nuclei.classes,
        path_class=(nuclei.label * np.uint8(plain + 1) + shown).astype(np.uint8),
        path_classes=path_classes(nuclei.classes),
        measurements={name: _four_decimals(values) for name, values in measured.items()},
    )


def at_centroids(
    nuclei: Nuclei, *, shape: Shape = "polygon", radius_px0: float | None = None
) -> Nuclei:
    """Return nuclei with x and y where QuPath has the centroids of their shapes.

    The detected points go along. Parameters as in :func:`detections`.
    """
    centroid = _draw(nuclei, shape=shape, radius_px0=radius_px0).centroid
    return replace(
        nuclei, x=centroid[:, 0], y=centroid[:, 1], detected=_rounded(nuclei.detected_points)
    )


def path_classes(compartments: tuple[str, ...]) -> tuple[PathClass, ...]:
    """Return QuPath's classes: for each compartment its four intensities, then itself alone.

    Stroma has a scale of colours of its own; other compartments take theirs in turn.
    """
    classes, others = [], 0
    for name in compartments:
        if name.casefold() == _STROMA:
            scale, plain = _STROMA_COLOURS, _STROMA_PLAIN
        else:
            scale = _SCALES[others % len(_SCALES)]
            plain = _PLAIN_COLOURS[others % len(_PLAIN_COLOURS)]
            others += 1
        for intensity, colour in zip(INTENSITIES, scale, strict=True):
            classes.append(PathClass(f"{name}: {intensity}", colour))
        classes.append(PathClass(name, plain))
    return tuple(classes)


def origin_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata that all objects of one run share.

    Parameters
    ----------
    provenance
        What a run remembers in its results, as written or as read back with them.
    """
    described = json.dumps(provenance, sort_keys=True).encode()
    model = provenance["model"]
    return {
        SOURCE: f"wsi-suite {provenance['wsi_suite']}",
        MODEL: f"{model['name']} {model['hash'][:12]}",
        RUN: hashlib.sha256(described).hexdigest()[:12],
    }


def is_ours(metadata: Mapping[str, Any]) -> bool:
    """Return whether an object with this metadata was made by the suite."""
    return str(metadata.get(SOURCE, "")).startswith("wsi-suite")


def circle_radius_px0(provenance: Mapping[str, Any]) -> float:
    """Return the radius of the circle that stands for a nucleus without outline, level-0 pixels."""
    return float(provenance["measure"]["disc_radius_um"] / provenance["mpp"][0])


def pushed_texts(made: Detections) -> pa.StringArray:
    """Return ``x,y,area,compartment`` of each object, by which a later change is recognised."""
    names = pa.array(made.compartments, pa.string()).take(pa.array(made.compartment))
    x, y, area = (two_decimals(column) for column in (*made.centroid.T, made.area_px0))
    return pc.binary_join_element_wise(x, y, area, names, ",")


def two_decimals(values: npt.NDArray[np.float64]) -> pa.StringArray:
    """Return numbers as text, ``12.50``; all dimensions in one row."""
    hundredths = np.rint(values * 100).astype(np.int64).ravel()
    # Integers seen as decimals: Arrow writes those three times as fast as floating point numbers.
    decimals = pa.Array.from_buffers(
        pa.decimal64(18, 2), len(hundredths), [None, pa.py_buffer(hundredths)]
    )
    return pc.cast(decimals, pa.string())


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The shapes of nuclei; see :class:`Detections`."""

    kind: Codes
    points: Points
    bounds: Floats
    rings: Floats
    centroid: Points
    area_px0: Floats


def _draw(nuclei: Nuclei, *, shape: Shape, radius_px0: float | None) -> _Drawn:
    """Draw nuclei: those with an outline about its centroid, others about the detected point."""
    outline = _outline(nuclei)
    radius = _equivalent_radius(outline)
    radius[np.isnan(radius)] = np.nan if radius_px0 is None else radius_px0
    outlined = np.isfinite(outline).all(axis=1)
    rings = outline_rings(nuclei.detected_points[outlined], outline[outlined])
    of_rings, area_of_rings = _of_polygons(_single(rings))

    kind = np.full(len(nuclei), POINT, np.uint8)
    kind[np.isfinite(radius) & (shape != "point")] = ELLIPSE
    kind[outlined & (shape == "polygon")] = POLYGON
    points, area_px0 = _rounded(nuclei.detected_points), np.zeros(len(nuclei))
    points[outlined] = _rounded(of_rings)
    bounds = _bounds(points[kind == ELLIPSE], radius[kind == ELLIPSE])

    centroid = _single(points)
    if shape == "polygon":
        centroid[outlined], area_px0[outlined] = _single(of_rings), area_of_rings
    centroid[kind == ELLIPSE], area_px0[kind == ELLIPSE] = _of_ellipses(_single(bounds))
    kept = rings if shape == "polygon" else rings[:0]
    return _Drawn(kind, points, bounds, kept, centroid, area_px0)


def _ids(points: Points) -> Codes:
    """Return ``uuid5(NAMESPACE, "x,y")`` of ``(N, 2)`` points, many times faster than `uuid`."""
    names = pc.binary_join_element_wise(*(two_decimals(column) for column in points.T), ",")
    prefix, sha1 = NAMESPACE.bytes, hashlib.sha1
    digests = b"".join(
        [sha1(prefix + name).digest() for name in names.cast(pa.binary()).to_pylist()]
    )
    octets = np.frombuffer(digests, np.uint8).reshape(-1, 20)[:, :16].copy()
    octets[:, 6] = octets[:, 6] & 0x0F | 0x50  # version 5
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80  # the variant of RFC 9562
    return octets


def _outline(nuclei: Nuclei) -> Floats:
    if nuclei.outline is None:
        return np.full((len(nuclei), OUTLINE_RAYS), np.nan)
    return np.maximum(nuclei.outline.astype(np.float64), SMALLEST_RADIUS_PX0)


def _equivalent_radius(outline: Floats) -> Floats:
    """Return the radius of the circle of an outline's area: the sum of its triangles'."""
    triangles = outline * np.roll(outline, 1, axis=1) * np.sin(2 * np.pi / OUTLINE_RAYS) / 2
    return np.asarray(np.sqrt(triangles.sum(axis=1) / np.pi))


def _bounds(points: Points, radius: Floats) -> Floats:
    return _rounded(points[:, None] + radius[:, None, None] * np.array([(-1, -1), (1, 1)]))


def _of_polygons(rings: Floats) -> tuple[Points, Floats]:
    """Return centroid and area of ``(P, V, 2)`` rings by the shoelace formula."""
    origin = rings[:, :1]  # near coordinates keep the products small and the sums exact
    x, y = (rings - origin).transpose(2, 0, 1)
    next_x, next_y = np.roll(x, -1, axis=1), np.roll(y, -1, axis=1)
    cross = x * next_y - next_x * y
    area = cross.sum(axis=1) / 2
    area[area == 0] = np.inf  # far out, single precision may make one point of a tiny ring
    sums = np.stack([((x + next_x) * cross).sum(axis=1), ((y + next_y) * cross).sum(axis=1)], -1)
    centroid = origin[:, 0] + sums / (6 * area[:, None])
    return centroid, np.where(np.isinf(area), 0.0, np.abs(area))


def _of_ellipses(bounds: Floats) -> tuple[Points, Floats]:
    """Return centre and area, ``pi a b``, of ``(E, 2, 2)`` bounds."""
    return bounds.mean(axis=1), np.pi / 4 * (bounds[:, 1] - bounds[:, 0]).prod(axis=1)


def _rounded(values: Floats) -> Floats:
    return np.asarray(np.rint(values * 100) / 100)


def _single(values: Floats) -> Floats:
    """Return values as single precision holds them."""
    return values.astype(np.float32).astype(np.float64)


def _four_decimals(values: npt.NDArray[np.float32]) -> Floats:
    wide = values.astype(np.float64)
    return np.where(np.isfinite(wide), np.round(wide, 4), np.nan)
