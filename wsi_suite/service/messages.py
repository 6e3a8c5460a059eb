"""Requests and answers of the service, with their limits; source of its OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

PATH_LENGTH = 4096
MAX_ROIS = 1000
MAX_VERTICES = 1_000_000

Path: TypeAlias = Annotated[str, Field(min_length=1, max_length=PATH_LENGTH)]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Triple: TypeAlias = Annotated[list[float], Field(min_length=3, max_length=3)]
State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]


class Message(BaseModel):
    """Request body. Types are not coerced and unknown fields are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Problem(Message):
    """Why something was refused."""

    detail: str = Field(description="one line for the user")


class Health(Message):
    """That the service lives."""

    status: Literal["ok"] = "ok"
    version: str
    pid: int


class Model(Message):
    """A model that jobs may name."""

    name: str
    classes: list[str]
    read_mpp: float = Field(description="resolution that it reads, um per pixel")
    min_confidence: float = Field(description="nuclei are kept from this confidence")
    default: bool = Field(description="taken if a job names none")


class Folder(Message):
    """A folder in which slides may be read from now on."""

    folder: Path = Field(description="absolute path of an existing folder")


class Folders(Message):
    """The folders in which slides may be read, links resolved."""

    folders: list[str]


class Image(Message):
    """How QuPath reads the slide, so that nuclei land where they are."""

    server_class: Name = Field(description="class of QuPath's image server")
    server_args: list[Annotated[str, Field(max_length=PATH_LENGTH)]] = Field([], max_length=100)
    width: int = Field(ge=1, le=2**31 - 1, description="level-0 pixels")
    height: int = Field(ge=1, le=2**31 - 1, description="level-0 pixels")
    mpp: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        None, description="um per level-0 pixel, x and y"
    )
    mpp_set_by_hand: bool = Field(False, description="then it counts, else what the file states")


class Stains(Message):
    """Optical densities of the stains in R, G, B, and the R, G, B of empty glass."""

    hematoxylin: Triple
    dab: Triple
    background: Triple


class Feature(BaseModel):
    """An annotation as QuPath writes it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Literal["Feature"]
    geometry: dict[str, Any]
    properties: dict[str, Any] | None = None


class FeatureCollection(BaseModel):
    """Annotations as QuPath exports them; coordinates are level-0 pixels of QuPath's frame."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Literal["FeatureCollection"]
    features: list[Feature] = Field(min_length=1, max_length=MAX_ROIS)


class JobRequest(Message):
    """Order of an analysis; without regions of interest of all tissue."""

    slide: Path = Field(description="absolute path of the slide's file, in an allowed folder")
    image: Image | None = None
    rois: FeatureCollection | None = None
    model: Name | None = Field(None, description="one that GET /v1/models names")
    # Scripts that were installed in QuPath earlier send the second name.
    min_confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        validation_alias=AliasChoices("min_confidence", "min_score"),
        description="keep nuclei from here",
    )
    thresholds_od: Triple | None = Field(None, description="rising: where 1+, 2+ and 3+ begin")
    marker: Literal["ER", "PR", "Ki-67", "other"] | None = None
    stains: Stains | None = None
    whole_slide: bool = Field(False, description="take the whole slide for tissue")
    shape: Literal["polygon", "ellipse", "point"] = "polygon"


class Job(Message):
    """Where a job stands."""

    id: str
    slide: str = Field(description="the file's name")
    created: str = Field(description="ISO 8601, UTC")
    state: State
    progress: float = Field(ge=0, le=1, description="share of the pixels that are done")
    message: str = Field(description="what is being done")
    nuclei: int | None = Field(description="how many were found, once done")
    error: str | None = Field(description="why it failed, one line")
    timings: dict[str, float] = Field(description="seconds a step took, by its name, as read_s")
    summary: dict[str, Any] | None = Field(description="what summary.json of a run holds")
