"""What this machine has of what the suite can use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name
        The thing.
    state
        ``ok``, ``absent`` (something cannot be used, the rest works) or ``bad``.
    found
        What is there.
    remedy
        What to do, where something should be.
    """

    name: str
    state: str
    found: str
    remedy: str = ""


def examine() -> list[Check]:
    """Look at everything; no check stops another."""
    return [_guarded(name, check) for name, check in _CHECKS.items()]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - whatever is broken is what is asked for
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        return Check(name, "bad", reason, "install wsi-suite again, with its constraints file")


def _openslide() -> Check:
    import openslide

    return Check("OpenSlide", "ok", f"{openslide.__library_version__}, "
                 f"openslide-python {openslide.__version__}")


def _tiatoolbox() -> Check:
    from importlib.metadata import version

    return Check("TIAToolbox", "ok", version("tiatoolbox"))


def _torch() -> Check:
    import torch

    from wsi_suite.nuclei.detector import choose_compute

    compute = choose_compute()
    device = compute.device
    if device.startswith("cuda"):
        device = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    cores = f", {os.cpu_count()} cores" if compute.device == "cpu" else ""
    return Check("torch", "ok", f"{torch.__version__} on {device}{cores}, {compute.precision}")


def _models() -> Check:
    from wsi_suite.nuclei.weights import bundled_models, find_model

    names = bundled_models()
    if not names:
        return Check("models", "bad", "none bundled", "install wsi-suite again from a wheel")
    hashes = [f"{name} ({find_model(name).hash[:12]})" for name in names]
    return Check("models", "ok", ", ".join(hashes))


def _qupath() -> Check:
    named = os.environ.get("PAQUO_QUPATH_DIR")
    program = named or shutil.which("QuPath") or shutil.which("qupath")
    if program and Path(program).exists():
        return Check("QuPath", "ok", program)
    found = f"PAQUO_QUPATH_DIR={named} does not exist" if named else "not found"
    return Check("QuPath", "absent", found,
                 "results open there as GeoJSON; set PAQUO_QUPATH_DIR to its folder if it is here")


def _disk() -> Check:
    folder = Path.cwd()
    usage = shutil.disk_usage(folder)
    with tempfile.TemporaryDirectory(dir=folder):
        pass
    state = "ok" if usage.free > 0.05 * usage.total else "bad"
    return Check("disk", state, f"{usage.free / 1e9:.0f} of {usage.total / 1e9:.0f} GB free at "
                 f"{folder}", "" if state == "ok" else "free some, or give --no-keep-tiles")


_CHECKS: dict[str, Callable[[], Check]] = {
    "OpenSlide": _openslide,
    "TIAToolbox": _tiatoolbox,
    "torch": _torch,
    "models": _models,
    "QuPath": _qupath,
    "disk": _disk,
}
