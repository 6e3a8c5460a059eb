"""Format of label files and the classes that label values stand for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsi_suite.config import Section


class LabelSpec(Section):
    """Column order of label files, and the class of each label value."""

    columns: Literal["xy", "yx"] = Field("xy", description="order of the two coordinates")
    classes: dict[int, str] = Field(
        {0: "Stroma", 1: "Epithelium", 2: "Stroma"},
        min_length=1,
        description="class of each label value",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, each once, in the order of their first label value."""
        return tuple(dict.fromkeys(self.classes[value] for value in sorted(self.classes)))
