"""Where a result comes from, in the words of its report."""

from __future__ import annotations

import json
from collections.abc import Mapping

from wsi_suite.analysis.summary import Summary
from wsi_suite.nuclei.provenance import Provenance
from wsi_suite.report.words import thresholds


def describe_origin(
    summary: Summary, provenance: Provenance, *, versions: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return names and values of what the figures depend on."""
    width, height = provenance.size_px0
    mpp = provenance.mpp
    return [
        ("Slide", provenance.slide),
        (
            "Size",
            f"{width} × {height} px, {width * mpp[0] / 1000:.1f} × {height * mpp[1] / 1000:.1f} mm",
        ),
        ("Pixel size", f"{_pair(mpp)} µm, read at {_pair(provenance.read_mpp)} µm"),
        ("SHA-256 of the slide's ends", provenance.slide_sha256),
        ("How it was read", "; ".join(summary.notes) or "without remarks"),
        ("Model", f"{summary.model.name}, hash {summary.model.hash}"),
        ("Lowest confidence", _number(provenance.min_confidence)),
        ("Measured in", _measured(provenance)),
        ("Held against the thresholds", summary.measurement or "nothing: there are no nuclei"),
        ("Thresholds", f"{thresholds(summary.thresholds_od)} OD, {_threshold_origin(summary)}"),
        ("Stains (R, G, B)", _stains(provenance.stain_vectors)),
        ("DAB OD of empty glass", _number(provenance.glass_dab_od)),
        ("Regions of interest", _regions(summary)),
        (
            "Computed on",
            f"{summary.compute.device}, {summary.compute.precision}, "
            f"{summary.compute.batch} windows at once",
        ),
        ("wsi-suite", f"{provenance.wsi_suite}, results of version {provenance.results_version}"),
        *([("Libraries", _versions(versions))] if versions else []),
    ]


def _pair(values: tuple[float, float]) -> str:
    x, y = (f"{value:.4g}" for value in values)
    return x if x == y else f"{x} × {y}"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3g}"


def _measured(provenance: Provenance) -> str:
    measure = provenance.measure
    if measure.method == "disc":
        return f"discs of {measure.disc_radius_um:g} µm radius"
    return f"nuclei (watershed), at most {measure.max_radius_um:g} µm from their point"


def _stains(vectors: str) -> str:
    """Return stain vectors, which QuPath writes as JSON, in words."""
    try:
        known = json.loads(vectors)
        pairs = [(known[f"Stain {n}"], known[f"Values {n}"]) for n in (1, 2)]
        pairs.append(("background", known["Background"]))
    except (ValueError, KeyError, TypeError):
        return vectors
    return "; ".join(f"{name} {values}" for name, values in pairs)


def _threshold_origin(summary: Summary) -> str:
    words = {"user": "set by the user", "default": "defaults, not calibrated"}
    return words.get(summary.thresholds_origin or "", "of unknown origin")


def _regions(summary: Summary) -> str:
    if not summary.regions:
        return "none: the tissue of the whole slide"
    return f"{len(summary.regions)}, which are in the table"


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
