"""Models as folders: ``model.yaml``, ``weights.safetensors``, ``SHA256SUMS``, ``MODEL_CARD.md``.

A model is named by its folder, or, if it came with the package or was added by the user, by its
name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ConfigDict, Field, field_validator, model_validator

from wsi_suite.config import Section, parse_settings
from wsi_suite.detector.checksums import check_sum, write_sums
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.detector.network_spec import NetworkSpec
from wsi_suite.detector.stretch import RgbLevels
from wsi_suite.documents import Part, refuse_later_format
from wsi_suite.errors import ConfigError, LaterFormatError, ModelError, did_you_mean
from wsi_suite.files import is_leftover, whole_file
from wsi_suite.nuclei.seen import SeenFields
from wsi_suite.resources import added_models_folder, models_folder
from wsi_suite.settings_files import read_values

if TYPE_CHECKING:
    import torch

    from wsi_suite.detector.network import NucleusNet

SPEC_FILE, WEIGHTS_FILE, CARD_FILE = "model.yaml", "weights.safetensors", "MODEL_CARD.md"
TRAINING_RECORD = "training/training.json"
"""File in a model's folder that says what data it learned from."""
_FORMAT = 2

LARGE_RADIUS_UM = 8.0
"""Radius of the largest nuclei, um."""


class ModelSpec(Section):
    """Description of a model: all but its weights."""

    earlier_names = {"min_score": "min_confidence"}  # noqa: RUF012

    format: int = Field(
        _FORMAT, ge=_FORMAT, le=_FORMAT, description="version of this file's layout"
    )
    name: str
    read_mpp: float = Field(0.5, gt=0, description="resolution of the pixels it is given, um")
    labels: LabelSpec = LabelSpec()
    network: NetworkSpec = NetworkSpec()
    min_confidence: float = Field(
        0.3, ge=0, le=1, description="nuclei are kept from this confidence"
    )
    min_distance_um: float = Field(2.0, ge=0, description="of two closer ones the weaker goes")
    separation: float = Field(
        0.0, ge=0, description="the weaker goes also within this share of the stronger's radius"
    )
    halo_px: int = Field(64, ge=0, description="real read pixels a window needs on each side")
    darkest: RgbLevels = Field((0, 0, 0), description="usual lowest RGB of a training tile")
    brightest: RgbLevels = Field((255, 255, 255), description="usual highest; for QuPath's export")
    headline_class: str | None = Field(None, description="class whose H-score stands first")
    seen: SeenFields | None = Field(
        None, description="fields it was trained on; without it no result is called unfamiliar"
    )
    provenance: dict[str, Any] = Field({}, description="how it was trained")

    @property
    def reach_um(self) -> float:
        """Largest distance at which a usual nucleus removes a weaker one, um."""
        return max(self.min_distance_um, self.separation * LARGE_RADIUS_UM)

    @model_validator(mode="before")
    @classmethod
    def _read_format_1(cls, values: Any) -> Any:  # noqa: ANN401 - before validation it is anything
        """Complete the layout of earlier versions: one heatmap per class behind a pooled stem."""
        if not isinstance(values, dict) or values.get("format") != 1:
            return values
        network = {"stages": 4, "upsample": 2, "sizes": False} | values.get("network", {})
        return values | {
            "format": _FORMAT,
            "network": network | {"stem_pool": True, "class_map": False},
        }

    @field_validator("provenance")
    @classmethod
    def _check_history(cls, values: dict[str, Any]) -> dict[str, Any]:
        trained_runs(values)
        return values

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return self.labels.names


class Runs(Part):
    """Runs by their use in a training; YAML takes one named 386 for a number."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


class History(Part):
    """Training of a model, and the model it started from; unknown facts are empty."""

    name: str | None = None
    runs: Runs = Runs()
    tiles: dict[str, int] = Field({})
    nuclei: dict[str, int] = Field({})
    h_and_e: dict[str, int] = Field({})
    calibration: dict[str, float] | None = None
    wsi_suite: str | None = None
    start_from: History | None = None


def trained_runs(provenance: Mapping[str, Any]) -> set[str]:
    """Return the runs that a model, or the one it started from, has learned from."""
    runs: set[str] = set()
    history: History | None = History.model_validate(provenance)
    while history is not None:
        runs.update(history.runs.train)
        history = history.start_from
    return runs


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk: path, specification and a hash over both of its files."""

    path: Path
    spec: ModelSpec
    hash: str


def bundled_models() -> list[str]:
    """Return the names of the models that come with the package."""
    return _names_in(models_folder())


def added_models() -> list[str]:
    """Return the names of the models that the user added."""
    return _names_in(added_models_folder())


