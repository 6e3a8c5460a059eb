"""``explain``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from wsi_suite.cli.options import Debug, Json
from wsi_suite.commands.defaults import DEFAULT_MODEL

ExplainedSlide = Annotated[
    Path,
    typer.Argument(help="Slide, picture or tile.", metavar="SLIDE", show_default=False),
]
ExplainingModel = Annotated[
    str,
    typer.Option(
        "--model",
        help="A model's name ('wsi-suite models' lists them), or a model folder.",
        metavar="NAME|FOLDER",
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="Place of a nucleus, level-0 pixels as QuPath shows them.",
        metavar="X,Y",
        show_default="of a picture: the three whose class is least sure",
    ),
]
SizeUm = Annotated[
    float,
    typer.Option("--size", min=20, max=256, help="Side of the field shown, um.", metavar="UM"),
]
ExplainMpp = Annotated[
    float | None,
    typer.Option(
        "--mpp", help="um per level-0 pixel, 0.05 to 10, if the file does not say.", metavar="UM"
    ),
]
PictureOut = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="The picture; it must not be there yet.",
        metavar="FILE.png",
        show_default=False,
    ),
]

_DOUBTFUL = 3


def explain(
    *,
    slide: ExplainedSlide,
    out: PictureOut,
    model: ExplainingModel = DEFAULT_MODEL,
    at: At = None,
    size: SizeUm = 64.0,
    mpp: ExplainMpp = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    r"""Draw the image regions that support the class of a nucleus (Grad-CAM).

    Beside the plain field stand Grad-CAM (where in the field such features lie) and HiResCAM (which
    tissue decided about this nucleus), with the probability of its class. They show what the model
    weighs, not whether it is right. Runs on the CPU. Needs the extra
    'explain': pip install 'wsi-suite\[explain]'.
    """
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note, print_json, say, show_table
    from wsi_suite.errors import ConfigError

    place = None if at is None else parse_place(at)
    _check_picture(out)
    if find_spec("captum") is None:  # before torch, which takes seconds
        raise ConfigError("explain needs captum: pip install 'wsi-suite[explain]'")
    from wsi_suite.detector.model_folder import find_model
    from wsi_suite.explain.nuclei import Explainer
    from wsi_suite.explain.picture import draw_picture
    from wsi_suite.slides.slide import open_slide

    folder = find_model(model)
    with open_slide(slide, mpp=mpp) as opened, working(f"explaining {opened.path.name}"):
        explainer = Explainer(opened, folder, size_um=size)
        nuclei = [explainer.at(place)] if place else explainer.doubtful(_DOUBTFUL)
        draw_picture(
            out,
            nuclei,
            title=f"{opened.path.name}   {folder.spec.name} ({folder.hash[:12]})",
            mpp=opened.mpp,
        )
    for remark in explainer.remarks:
        note(remark)
    if as_json:
        print_json({"picture": str(out), "nuclei": [n.as_json() for n in nuclei]})
        return
    show_table(
        ("x", "y", "class", "probability", "confidence"),
        (
            (
                f"{one.point[0]:.1f}",
                f"{one.point[1]:.1f}",
                one.name,
                None if one.probability is None else one.probability[one.name],
                round(one.confidence, 3),
            )
            for one in nuclei
        ),
    )
    say(f"picture: {out}")


def parse_place(text: str) -> tuple[float, float]:
    """Read ``X,Y``, level-0 pixels."""
    from math import isfinite

    from wsi_suite.errors import ConfigError

    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        x = y = float("nan")
    if not (isfinite(x) and isfinite(y)):
        raise ConfigError(f"--at {text}: expected two numbers, as 1200,850.5")
    return x, y


def _check_picture(out: Path) -> None:
    from wsi_suite.errors import ConfigError, OutputConflictError

    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: expected the name of a PNG file, as nucleus.png")
    if out.exists():
        raise OutputConflictError(f"{out}: is there already; remove it or give another --out")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}; make it first")
