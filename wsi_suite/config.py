"""Settings: every knob of the suite, with its default, its meaning and its limits.

YAML files (``--config``) and ``--set section.key=value`` are merged over the defaults here. Keys
that do not exist are refused. Everything but :class:`RunSettings` changes results and so is part
of a run's fingerprint.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from wsi_suite.errors import ConfigError, did_you_mean
from wsi_suite.settings_files import REPLACED_BY, read_values

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Fraction = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Positive = Annotated[float, Field(gt=0)]
M = TypeVar("M", bound=BaseModel)

_FOLLOW = ("score.thresholds_origin", "score.thresholds_source")  # told with the thresholds
_log = logging.getLogger(__name__)


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, float) else value


class Section(BaseModel):
    """A group of settings: frozen, and strict about its keys.

    Settings that were renamed are read under their earlier names, too.
    """

    earlier_names: ClassVar[Mapping[str, str]] = {}

    # YAML takes a run named 386 for a number; a setting that is a text takes it back.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: object) -> object:
        if values is None:  # a heading in YAML with nothing below it
            return {}
        if not isinstance(values, dict) or not cls.earlier_names.keys() & values.keys():
            return values
        return {cls.earlier_names.get(name, name): value for name, value in values.items()}

    @field_validator("*", mode="before")
    @classmethod
    def _switch(cls, value: object, info: ValidationInfo) -> object:
        """Refuse yes and no if no switch is: pydantic would take them for 1 and 0."""
        kind = cls.model_fields[info.field_name or ""].annotation
        parts = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(part, bool) for part in parts) and bool not in (kind, *get_args(kind)):
            raise ValueError("expected no switch (yes, no, on, off, true, false); quote a text")
        return value


class TissueSettings(Section):
    """Where tissue is looked for."""

    mpp: Positive = Field(8.0, description="resolution of the mask, um per pixel")
    min_area_um2: float = Field(5000.0, ge=0, description="smaller pieces are dropped as dust")
    margin_um: float = Field(16.0, ge=0, description="the mask is grown by this")
    exclude_pen: bool = Field(True, description="leave out strokes of a marker pen")
    whole_slide: bool = Field(
        False, description="take the whole slide for tissue, where stain is too pale to be found"
    )


Artefact = Literal["bubbles", "focus", "folds"]


class QualitySettings(Section):
    """Artefacts that are looked for in the tissue and told."""

    exclude: tuple[Artefact, ...] = Field(
        (), description="kinds to leave out of the tissue: focus (out of focus), folds, bubbles"
    )

    @field_validator("exclude")
    @classmethod
    def _each_once(cls, values: tuple[Artefact, ...]) -> tuple[Artefact, ...]:
        return tuple(sorted(set(values)))


class TileSettings(Section):
    """The OME-Zarr store of the tissue at working resolution."""

    keep: bool = Field(True, description="keep tiles.ome.zarr beside the results")
    ome_zarr_version: Annotated[Literal["0.4", "0.5"], BeforeValidator(_number_as_text)] = Field(
        "0.5", description="0.5: sharded, napari; 0.4: many files, QuPath"
    )


class DetectSettings(Section):
    """The nucleus detector."""

    earlier_names = {"min_score": "min_confidence"}

    model: str = Field("endonuke-resnet18", description="a model's name, or a folder")
    min_confidence: Fraction | None = Field(None, description="keep nuclei from here (model's own)")
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto",
        description="auto: fp16 on CUDA, else fp32; int8, bf16: faster on CPUs that have them",
    )
    flips: bool = Field(
        False, description="average eight flips and turns: a little better, eight times slower"
    )


HEMATOXYLIN_OD = (0.65, 0.70, 0.29)
DAB_OD = (0.27, 0.57, 0.78)
"""Optical densities in R, G, B: QuPath's "H-DAB default"."""

WHITE_RGB = (255.0, 255.0, 255.0)


