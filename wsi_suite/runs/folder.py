"""Result folder of one slide: owner, fingerprint and lease.

``run.json`` holds the fingerprint of a run: the slide's size, time and a hash of its first and last
megabyte, the model's hash and every setting that changes results. The same slide with other
settings is refused; :mod:`~wsi_suite.runs.folder_names` gives another slide another folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from wsi_suite.analysis.provenance import TILE_SECTIONS, Fingerprint
from wsi_suite.analysis.slide_record import SLIDE_FILE
from wsi_suite.analysis.summary import SUMMARY_FILE
from wsi_suite.config import Settings
from wsi_suite.errors import BusyError, OutputConflictError
from wsi_suite.files import check_folder_takes_files
from wsi_suite.leases import Lease, take_lease
from wsi_suite.runs.folder_names import RECORDS_NAME, is_free
from wsi_suite.runs.run_record import RunRecord, read_run, write_run
from wsi_suite.runs.state import State
from wsi_suite.slides.store_layout import partial_folder, shut_out_writers, writing

STORE_NAME = "tiles.ome.zarr"
TABLE_NAME = "nuclei.parquet"
NUCLEI_NAME = "nuclei.geojson"
OVERVIEW_NAME = "overview.png"
QUALITY_NAME = "quality.geojson"
REPORT_NAME = "report.html"
HOT_SPOTS_NAME = "hotspots.geojson"

LEASE_NAME = "lease"
"""Folder of the lease of a slide's folder, among the records."""

_TRIES = 10  # to lock a folder that others unlock at the same time


def check_foreign(folder: Path) -> None:
    """Refuse a folder without ``run.json`` that holds something.

    Raises
    ------
    OutputConflictError
        It is not ours to write to.
    """
    if not is_free(folder):
        raise OutputConflictError(
            f"{folder}: holds something else than a run, which is left alone; give another --out"
        )


def check_settings(
    folder: Path, earlier: RunRecord, *, fingerprint: Fingerprint, has_tiles: bool = False
) -> None:
    """Refuse a folder that was made from another slide or with other settings.

    Parameters
    ----------
    folder
        The folder.
    earlier
        Its record. Only sections that both have are compared: tiles that were
        stored first know nothing of detecting.
    fingerprint
        Of this run.
    has_tiles
        Whether the tiles are given, as for ``detect``, so that this run cannot make them again.

    Raises
    ------
    OutputConflictError
        Naming what differs.
    """
    slide, slide_now = asdict(earlier.fingerprint.slide), asdict(fingerprint.slide)
    now = fingerprint.settings
    before = _with_new_settings(earlier.fingerprint.settings, now=now)
    common = sorted(before.keys() & now.keys())
    different = differences(slide, slide_now, prefix="slide.") + differences(
        {key: before[key] for key in common}, {key: now[key] for key in common}
    )
    if different:
        of_tiles = any(before[key] != now[key] for key in TILE_SECTIONS if key in common)
        remedy = _remedy(has_tiles=has_tiles, of_tiles=of_tiles)
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise OutputConflictError(
            f"{folder}: holds a run with other settings ({'; '.join(different[:3])}{more}); "
            f"{remedy}"
        )


