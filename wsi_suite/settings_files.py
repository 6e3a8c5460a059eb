"""YAML files of settings, merged key by key, and ``key=value`` overrides over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wsi_suite.errors import ConfigError
from wsi_suite.yaml_files import YamlError, parse_yaml

REPLACED_BY: Mapping[str, tuple[str, ...]] = {
    "thresholds_od": ("thresholds_origin", "thresholds_source"),  # of the earlier thresholds
    "hot_spot_nuclei": ("hot_spot_mm2",),  # which goes before it
}
"""Settings that lose their earlier value if another one is given anew."""


def read_values(*files: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return the nested values of YAML files with ``a.b=value`` overrides merged over them.

    Parameters
    ----------
    files
        Later ones go over earlier ones, key by key.
    overrides
        Texts such as ``score.marker=ER``; the value is YAML.

    Raises
    ------
    ConfigError
        A file cannot be read, or an override is none.
    """
    values: dict[str, Any] = {}
    for file in files:
        merge_values(values, _read_yaml(Path(file)))
    return override_values(values, overrides)


def override_values(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Put ``a.b=value`` texts over nested values, in place, and return them.

    Raises
    ------
    ConfigError
        One of them is none.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--set {override}: expected key=value, as in detect.min_confidence=0.4"
            )
        *path, leaf = key.strip().split(".")
        section = values
        for name in path:
            if section.get(name) is None:
                section[name] = {}
            section = section[name]
            if not isinstance(section, dict):
                raise ConfigError(f"--set {override}: '{name}' is a value, not a section")
        try:
            value = parse_yaml(text)
        except YamlError as error:
            raise ConfigError(f"--set {override}: the value is not YAML ({error})") from None
        for replaced in (leaf, *REPLACED_BY.get(leaf, ())):
            section.pop(replaced, None)
        section[leaf] = value
    return values


def merge_values(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Put values over earlier ones, in place.

    What is given last also stands last, because a setting may be given under two names.
    """
    for said in (said for key in more for said in REPLACED_BY.get(key, ())):
        values.pop(said, None)
    for key, value in more.items():
        earlier = values.pop(key, None)
        if isinstance(earlier, dict) and (value is None or isinstance(value, Mapping)):
            merge_values(earlier, value or {})  # a heading with nothing below it changes nothing
            values[key] = earlier
        elif isinstance(value, Mapping):
            values[key] = {}
            merge_values(values[key], value)
        else:
            values[key] = value


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not UTF-8 text; expected a YAML file of settings") from None
    except YamlError as error:
        raise ConfigError(f"{file}: not YAML ({error})") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected sections of settings, found {type(values).__name__}")
    return values
