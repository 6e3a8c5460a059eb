"""The sample configurations say what the code does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from wsi_suite.config import Settings, load_settings
from wsi_suite.resources import sample_configs_folder


def sample_lines(kind: type[BaseModel], *, indent: str = "") -> Iterator[tuple[str, str]]:
    """Yield the start and the comment of the line that each section and setting should have."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            assert inner.__doc__
            yield f"{indent}{name}:", inner.__doc__.splitlines()[0]
            yield from sample_lines(inner, indent=indent + "  ")
        else:
            assert field.description, f"{name} has no description"
            yield f"{indent}{name}: ", field.description


def test_run_sample_holds_the_defaults() -> None:
    assert load_settings(sample_configs_folder() / "run.yaml") == Settings()


def test_run_sample_explains_every_setting_in_order() -> None:
    text = (sample_configs_folder() / "run.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    expected = list(sample_lines(Settings))
    assert len(lines) == len(expected)
    for line, (start, comment) in zip(lines, expected, strict=True):
        assert line.startswith(start)
        assert line.endswith(f"  # {comment}")


@pytest.mark.parametrize("line", ["tissue: {}", "score: {marker: ER}"])
def test_kept_lines_alone_are_a_configuration(tmp_path, line: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(line, encoding="utf-8")
    assert load_settings(file).tissue == Settings().tissue
