"""``stains``: stain vectors of a laboratory, from its slides or from QuPath."""

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
    from wsi_suite.staining.qupath_stains import NamedStains

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

QuPathSource = Annotated[
    str,
    typer.Argument(
        help="The text that QuPath shows, a file with it, or a QuPath project.",
        metavar="TEXT|FILE|PROJECT",
        show_default=False,
    ),
]
ProjectImageName = Annotated[
    str | None,
    typer.Option(
        "--image",
        help="Name or id of an image of the project, where the images' vectors differ.",
        metavar="NAME",
        show_default=False,
    ),
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
    _remark(found, pooled)
    if out is not None:
        _write_estimate(out, found, pooled, method=method)
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


def _remark(found: Sequence[SlideStains], pooled: StainSettings) -> None:
    from wsi_suite.analysis.slide_stains import unlike_pooled
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
    for remark in unlike_pooled(found, pooled):
        note(remark)
    used = len(estimates)
    if used < _FEW_SLIDES:
        note(
            f"few slides ({used}): the vectors of one depend on how much of each stain is in it; "
            "give about ten"
        )


def from_qupath(
    *,
    source: QuPathSource,
    image: ProjectImageName = None,
    out: ConfigOut = None,
    config: ConfigFiles = None,
    set_: SetValue = None,
    overwrite: OverwriteConfig = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Take stain vectors from QuPath.

    From a text, as the Workflow tab shows it (setColorDeconvolutionStains), from a script with it,
    or from the images of a project. Angles are those to the vectors in use: the defaults, or those
    of --config.
    """
    from wsi_suite.cli.terminal import print_json, say, show_table
    from wsi_suite.config import StainSettings
    from wsi_suite.staining.estimation import angle_degrees

    check_new(out, overwrite=overwrite)
    used = settings_from(config, set_).stain
    named, origin = _read_qupath(source, image=image)
    stain = StainSettings(
        hematoxylin=named.vectors.hematoxylin,
        dab=named.vectors.dab,
        background=named.vectors.background,
    )
    if as_json:
        print_json({"name": named.name, "from": list(origin), "stain": stain.model_dump()})
    else:
        off = [
            round(angle_degrees(getattr(stain, name), getattr(used, name)), 1)
            for name in ("hematoxylin", "dab")
        ]
        rows = [
            ("hematoxylin", *stain.hematoxylin, off[0]),
            ("DAB", *stain.dab, off[1]),
            ("background", *stain.background, None),
        ]
        show_table((named.name, "R", "G", "B", "off by °"), rows)
    if out is not None:
        heading = [f"# Stain vectors {json.dumps(named.name, ensure_ascii=False)} from QuPath."]
        _write(out, stain, heading=heading, names=origin)
        say(f"For later runs: --config {out}")


def _read_qupath(source: str, *, image: str | None) -> tuple[NamedStains, tuple[str, ...]]:
    """Return stain vectors and the names of their sources."""
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note
    from wsi_suite.errors import ConfigError, InputError
    from wsi_suite.runs.project_stains import project_stains
    from wsi_suite.staining.qupath_stains import stains_of_qupath

    path = Path(source)
    is_text = "{" in source
    if not is_text and (path.suffix == ".qpproj" or path.is_dir()):
        with working("asking QuPath"):
            found = project_stains(path, image=image, tell=note)
        return found.stains, found.images
    if image is not None:
        raise ConfigError("--image: names an image of a QuPath project; give the project")
    if is_text:
        return stains_of_qupath(source, source="the text"), ()
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise InputError(
            f"{source}: cannot be read ({reason}); expected QuPath's text "
            "setColorDeconvolutionStains('{...}'), a file with it, or a project"
        ) from None
    return stains_of_qupath(text, source=source), (path.name,)


def _write_estimate(
    out: Path, found: Sequence[SlideStains], pooled: StainSettings, *, method: str
) -> None:
    from wsi_suite import __version__

    used = [each.slide.name for each in found if each.estimate is not None]
    heading = [
        f"# Stain vectors: medians over {len(used)} slides, estimated by wsi-suite {__version__}",
        f"# (wsi-suite stains estimate --method {method}). For: wsi-suite run --config {out.name}",
    ]
    _write(out, pooled, heading=heading, names=used)


def _write(
    out: Path, stain: StainSettings, *, heading: Sequence[str], names: Sequence[str]
) -> None:
    from wsi_suite.files import whole_file

    lines = [
        *heading,
        *(f"#   {json.dumps(name, ensure_ascii=False)}" for name in names),
        "stain:",
        *(f"  {name}: {list(vector)}" for name, vector in stain.model_dump().items()),
    ]
    with whole_file(out) as partial:
        partial.write_text("\n".join(lines) + "\n", "utf-8")


def _colour(rgb: tuple[float, float, float] | None) -> str | None:
    return None if rgb is None else " ".join(f"{value:g}" for value in rgb)


def _as_json(each: SlideStains) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(each), "slide": str(each.slide)}
