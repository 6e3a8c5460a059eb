"""Where a result comes from, in the words of its report."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from wsi_suite.analysis.summary import Summary
from wsi_suite.config import Settings
from wsi_suite.nuclei.provenance import Provenance
from wsi_suite.report.words import thresholds

_SECTIONS = ("tissue", "quality", "detect", "stain", "measure", "score")


def describe_origin(
    summary: Summary,
    provenance: Provenance,
    *,
    versions: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
) -> list[tuple[str, str]]:
    """Return names and values of all facts that the figures depend on.

    Parameters
    ----------
    summary, provenance
        Of the slide.
    versions
        Of the libraries that made the result, if they are known.
    settings
        Those of the run as ``run.json`` holds them, if it is there.
    """
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
        ("Thresholds", f"{thresholds(summary.thresholds_od)} OD, {summary.thresholds_said}"),
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
        *([("Command that does the same", command_of(provenance, settings))] if settings else []),
    ]


def command_of(provenance: Provenance, settings: Mapping[str, Any]) -> str:
    """Return a command that gives the result again, with the settings that are not the defaults.

    Parameters
    ----------
    provenance
        Of the table of nuclei.
    settings
        Those of the run as ``run.json`` holds them.
    """
    words = ["wsi-suite", "run", provenance.slide, "--out", "results"]
    words += ["--model", provenance.model.name]
    if settings.get("mpp") is not None:
        words += ["--mpp", f"{settings['mpp']:g}"]
    if settings.get("rois") is not None:
        words += ["--roi", "regions.geojson"]
    defaults = Settings().model_dump(mode="json")
    for section in _SECTIONS:
        given = settings.get(section, {})
        for name, value in given.items():
            by_user = name == "thresholds_od" and given.get("thresholds_origin") == "user"
            differs = name != "thresholds_origin" and value != defaults[section].get(name)
            if by_user or differs:
                text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
                words += ["--set", f"{section}.{name}={text}"]
    return shlex.join(words)


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


def _regions(summary: Summary) -> str:
    if not summary.regions:
        return "none: the tissue of the whole slide"
    return f"{len(summary.regions)}, which are in the table"


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
