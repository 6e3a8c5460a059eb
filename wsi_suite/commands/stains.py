"""``stains estimate``: stain vectors of a laboratory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.analysis.slide_stains import (
    SlideStains,
    estimate_slide,
    pool_stains,
    unlike_pooled,
)
from wsi_suite.commands.checks import check_new
from wsi_suite.config import StainSettings
from wsi_suite.errors import WsiSuiteError
from wsi_suite.files import whole_file
from wsi_suite.given_settings import SettingsLike, settings_of
from wsi_suite.given_values import check_choice, path_of
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.runs.outcome import log_errors
from wsi_suite.slides.sources import expand_slides
from wsi_suite.staining.estimation import METHODS, Method

_FEW_SLIDES = 3
_SAME_SCANNER_LEVELS = 15  # about 0.03 of optical density


@dataclass(frozen=True)
class LaboratoryStains:
    """Stain vectors of several slides, and those of each.

    Attributes
    ----------
    stain
        The vectors and the background for all of them, as ``{"stain": ...}`` of settings.
    slides
        What each slide shows; those with a `reason` are left out of `stain`.
    remarks
        Sentences that everybody who uses the vectors should read.
    errors
        Of slides that cannot be read.
    """

    stain: StainSettings
    slides: tuple[SlideStains, ...]
    remarks: tuple[str, ...]
    errors: tuple[WsiSuiteError, ...]


def estimate_stains(
    slides: str | Path | Iterable[str | Path],
    *,
    method: str = "qupath",
    background: bool = False,
    out: str | Path | None = None,
    mpp: float | None = None,
    settings: SettingsLike = None,
    overwrite: bool = False,
    tell: Callable[[str | WsiSuiteError], None] = log_errors,
    progress: Progress = no_progress,
) -> LaboratoryStains:
    """Estimate stain vectors from the tissue of slides, one set for all: ``stains estimate``.

    Parameters
    ----------
    slides
        Slides, folders of them, or patterns.
    method
        ``qupath`` as QuPath estimates, ``macenko`` or ``vahadane``.
    background
        Take the colour of empty glass for background; else it is white.
    out
        Becomes a YAML file with the vectors, as `settings` arguments take it.
    mpp
        um per level-0 pixel of slides that do not say.
    settings
        Of these `mpp` and `tissue` matter.
    overwrite
        Replace the file `out`.
    tell
        Receives errors of slides, which stop no other, and remarks.
    progress
        Receives the slide that is looked at, as `message`.

    Returns
    -------
    LaboratoryStains
        The medians over the slides, and what each slide shows.

    Raises
    ------
    WsiSuiteError
        An argument cannot be used, no slide shows both stains, or `out` cannot be written; the
        error of the slide, if no slide can be read.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> laboratory = ws.estimate_stains("slides", out="stains.yaml")
    >>> [round(value, 1) for value in laboratory.stain.hematoxylin]
    [0.7, 0.7, 0.3]
    >>> settings = ws.load_settings("stains.yaml", overrides=["score.marker=ER"])
    """
    check_choice(method, METHODS, option="--method")
    known: dict[str, Method] = {name: name for name in METHODS}
    file = path_of(out, option="--out", optional=True)
    check_new(file, overwrite=overwrite)
    wanted = settings_of(settings, mpp=mpp)
    given = [slides] if isinstance(slides, str | Path) else slides
    paths = expand_slides(given, tell=tell)
    found: list[SlideStains] = []
    errors: list[WsiSuiteError] = []
    for number, path in enumerate(paths):
        told = f"looking at {path.name} ({number + 1} of {len(paths)})"
        progress(Step("stains", number, len(paths), told))
        try:
            stains = estimate_slide(
                path,
                method=known[method],
                background=background,
                mpp=wanted.mpp,
                tissue=wanted.tissue,
            )
        except WsiSuiteError as error:
            tell(error)
            errors.append(error)
        else:
            found.append(stains)
    progress(Step("stains", len(paths), len(paths)))
    if not found:
        raise errors[0]
    pooled = pool_stains(found)
    if file is not None:
        _write_estimate(file, found, pooled, method=method)
    return LaboratoryStains(pooled, tuple(found), tuple(_remarks(found, pooled)), tuple(errors))


def write_stains(
    out: Path, stain: StainSettings, *, heading: Sequence[str], names: Sequence[str]
) -> None:
    """Write stain vectors as a configuration, below lines of comment and the names of sources."""
    lines = [
        *heading,
        *(f"#   {json.dumps(name, ensure_ascii=False)}" for name in names),
        "stain:",
        *(f"  {name}: {list(vector)}" for name, vector in stain.model_dump().items()),
    ]
    with whole_file(out) as partial:
        partial.write_text("\n".join(lines) + "\n", "utf-8")


def _remarks(found: Sequence[SlideStains], pooled: StainSettings) -> list[str]:
    remarks = [
        f"{each.slide.name} is left out: it {each.reason}"
        for each in found
        if each.reason is not None
    ]
    estimates = [each.estimate for each in found if each.estimate is not None]
    levels = [value for each in estimates for value in each.background]
    if max(levels) - min(levels) > _SAME_SCANNER_LEVELS:
        remarks.append(
            "the colour of glass differs between slides: estimate slides of each scanner by "
            "themselves"
        )
    remarks += unlike_pooled(found, pooled)
    used = len(estimates)
    if used < _FEW_SLIDES:
        remarks.append(
            f"few slides ({used}): the vectors of one depend on how much of each stain is in it; "
            "give about ten"
        )
    return remarks


def _write_estimate(
    out: Path, found: Sequence[SlideStains], pooled: StainSettings, *, method: str
) -> None:
    from wsi_suite import __version__

    used = [each.slide.name for each in found if each.estimate is not None]
    heading = [
        f"# Stain vectors: medians over {len(used)} slides, estimated by wsi-suite {__version__}",
        f"# (wsi-suite stains estimate --method {method}). For: wsi-suite run --config {out.name}",
    ]
    write_stains(out, pooled, heading=heading, names=used)
