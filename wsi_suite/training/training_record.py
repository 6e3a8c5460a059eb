"""The record of a training: code, environment, data and start it was made with.

It is written when a training begins, and compared when it goes on: weights that have learned from
other data or another start than the record says are not made.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch

import wsi_suite
from wsi_suite.detector.model_folder import TRAINING_RECORD, ModelFolder, trained_runs
from wsi_suite.documents import Document, Part, read_document, write_document
from wsi_suite.errors import OutputConflictError
from wsi_suite.files import hash_file
from wsi_suite.training.initial_weights import InitialWeights
from wsi_suite.training.labelled import LabelledTile

RECORD_FILE = "training.json"
"""Name of the record, in the folder of a training."""

_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "numpy",
    "opencv-python",
    "scikit-image",
    "scipy",
)


class Environment(Part):
    """Hardware and software of a training.

    Attributes
    ----------
    wsi_suite
        Version of the package.
    commit
        Commit of the code, with ``+changes`` if files differ from it; ``None`` if it is not known.
    python, platform
        Of the machine.
    device
        Name of the processor.
    cuda
        Version that PyTorch was built for.
    packages
        Versions of the packages that results depend on.
    """

    wsi_suite: str
    commit: str | None
    python: str
    platform: str
    device: str
    cuda: str | None
    packages: dict[str, str]


class TileRecord(Part):
    """A tile: its run, um per pixel, and the SHA-256 of its two files."""

    run: str
    mpp: float
    image: str
    labels: str


class TrainingRecord(Document):
    """Content of ``training.json``.

    Attributes
    ----------
    environments
        What the training ran on; more than one if it went on somewhere else.
    start
        Hash of the model of ``start_from``.
    init
        What the backbone took from the file of ``init``.
    tiles, h_and_e
        The tiles of training and validation by their id; test tiles are not among them.
    """

    environments: tuple[Environment, ...]
    start: str | None
    init: InitialWeights | None
    tiles: dict[str, TileRecord]
    h_and_e: dict[str, TileRecord]

    @property
    def data_sha256(self) -> str:
        """SHA-256 over all tiles: equal if and only if the data is."""
        content = {
            part: {name: tile.as_json() for name, tile in sorted(tiles.items())}
            for part, tiles in (("tiles", self.tiles), ("h_and_e", self.h_and_e))
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def record_tiles(tiles: Sequence[LabelledTile]) -> dict[str, TileRecord]:
    """Return the record of tiles that :func:`~wsi_suite.training.labelled.load_tiles` listed."""
    return {
        tile.id: TileRecord(
            run=tile.run,
            mpp=tile.mpp,
            image=hash_file(tile.image),
            labels=tile.labels_sha256,
        )
        for tile in tiles
    }


def tiles_learned_from(model: ModelFolder, tiles: Sequence[LabelledTile]) -> list[LabelledTile]:
    """Return the tiles that a model has learned from, by their pixels, else by their runs.

    The pixels tell if the record of the training lies in the model's folder.
    """
    record = read_document(
        TrainingRecord, model.path / TRAINING_RECORD, fault="damaged", remedy="remove it"
    )
    if record is None:
        runs = trained_runs(model.spec.provenance)
        return [tile for tile in tiles if tile.run in runs]
    seen = {tile.image for tile in (*record.tiles.values(), *record.h_and_e.values())}
    return [tile for tile in tiles if hash_file(tile.image) in seen]


def models_trained_on(folders: Iterable[Path], pictures: Collection[str]) -> list[Path]:
    """Return the folders of models, at or below `folders`, that learned from some pictures.

    Parameters
    ----------
    folders
        Where to look for the records of trainings.
    pictures
        SHA-256 of the pictures.

    Raises
    ------
    OutputError
        A record is damaged.
    """
    found: set[Path] = set()
    for path in sorted({path for folder in folders for path in folder.rglob(RECORD_FILE)}):
        record = read_document(TrainingRecord, path, fault="damaged", remedy="look there yourself")
        tiles = [] if record is None else [*record.tiles.values(), *record.h_and_e.values()]
        if any(tile.image in pictures for tile in tiles):
            found.add(path.parent.parent)
    return sorted(found)


def keep_record(work: Path, record: TrainingRecord) -> TrainingRecord:
    """Write the record of a training that begins; of one that goes on compare it.

    Parameters
    ----------
    work
        Folder of the training.
    record
        As things are now.

    Returns
    -------
    TrainingRecord
        With the environments of earlier parts of the training.

    Raises
    ------
    OutputConflictError
        Data or start are not those that the training began with.
    """
    path = work / RECORD_FILE
    before = read_document(
        TrainingRecord, path, fault="damaged", remedy="give another --out, or remove the folder"
    )
    if before is not None:
        change = _find_change(before, record)
        if change is not None:
            raise OutputConflictError(
                f"{work.parent}: {change} since this training began; put it back, or give "
                "another --out"
            )
        there = before.environments
        if there[-1:] == record.environments:
            return before
        record = record.model_copy(update={"environments": (*there, *record.environments)})
    write_document(path, record)
    return record


def _find_change(before: TrainingRecord, now: TrainingRecord) -> str | None:
    """Return the differences between two records, in words."""
    if before.start != now.start:
        return "the model of start_from has changed"
    if (before.init and before.init.sha256) != (now.init and now.init.sha256):
        return "the file of init has changed"
    return _changed_tile(before.tiles, now.tiles) or _changed_tile(before.h_and_e, now.h_and_e)


def _changed_tile(before: Mapping[str, TileRecord], now: Mapping[str, TileRecord]) -> str | None:
    words = {"image": "image", "labels": "labels", "run": "id_run", "mpp": "mpp"}
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            return f"tile {name} has gone from the data"
        if name not in before:
            return f"tile {name} has come to the data"
        for field, word in words.items():
            if getattr(before[name], field) != getattr(now[name], field):
                return f"the {word} of tile {name} changed"
    return None


def find_environment(device: str) -> Environment:
    """Return the hardware and software of a training on `device` here."""
    return Environment(
        wsi_suite=wsi_suite.__version__,
        commit=find_commit(),
        python=platform.python_version(),
        platform=platform.platform(),
        device=_device_name(device),
        cuda=torch.version.cuda,
        packages={name: _version(name) for name in _PACKAGES},
    )


def find_commit() -> str | None:
    """Return the commit of the running code, from its git checkout or pip's record of it."""
    folder = Path(wsi_suite.__file__).parent
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return _installed_commit()
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit and commit + ("+changes" if changed else "")


def _git(folder: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # no git, no checkout, or not of this user
        return None
    return done.stdout.strip()


def _installed_commit() -> str | None:
    """Return the commit that pip installed from (PEP 610)."""
    try:
        text = metadata.distribution("wsi-suite").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    commit = json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    return None if commit is None else str(commit)


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(torch.device(device))
    return f"{device}, {platform.machine()}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
