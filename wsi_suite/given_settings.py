"""Settings as they are given in Python: a document, values by name, or a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel

from wsi_suite.config import Settings, load_settings, parse_settings
from wsi_suite.errors import ConfigError
from wsi_suite.settings_files import merge_values

SettingsLike: TypeAlias = Settings | Mapping[str, Any] | str | Path | None
"""Settings; sections or dotted names with values, as in ``{"score.marker": "ER"}``; the path of a
YAML file; or ``None`` for the defaults."""


def settings_of(
    given: SettingsLike,
    *,
    mpp: float | None = None,
    model: str | Path | None = None,
    device: str | None = None,
) -> Settings:
    """Return settings, whichever way they are given, with some over them.

    Parameters
    ----------
    given
        The settings.
    mpp, model, device
        Go over ``mpp``, ``detect.model`` and ``run.device``, where they are given.

    Raises
    ------
    ConfigError
        A file cannot be read, a key does not exist or a value is out of its limits.
    """
    settings = _settings(given)
    named = {
        "mpp": float(mpp) if isinstance(mpp, Real) else mpp,  # NumPy's, too
        "detect.model": None if model is None else str(model),
        "run.device": device,
    }
    values = nested_values({name: value for name, value in named.items() if value is not None})
    checked = parse_settings(Settings, values)
    updates: dict[str, object] = {}
    for section, inside in values.items():
        now, old = getattr(checked, section), getattr(settings, section)
        if isinstance(old, BaseModel):
            now = old.model_copy(update={name: getattr(now, name) for name in inside})
        updates[section] = now
    return settings.model_copy(update=updates)


def nested_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return values in sections, of sections and dotted names; later ones go over earlier ones.

    Raises
    ------
    ConfigError
        A name is no text.
    """
    values: dict[str, Any] = {}
    for key, value in given.items():
        if not isinstance(key, str):
            raise ConfigError(f"settings: {key!r}: expected a name, as in {{'score.marker': 'ER'}}")
        inner = value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
        for name in reversed(key.split(".")):
            inner = {name: inner}
        merge_values(values, inner)
    return values


def _settings(given: SettingsLike) -> Settings:
    match given:
        case None:
            return Settings()
        case Settings():
            return given
        case Mapping():
            return parse_settings(Settings, nested_values(given))
        case str() | Path():
            return load_settings(Path(given))
    raise ConfigError(
        f"settings: a {type(given).__name__}: expected Settings, values by name, as in "
        "{'score.marker': 'ER'}, or the path of a YAML file"
    )
