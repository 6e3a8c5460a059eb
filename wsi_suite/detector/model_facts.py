"""Facts of a model, in words and numbers, by which users choose one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from wsi_suite.detector.checksums import read_sums
from wsi_suite.detector.model_folder import (
    CARD_FILE,
    WEIGHTS_FILE,
    History,
    ModelFolder,
    trained_runs,
)
from wsi_suite.resources import added_models_folder, models_folder

Origin = Literal["bundled", "added", "folder"]


@dataclass(frozen=True)
class ModelFacts:
    """A model as its folder describes it.

    Attributes
    ----------
    name
        By which ``--model`` finds it; of a folder elsewhere, the name it gives itself.
    path
        Its folder.
    origin
        ``bundled``, ``added`` by the user, or a ``folder`` elsewhere.
    hash
        SHA-256 over ``model.yaml`` and weights, as results name it.
    stated
        Whether the folder states a checksum of its weights.
    classes, headline_class
        Names of the classes, and the one whose H-score stands first.
    read_mpp, halo_px
        Resolution of the pixels it is given, um, and how many it needs around a window.
    min_confidence
        From which nuclei are kept.
    calibration
        Slope, offset and temperature in its weights; ``None`` if it was not calibrated.
    backbone
        ResNet of timm.
    start_from
        Name of the model that its training started from.
    trained_runs, held_out_runs
        Runs it, or the one it started from, has learned from; runs of its split that it has not.
    tiles, nuclei, h_and_e
        Sizes of the parts of its split; tiles and nuclei drawn again from H&E.
    wsi_suite
        Version that trained it.
    card
        Head of ``MODEL_CARD.md``, up to its second heading; ``None`` if there is none.
    """

    name: str
    path: Path
    origin: Origin
    hash: str
    stated: bool
    classes: tuple[str, ...]
    headline_class: str | None
    read_mpp: float
    halo_px: int
    min_confidence: float
    calibration: dict[str, float] | None
    backbone: str
    start_from: str | None
    trained_runs: tuple[str, ...]
    held_out_runs: tuple[str, ...]
    tiles: dict[str, int]
    nuclei: dict[str, int]
    h_and_e: dict[str, int]
    wsi_suite: str | None
    card: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return asdict(self) | {"path": str(self.path)}


def describe_model(model: ModelFolder) -> ModelFacts:
    """Return the facts of a model.

    Raises
    ------
    ModelError
        Its checksums cannot be read.
    """
    spec = model.spec
    history = History.model_validate(spec.provenance)
    learned = trained_runs(spec.provenance)
    kept = {*history.runs.validation, *history.runs.test} - learned
    origin = origin_of(model)
    return ModelFacts(
        name=spec.name if origin == "folder" else model.path.name,
        path=model.path,
        origin=origin,
        hash=model.hash,
        stated=WEIGHTS_FILE in (read_sums(model.path) or {}),
        classes=spec.classes,
        headline_class=spec.headline_class,
        read_mpp=spec.read_mpp,
        halo_px=spec.halo_px,
        min_confidence=spec.min_confidence,
        calibration=history.calibration,
        backbone=spec.network.backbone,
        start_from=history.start_from.name if history.start_from else None,
        trained_runs=tuple(sorted(learned)),
        held_out_runs=tuple(sorted(kept)),
        tiles=history.tiles,
        nuclei=history.nuclei,
        h_and_e=history.h_and_e,
        wsi_suite=history.wsi_suite,
        card=_head_of_card(model.path / CARD_FILE),
    )


def origin_of(model: ModelFolder) -> Origin:
    """Return where a model's folder lies."""
    parent = model.path.resolve().parent
    if parent == models_folder().resolve():
        return "bundled"
    return "added" if parent == added_models_folder().resolve() else "folder"


def _head_of_card(path: Path) -> str | None:
    """Return a card up to its second heading."""
    try:
        lines = path.read_text("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return None
    headings = [number for number, line in enumerate(lines) if line.startswith("#")]
    end = next((number for number in headings if number > 0), len(lines))
    return "\n".join(lines[:end]).strip() or None
