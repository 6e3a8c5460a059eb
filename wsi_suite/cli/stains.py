"""``stains estimate``: stain vectors of a laboratory, from its slides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_suite.cli.options import (
    ConfigFiles,
    ConfigOut,
    Debug,
    Json,
    Mpp,
    OverwriteConfig,
    SetValue,
    Slides,
    check_new,
    settings_from,
)

if TYPE_CHECKING:
    from wsi_suite.analysis.slide_stains import SlideStains
    from wsi_suite.config import Settings, StainSettings

StainMethod = Annotated[
    str,
    typer.Option(
        "--method",
        help="qupath as QuPath estimates, or macenko or vahadane.",
        metavar="METHOD",
    ),
]
Background = Annotated[
    bool,
    typer.Option("--background", help="Take the colour of empty glass for background; else white."),
]

_FEW_SLIDES = 3
_SAME_SCANNER_LEVELS = 15  # about 0.03 of optical density


def estimate(
    *,
    slides: Slides,
    method: StainMethod = "qupath",
    background: Background = False,
    out: ConfigOut = None,
    mpp: Mpp = None,
    config: ConfigFiles = None,
    set_: SetValue = None,
    overwrite: OverwriteConfig = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Estimate stain vectors from the tissue of slides, one set for all of them.

    Angles are those to the vectors in use: the defaults, or those of --config. Slides that are no
    H-DAB are named and left out. Of the others the median counts.
    """
    from wsi_suite.analysis.slide_stains import estimate_slide, pool_stains
    from wsi_suite.cli.outcomes import leave
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note, print_json, show_error
    from wsi_suite.errors import ConfigError, WsiSuiteError, did_you_mean
    from wsi_suite.slides.sources import expand_slides
    from wsi_suite.staining.estimation import METHODS

    known = {name: name for name in METHODS}
    if method not in known:
        hint = did_you_mean(method, METHODS) or f"; there is: {', '.join(METHODS)}"
        raise ConfigError(f"--method {method}: unknown{hint}")
    check_new(out, overwrite=overwrite)
    settings = settings_from(config, set_, mpp=mpp)
    paths = expand_slides(slides, tell=note)
    found: list[SlideStains] = []
    failed: list[WsiSuiteError] = []
    for number, path in enumerate(paths, 1):
        with working(f"looking at {path.name} ({number} of {len(paths)})"):
            try:
                stains = estimate_slide(
                    path,
                    method=known[method],
                    background=background,
                    mpp=settings.mpp,
                    tissue=settings.tissue,
                )
            except WsiSuiteError as error:
                show_error(error)
                failed.append(error)
            else:
                found.append(stains)
    if not found:
        leave(failed, of=len(paths))
    pooled = pool_stains(found)
    if as_json:
        print_json({"stain": pooled.model_dump(), "slides": [_as_json(each) for each in found]})
    else:
        _show(found, pooled, settings)
    _remark(found)
    if out is not None:
        _write(out, found, pooled, method=method)
    leave(failed, of=len(paths))


def _show(found: Sequence[SlideStains], pooled: StainSettings, settings: Settings) -> None:
    from wsi_suite.cli.terminal import show_table
    from wsi_suite.staining.estimation import angle_degrees

    rows: list[tuple[object, ...]] = []
    for each in found:
        estimate, glass = each.estimate, _colour(each.glass_rgb)
        if estimate is None:
            rows.append((each.slide.name, each.kind, None, None, None, None, glass))
            continue
        rows.append(
            (
                each.slide.name,
                each.kind,
                round(angle_degrees(estimate.hematoxylin, settings.stain.hematoxylin), 1),
                round(angle_degrees(estimate.dab, settings.stain.dab), 1),
                estimate.pixels,
                f"{100 * estimate.share:.0f} %",
                glass,
            )
        )
    off = (
        round(angle_degrees(pooled.hematoxylin, settings.stain.hematoxylin), 1),
        round(angle_degrees(pooled.dab, settings.stain.dab), 1),
    )
    rows.append(("all", None, *off, None, None, _colour(pooled.background)))
    columns = ("slide", "stain", "hematoxylin °", "DAB °", "pixels", "used", "glass")
    show_table(columns, rows)
    show_table(
        ("", "R", "G", "B"),
        [("hematoxylin", *pooled.hematoxylin), ("DAB", *pooled.dab)],
    )


def _remark(found: Sequence[SlideStains]) -> None:
    from wsi_suite.cli.terminal import note

    for each in found:
        if each.reason is not None:
            note(f"{each.slide.name} is left out: it {each.reason}")
    estimates = [each.estimate for each in found if each.estimate is not None]
    levels = [value for each in estimates for value in each.background]
    if max(levels) - min(levels) > _SAME_SCANNER_LEVELS:
        note(
            "the colour of glass differs between slides: estimate slides of each scanner by "
            "themselves"
        )
    used = len(estimates)
    if used < _FEW_SLIDES:
        note(
            f"few slides ({used}): the vectors of one depend on how much of each stain is in it; "
            "give about ten"
        )


def _write(out: Path, found: Sequence[SlideStains], pooled: StainSettings, *, method: str) -> None:
    from wsi_suite import __version__
    from wsi_suite.files import whole_file

    used = [each.slide.name for each in found if each.estimate is not None]
    lines = [
        f"# Stain vectors: medians over {len(used)} slides, estimated by wsi-suite {__version__}",
        f"# (wsi-suite stains estimate --method {method}). For: wsi-suite run --config {out.name}",
        *(f"#   {json.dumps(name, ensure_ascii=False)}" for name in used),
        "stain:",
        *(f"  {name}: {list(vector)}" for name, vector in pooled.model_dump().items()),
    ]
    with whole_file(out) as partial:
        partial.write_text("\n".join(lines) + "\n", "utf-8")


def _colour(rgb: tuple[float, float, float] | None) -> str | None:
    return None if rgb is None else " ".join(f"{value:g}" for value in rgb)


def _as_json(each: SlideStains) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(each), "slide": str(each.slide)}