def _with_new_settings(before: Mapping[str, Any], *, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded settings with defaults for those that did not exist at that time.

    A setting that is new does by default what was done before there was a setting.
    """
    defaults = Settings().model_dump(mode="json")
    completed = {"quality": {}, **before}
    for name in ("tissue", "quality", "stain", "measure", "score"):
        if name in completed and name in now:
            completed[name] = {**defaults[name], **completed[name]}
    return completed


def check_versions(
    folder: Path, earlier: RunRecord, *, fingerprint: Fingerprint, has_tiles: bool = False
) -> None:
    """Refuse to resume a run of an earlier version that computed otherwise.

    Parameters
    ----------
    folder
        The folder.
    earlier
        Its record.
    fingerprint
        Of this run.
    has_tiles
        As for :func:`check_settings`.

    Raises
    ------
    OutputConflictError
        Tiles or results of the two versions differ.
    """
    before, now = earlier.fingerprint.settings, fingerprint.settings
    made_by = earlier.versions.get("wsi-suite", "of unknown version")
    for key, part in (("tiles_version", "tissue and tiles"), ("results_version", "nuclei")):
        begun = key == "tiles_version" or "detect" in before
        if key in now and begun and before.get(key) != now[key]:
            remedy = "give --overwrite to begin again, or another --out"
            if has_tiles:
                command = "tile" if key == "tiles_version" else "detect"
                remedy = f"begin again with 'wsi-suite {command} --overwrite'"
            raise OutputConflictError(
                f"{folder}: was begun by wsi-suite {made_by}, which computes {part} otherwise than "
                f"this version ({version('wsi-suite')}), and the two are not mixed; "
                f"{remedy}"
            )


def _remedy(*, has_tiles: bool, of_tiles: bool) -> str:
    """Return the remedy for a folder of another run; ``detect`` has no --out."""
    if not has_tiles:
        return "give --overwrite or another --out"
    if not of_tiles:
        return "give --overwrite"
    return "give the settings, --roi among them, of the 'wsi-suite tile' that made the tiles"


def lock_folder(
    folder: Path,
    *,
    from_stopped: bool = False,
    remedy: str = "wait for it, help it with --share, or give another --out",
) -> Lease:
    """Keep other processes from working in a folder until this one unlocks it or ends.

    Parameters
    ----------
    folder
        Results folder of a slide, or the folder of new scores; it is made if it is missing.
    from_stopped
        As for :func:`~wsi_suite.leases.take_lease`.
    remedy
        What the user can do if another process works there.

    Raises
    ------
    BusyError
        Another process works there.
    OutputError
        The folder cannot be written.
    """
    records = folder / RECORDS_NAME

    def busy(who: str) -> str:
        return f"{folder}: another process is at work in it ({who}); {remedy}"

    with writing(folder):
        for _ in range(_TRIES):
            # Another process that ends removes the empty folder, maybe at this moment.
            with suppress(FileNotFoundError, FileExistsError):
                records.mkdir(parents=True, exist_ok=True)
                return take_lease(records / LEASE_NAME, busy=busy, from_stopped=from_stopped)
    check_folder_takes_files(folder)
    raise BusyError(busy("several come and go"))


def unlock_folder(folder: Path, lease: Lease) -> None:
    """Let other processes work in a folder; their files are left alone."""
    lease.release()
    with suppress(OSError):  # it is not empty: there are records, or another process is at work
        (folder / RECORDS_NAME).rmdir()


def discard_results(folder: Path, *, keep_tiles: bool, staging: Path | None = None) -> None:
    """Remove the files of a run, and nothing else in its folder.

    ``run.json`` stays, marked, so that the rest of a killed run is not taken for results.

    Parameters
    ----------
    folder
        A folder with a ``run.json`` of ours.
    keep_tiles
        Keep the tiles and what is known of the slide.
    staging
        As for :func:`~wsi_suite.files.whole_file`.

    Raises
    ------
    OutputError
        Something cannot be removed.
    """
    from wsi_suite.qupath.geojson import geojson_parts

    run = read_run(folder)
    assert run is not None
    write_run(folder, run.model_copy(update={"state": State.DISCARDED}), staging=staging)
    names = (TABLE_NAME, SUMMARY_FILE, OVERVIEW_NAME, REPORT_NAME, HOT_SPOTS_NAME, QUALITY_NAME)
    files = [folder / name for name in names]
    files += geojson_parts(folder / NUCLEI_NAME)
    files += [path for path in (folder / RECORDS_NAME).iterdir() if path.is_file()]
    with writing(folder):
        if not keep_tiles:
            files.append(folder / SLIDE_FILE)
            for store in (folder / STORE_NAME, partial_folder(folder / STORE_NAME)):
                if store.exists():
                    shut_out_writers(store)
                    shutil.rmtree(store)
    for file in files:
        with writing(file):
            file.unlink(missing_ok=True)


def library_versions() -> dict[str, str]:
    """Return the versions that results may depend on."""
    names = ("wsi-suite", "torch", "timm", "openslide-python", "numpy", "scikit-image", "zarr")
    versions = {}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], *, prefix: str = ""
) -> list[str]:
    """Name the values that differ between two nested mappings, as ``key: old, now new``."""
    found = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, prefix=f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}: {_short(old)}, now {_short(new)}")
    return found


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
