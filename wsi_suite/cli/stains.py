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
    settings_from,
)
from wsi_suite.commands.checks import check_new

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
    from wsi_suite.cli.outcomes import leave
    from wsi_suite.cli.progress import messages
    from wsi_suite.cli.terminal import note, print_json, show_error
    from wsi_suite.commands.stains import estimate_stains
    from wsi_suite.errors import WsiSuiteError

    settings = settings_from(config, set_, mpp=mpp)
    failed: list[WsiSuiteError] = []

    def tell(news: str | WsiSuiteError) -> None:
        if isinstance(news, str):
            note(news)
            return
        failed.append(news)
        show_error(news)

    try:
        with messages() as progress:
            made = estimate_stains(
                slides,
                method=method,
                background=background,
                out=out,
                settings=settings,
                overwrite=overwrite,
                tell=tell,
                progress=progress,
            )
    except WsiSuiteError as error:
        if error not in failed:
            raise
        leave(failed, of=len(failed))
    if as_json:
        slides_ = [_as_json(each) for each in made.slides]
        print_json({"stain": made.stain.model_dump(), "slides": slides_})
    else:
        _show(made.slides, made.stain, settings)
    for remark in made.remarks:
        note(remark)
    leave(failed, of=len(made.slides) + len(failed))


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
    from wsi_suite.commands.stains import write_stains
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
        write_stains(out, stain, heading=heading, names=origin)
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


def _colour(rgb: tuple[float, float, float] | None) -> str | None:
    return None if rgb is None else " ".join(f"{value:g}" for value in rgb)


def _as_json(each: SlideStains) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(each), "slide": str(each.slide)}