def named_models() -> list[str]:
    """Return the names by which models are found: of the bundled ones, then of those added."""
    return list(dict.fromkeys([*bundled_models(), *added_models()]))


def find_model(name: str | Path) -> ModelFolder:
    """Find a bundled or an added model by its name, or any model by its folder.

    Parameters
    ----------
    name
        A text is a name or a folder, a path is a folder.

    Raises
    ------
    ModelError
        There is none, it may be one of several that differ, or its files are missing or wrong.
        Nothing else is loaded instead.
    """
    if isinstance(name, Path):
        return _read_folder(name)
    meant = [root / name for root, names in _known() if name in names]
    folder = Path(name)
    # A folder of other things is not meant if a model has the name.
    if (folder / SPEC_FILE).is_file() or (not meant and folder.is_dir()):
        meant.append(folder)
    if not meant:
        known = named_models()
        hint = did_you_mean(name, known) or f"; known: {', '.join(known) or 'none'}"
        raise ModelError(f"model '{name}' is neither a known name nor a folder{hint}")
    first, *others = map(_read_folder, meant)
    for other in others:
        if other.hash != first.hash:
            raise ModelError(
                f"model '{name}' may be {first.path} or {other.path}, which differ; expected one: "
                "give the path of the folder that is meant, as ./NAME"
            )
    return first


def _known() -> tuple[tuple[Path, list[str]], ...]:
    return (models_folder(), bundled_models()), (added_models_folder(), added_models())


def _names_in(folder: Path) -> list[str]:
    found = (path.parent for path in folder.glob(f"*/{SPEC_FILE}"))
    return sorted(path.name for path in found if not is_leftover(path))


def _read_folder(folder: Path) -> ModelFolder:
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; expected a model folder")
    for file in (SPEC_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise ModelError(f"{folder}: no {file} in it; expected {SPEC_FILE} and {WEIGHTS_FILE}")
    return ModelFolder(folder, read_spec(folder / SPEC_FILE), _hash(folder))


def read_spec(path: Path) -> ModelSpec:
    """Read a ``model.yaml``."""
    try:
        values = read_values(path)
        number = values.get("format")
        refuse_later_format(number, known=_FORMAT, source=path, remedy="take another model")
        return parse_settings(ModelSpec, values, source=path)
    except (ConfigError, LaterFormatError) as error:
        raise ModelError(str(error)) from None


def load_network(folder: ModelFolder) -> NucleusNet:
    """Build a model's network in float32, in evaluation mode, with its weights.

    Raises
    ------
    ModelError
        The weights are damaged, hold values that are not numbers, belong to another network, or
        are not those that the folder's ``SHA256SUMS`` states.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from wsi_suite.detector.network import NucleusNet
    from wsi_suite.detector.resnet import plain_resnet

    spec = folder.spec.network.model_copy(update={"pretrained": False})
    network = NucleusNet(spec, classes=len(folder.spec.classes), backbone=plain_resnet(spec))
    path = folder.path / WEIGHTS_FILE
    try:
        weights = {name: value.float() for name, value in load_file(path).items()}
        network.load_state_dict(weights)
        _check_finite(weights, path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not readable as safetensors ({error})") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: does not fit {SPEC_FILE} ({reason})") from None
    check_sum(path)
    return network.eval()


def save_model(path: Path, spec: ModelSpec, network: NucleusNet) -> ModelFolder:
    """Write a model folder, weights in half precision; each file appears whole or not at all.

    Raises
    ------
    ModelError
        A weight is no number, or too large for half precision; nothing is written.
    """
    from safetensors.torch import save

    path.mkdir(parents=True, exist_ok=True)
    weights = {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    _check_finite(weights, path / WEIGHTS_FILE)
    _replace(path / WEIGHTS_FILE, save(weights))
    write_spec(path / SPEC_FILE, spec)
    write_sums(path, (SPEC_FILE, WEIGHTS_FILE))
    return find_model(path)


def write_spec(path: Path, spec: ModelSpec) -> None:
    """Write a ``model.yaml``."""
    text = yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    _replace(path, text.encode())


def round_to_half(network: torch.nn.Module) -> None:
    """Round weights in place as saving does, so that tests use the stored weights."""
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half().float())


def _check_finite(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    import torch

    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise ModelError(
                f"{path}: {name} holds values that are no numbers or exceed half precision (65504);"
                " train the model again, with a lower learning rate"
            )


def _replace(path: Path, data: bytes) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(data)


def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in (SPEC_FILE, WEIGHTS_FILE):
        digest.update((folder / file).read_bytes())
    return digest.hexdigest()
