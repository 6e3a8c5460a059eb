"""Check of the programs, devices and models that the suite can use."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from wsi_suite.errors import ConfigError
from wsi_suite.files import FREE_SHARE
from wsi_suite.qupath.program import GET_QUPATH, find_qupath


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
    state: Literal["ok", "absent", "bad"]
    found: str
    remedy: str = ""


def examine() -> Iterator[Check]:
    """Look at one thing after another; none that is broken stops the others."""
    for name, look in _LOOKS.items():
        try:
            yield look()
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            yield Check(name, "bad", reason, "install wsi-suite again, with its constraints file")


def _suite() -> Check:
    from wsi_suite import __version__

    python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Check("wsi-suite", "ok", f"{__version__}, {python}")


def _openslide() -> Check:
    import openslide

    return Check(
        "OpenSlide",
        "ok",
        f"{openslide.__library_version__}, openslide-python {openslide.__version__}",
    )


def _tiatoolbox() -> Check:
    return Check("TIAToolbox", "ok", version("tiatoolbox"))


def _torch() -> Check:
    import torch

    from wsi_suite.detector.detector import choose_compute

    compute = choose_compute()
    device = compute.device
    if device.startswith("cuda"):
        device = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    cores = f", {os.cpu_count()} cores" if compute.device == "cpu" else ""
    return Check("torch", "ok", f"{torch.__version__} on {device}{cores}, {compute.precision}")


def _models() -> Check:
    from wsi_suite.detector.model_folder import bundled_models, find_model, named_models

    if not bundled_models():
        return Check("models", "bad", "none bundled", "install wsi-suite again from a wheel")
    names = named_models()
    hashes = [f"{name} ({find_model(name).hash[:12]})" for name in names]
    return Check("models", "ok", ", ".join(hashes))


def _sample_settings() -> Check:
    from wsi_suite.resources import sample_configs_folder

    return Check("settings", "ok", f"explained in {sample_configs_folder()}")


def _qupath() -> Check:
    try:
        found = find_qupath()
    except ConfigError as error:
        remedy = "results open there as GeoJSON; to push into projects and pull from them "
        return Check("QuPath", "absent", str(error), remedy + GET_QUPATH)
    version, java = found.version or "unknown version", found.java or "unknown version"
    return Check("QuPath", "ok", f"{version}, Java {java}, {found.folder}")


def _training() -> Check:
    try:
        found = f"lightning {version('lightning')}, tensorboard {version('tensorboard')}"
    except PackageNotFoundError as missing:
        remedy = "'wsi-suite train' needs it: pip install 'wsi-suite[train]'"
        return Check("training", "absent", f"{missing.name} is not installed", remedy)
    return Check("training", "ok", found)


def _disk() -> Check:
    folder = Path.cwd()
    usage = shutil.disk_usage(folder)
    found = f"{usage.free / 1e9:.0f} of {usage.total / 1e9:.0f} GB free at {folder}"
    if not os.access(folder, os.W_OK):
        return Check("disk", "absent", f"{found}, not writable", "give --out another folder")
    if usage.free < FREE_SHARE * usage.total:
        return Check("disk", "bad", found, "free some, or give --no-keep-tiles")
    return Check("disk", "ok", found)


_LOOKS: dict[str, Callable[[], Check]] = {
    "wsi-suite": _suite,
    "OpenSlide": _openslide,
    "TIAToolbox": _tiatoolbox,
    "torch": _torch,
    "models": _models,
    "settings": _sample_settings,
    "training": _training,
    "QuPath": _qupath,
    "disk": _disk,
}