class StainSettings(Section):
    """How light is turned into amounts of stain."""

    hematoxylin: tuple[float, float, float] = Field(
        HEMATOXYLIN_OD, description="optical density of hematoxylin in R, G, B"
    )
    dab: tuple[float, float, float] = Field(DAB_OD, description="optical density of DAB in R, G, B")
    background: tuple[float, float, float] = Field(WHITE_RGB, description="R, G, B of empty glass")


class MeasureSettings(Section):
    """Over which pixels of a nucleus the stain is averaged."""

    method: Literal["nucleus", "disc"] = Field(
        "nucleus", description="nucleus: watershed mask; disc: a disc of disc_radius_um"
    )
    disc_radius_um: Positive = Field(1.0, description="radius of the disc, um")
    max_radius_um: Positive = Field(6.0, description="a nucleus mask never reaches farther, um")


_DEFAULT_THRESHOLDS_OD = (0.2, 0.4, 0.6)

ThresholdsOrigin = Literal["default", "user", "calibrated"]
"""Who chose the thresholds: nobody, a user, or the fit of ``wsi-suite calibrate``."""


class ScoreSettings(Section):
    """Intensity classes and scores."""

    thresholds_od: tuple[float, float, float] = Field(
        _DEFAULT_THRESHOLDS_OD, description="DAB OD from which a nucleus is 1+, 2+, 3+"
    )
    thresholds_origin: ThresholdsOrigin = Field(
        "default",
        description="user: taken if thresholds_od is given without it; calibrated: by calibrate",
    )
    thresholds_source: str | None = Field(
        None, description="labels that they are calibrated on, and a hash of the calibration"
    )
    headline_class: str | None = Field(
        None, description="the class whose H-score stands first (model's own)"
    )
    marker: Literal["ER", "PR", "Ki-67", "other"] | None = Field(
        None, description="what the DAB shows; a nuclear H-score needs a nuclear marker"
    )
    breast_guidelines: bool = Field(
        True, description="ER, PR and Ki-67 by the guidelines for breast cancer, too"
    )
    hot_spots: int = Field(3, ge=0, le=100, description="hot-spots of each kind; 0: none")
    hot_spot_nuclei: int = Field(500, ge=10, description="nuclei in a hot-spot")
    hot_spot_mm2: Positive | None = Field(
        None, description="area of a hot-spot, mm2, in place of a number of nuclei"
    )
    hot_spot_min_nuclei: int = Field(
        100, ge=1, description="fewest nuclei in a hot-spot of fixed area"
    )
    cutoffs_percent: tuple[Percent, ...] | None = Field(
        None, description="positive % at which a diagnosis changes (the marker's own)"
    )

    @model_validator(mode="before")
    @classmethod
    def _origin(cls, values: object) -> object:
        """Remember that the thresholds were given, also if they equal the defaults."""
        if not isinstance(values, Mapping) or "thresholds_od" not in values:
            return values
        given, origin = values["thresholds_od"], values.get("thresholds_origin", "user")
        changed = not isinstance(given, list | tuple) or tuple(given) != _DEFAULT_THRESHOLDS_OD
        return {
            **values,
            "thresholds_origin": "user" if changed and origin == "default" else origin,
        }

    @classmethod
    def from_result(cls, values: Mapping[str, Any]) -> ScoreSettings:
        """Read the settings that a result remembers.

        Results made before origins were recorded say nothing of the thresholds' origin. There, the
        default values count as defaults.
        """
        return cls.model_validate({"thresholds_origin": "default", **values})

    @model_validator(mode="after")
    def _calibrated(self) -> Self:
        if self.thresholds_source is not None and self.thresholds_origin != "calibrated":
            raise ValueError("thresholds_source is given, so thresholds_origin is calibrated")
        return self

    @field_validator("cutoffs_percent")
    @classmethod
    def _each_once(cls, values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if values is None else tuple(sorted(set(values)))

    @field_validator("thresholds_od")
    @classmethod
    def _rising(cls, values: tuple[float, float, float]) -> tuple[float, float, float]:
        low, middle, high = values
        if not 0 <= low < middle < high:
            raise ValueError("expected rising optical densities, as in [0.2, 0.4, 0.6]")
        return values


class RunSettings(Section):
    """How the work is done; nothing here changes a result."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    workers: int | None = Field(None, ge=1, description="worker processes (one per device)")
    scheduler: str | None = Field(None, description="address of a Dask scheduler")
    cluster: Path | None = Field(
        None, description="file that says on which cluster workers are started"
    )
    read_timeout_min: float = Field(
        10, gt=0, description="minutes after which a slide whose disk does not answer is given up"
    )
    stage_dir: Path | None = Field(
        None, description="folder on a local disk where slides are copied before they are read"
    )
    stage_gb: float | None = Field(
        None, gt=0, description="most that copies may take there, GB (half of what is free)"
    )
    tls_ca_file: Path | None = Field(
        None, description="certificate that a tls:// scheduler is known by (Dask's settings)"
    )
    tls_cert: Path | None = Field(None, description="our certificate for it (Dask's settings)")
    tls_key: Path | None = Field(None, description="our private key for it (Dask's settings)")


class Settings(Section):
    """All settings.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> settings = ws.Settings(score={"marker": "ER"})
    >>> settings.score.thresholds_od
    (0.2, 0.4, 0.6)
    >>> ws.load_settings("lab.yaml").score.marker
    'ER'
    """

    mpp: Annotated[float, Field(ge=0.05, le=10)] | None = Field(
        None, description="um per level-0 pixel, if the slide does not say"
    )
    tissue: TissueSettings = TissueSettings()
    quality: QualitySettings = QualitySettings()
    tiles: TileSettings = TileSettings()
    detect: DetectSettings = DetectSettings()
    stain: StainSettings = StainSettings()
    measure: MeasureSettings = MeasureSettings()
    score: ScoreSettings = ScoreSettings()
    run: RunSettings = RunSettings()


def load_settings(
    *files: str | Path, overrides: Iterable[str] = (), tell: Callable[[str], object] = _log.info
) -> Settings:
    """Merge YAML files and ``key=value`` overrides over the defaults, key by key.

    Parameters
    ----------
    files
        YAML files with the sections of :class:`Settings`. A later one goes over an earlier one.
    overrides
        Texts such as ``score.thresholds_od=[0.1,0.3,0.5]``; the value is YAML.
    tell
        Receives one line for each file that changes what an earlier one set.

    Raises
    ------
    ConfigError
        A file cannot be read, a key does not exist or a value is out of its limits, or nuclei
        would be measured otherwise than thresholds are calibrated for.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> settings = ws.load_settings("scanner.yaml", "lab.yaml", overrides=["score.marker=PR"])
    >>> settings.stain.background, settings.score.marker
    ((243.0, 243.0, 241.0), 'PR')
    """
    # Each alone first, so that a message names the file for its own mistakes only.
    paths = [Path(file) for file in files]
    alone = [parse_settings(Settings, read_values(path), source=path) for path in paths]
    for line in _changes(paths, alone):
        tell(line)
    settings = parse_settings(Settings, read_values(*paths, overrides=overrides))
    _refuse_measured_otherwise(settings, paths, alone)
    return settings


def _refuse_measured_otherwise(
    settings: Settings, files: Sequence[Path], alone: Sequence[Settings]
) -> None:
    """Refuse calibrated thresholds together with another way of measuring than their file has."""
    final = _given(settings)
    for file, one in zip(files, alone, strict=True):
        if one.score.thresholds_origin != "calibrated" or any(
            getattr(one.score, name) != getattr(settings.score, name)
            for name in ("thresholds_od", "thresholds_source")
        ):
            continue
        for key, value in _given(one).items():
            if key.startswith(("stain.", "measure.")) and final[key] != value:
                raise ConfigError(
                    f"{file}: its thresholds are calibrated for {key} = {_shown(value)}, and "
                    f"{_shown(final[key])} is set: calibrate again on runs with that, or give "
                    "thresholds of your own (score.thresholds_od)"
                )


def _changes(files: Sequence[Path], alone: Sequence[Settings]) -> Iterator[str]:
    """Return a line for each file that overrides a value of an earlier file."""
    held: dict[str, tuple[object, Path]] = {}
    for file, settings in zip(files, alone, strict=True):
        given = _given(settings)
        changed = [
            f"{key} = {_shown(value)} (not {_shown(held[key][0])} of {held[key][1]})"
            for key, value in given.items()
            if key in held and held[key][0] != value and key not in _FOLLOW
        ]
        changed += [f"{gone} is no longer set" for gone in _replaced(given) if held.pop(gone, None)]
        if changed:
            yield f"{file} goes over earlier --config files: {', '.join(changed)}"
        held |= {key: (value, file) for key, value in given.items()}


def _replaced(given: Mapping[str, object]) -> Iterator[str]:
    """Return the settings that lose their earlier value by those that were given."""
    for key in given:
        section, _, leaf = key.rpartition(".")
        for name in REPLACED_BY.get(leaf, ()):
            replaced = f"{section}.{name}"
            if replaced not in given and replaced not in _FOLLOW:
                yield replaced


def _given(section: BaseModel, *, prefix: str = "") -> dict[str, object]:
    """Return the settings that were given, by their dotted names."""
    found: dict[str, object] = {}
    for name in sorted(section.model_fields_set):
        value = getattr(section, name)
        inner = isinstance(value, BaseModel)
        found |= _given(value, prefix=f"{prefix}{name}.") if inner else {prefix + name: value}
    return found


def _shown(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else "null" if value is None else str(value)


def parse_settings(kind: type[M], values: Mapping[str, Any], *, source: Path | None = None) -> M:
    """Build a settings model from nested values."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        where = f"{source}: " if source else ""
        raise ConfigError(where + _in_words(error.errors()[0], kind=kind)) from None


def _in_words(mistake: ErrorDetails, *, kind: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "extra_forbidden":
        section, dot, name = str(mistake["loc"][-1]).rpartition(".")
        if dot:
            return f"unknown setting '{key}'; write '{section}:', and below it, indented, '{name}:'"
        return f"unknown setting '{key}'{_nearest_key(key, kind=kind)}"
    if mistake["type"] == "missing":
        return f"{key}: missing; expected a value"
    given = "" if isinstance(mistake["input"], dict) else f" = {mistake['input']!r}"
    if mistake["type"] in ("model_type", "model_attributes_type"):
        return f"{key}{given}: expected a section with settings of its own"
    if mistake["type"] in ("tuple_type", "list_type"):
        value = mistake["input"]
        shown = f", as in [{value}]" if isinstance(value, str | int | float) else ""
        return f"{key}{given}: expected a list in brackets{shown}"
    message = mistake["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{key}{given}: {message}"


def _nearest_key(key: str, *, kind: type[BaseModel]) -> str:
    """Return a hint at the setting or section that is meant, wherever it stands."""
    known = setting_keys(kind)
    by_name = {name.rpartition(".")[2]: name for name in known}
    by_name |= {name.partition(".")[0]: name.partition(".")[0] for name in known}
    near = difflib.get_close_matches(key.rpartition(".")[2], by_name, n=1)
    if near:
        return f" (did you mean '{by_name[near[0]]}'?)"
    return did_you_mean(key, known) or f"; known: {', '.join(sorted(known))}"


def setting_keys(kind: type[BaseModel], *, prefix: str = "") -> list[str]:
    """List the dotted names of all settings of a model."""
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += setting_keys(inner, prefix=f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
