"""The settings as a JSON schema, from which editors complete and check YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from wsi_suite.config import Section, Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"
IDENTIFIER = "urn:wsi-suite:settings"


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a YAML file of settings.

    It takes no more than :func:`~wsi_suite.config.load_settings` does, with one exception: rules
    between several settings cannot be said in it. A section may be empty, and settings that were
    renamed may have their earlier name, marked as deprecated. It is stricter in one point: a text
    that YAML takes for a number has to be quoted.

    Examples
    --------
    >>> sorted(settings_schema()["$defs"])[0]
    'DetectSettings'
    """
    schema = Settings.model_json_schema()
    definitions = schema["$defs"]
    for name, kind in _sections(Settings).items():
        _complete(definitions[name], kind)
    _complete(schema, Settings)
    about = {
        "$schema": DIALECT,
        "$id": IDENTIFIER,
        "title": "Settings of wsi-suite",
        "description": "Settings of a run, for --config; a key that is left out has its default.",
    }
    return {**about, **{key: value for key, value in schema.items() if key not in about}}


def _sections(kind: type[BaseModel]) -> dict[str, type[Section]]:
    """Return the sections of a model by the names of their classes."""
    inner = [field.annotation for field in kind.model_fields.values()]
    return {
        one.__name__: one for one in inner if isinstance(one, type) and issubclass(one, Section)
    }


def _complete(schema: dict[str, Any], kind: type[Section]) -> None:
    """Say of a section what pydantic does not: empty sections, and earlier names."""
    properties: dict[str, dict[str, Any]] = schema["properties"]
    sections = _sections(kind)
    for name, value in properties.items():
        value.pop("title", None)  # the name again, in capitals
        inner = sections.get(value.get("$ref", "").rpartition("/")[2])
        if inner is not None:
            properties[name] = _may_be_empty(value, described=inner)
    for earlier, name in kind.earlier_names.items():
        properties[earlier] = {
            **{key: one for key, one in properties[name].items() if key != "default"},
            "description": f"earlier name of {name}",
            "deprecated": True,
        }


def _may_be_empty(section: Mapping[str, Any], *, described: type[Section]) -> dict[str, Any]:
    """Return the schema of a section that may also be a heading with nothing below it."""
    return {
        "anyOf": [{"$ref": section["$ref"]}, {"type": "null"}],
        "default": section["default"],
        "description": (described.__doc__ or "").splitlines()[0],
    }
