"""Answers of QuPath's process: what one end says is what the other reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from wsi_suite.qupath.project_messages import (
    Frame,
    ImageStains,
    Opened,
    ProjectImage,
    Pulled,
    Pushed,
    Region,
    parse,
    plain,
)

MESSAGES = (
    Opened("0.6.0", (Path("/study"),)),
    Opened("0.6.0"),
    ProjectImage("1", "größer", Path("/slides/B12.svs"), Path("/study/data/1/data.qpdata")),
    ProjectImage("2", "on a server", None, Path("/study/data/2/data.qpdata")),
    Frame(900, 700, (0.25, 0.26), True, moved=("rotated",), server="OpenslideImageServer"),
    Frame(900, 700, None, False),
    ImageStains("UNSET", ""),
    Region("hot spot", None, wkb="00ff", measurements={"wsi-suite: Stroma: H-score": 120.5}),
    Pushed({"placed": 3}, 1, classes=("Stroma",), backup=Path("b"), notes=("n",)),
    Pulled({"untouched": 3}),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_survive_json(message: object) -> None:
    assert parse(type(message), json.loads(json.dumps(plain(message)))) == message


def test_an_answer_of_another_form_is_refused() -> None:
    with pytest.raises(ValidationError, match="regions"):
        parse(Pushed, {"counts": {}, "classes": [], "backup": None})
