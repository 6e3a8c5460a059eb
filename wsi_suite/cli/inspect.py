"""``info`` and ``doctor``: what a slide is, and what this machine has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from wsi_suite.cli.options import Debug, Json, Mpp


def info(
    slides: Annotated[
        list[str], typer.Argument(help="Slide files, folders or patterns.", metavar="SLIDE...")
    ],
    mpp: Mpp = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a slide's levels, pixel size, vendor, and which reader is used."""
    from wsi_suite.cli.terminal import stdout
    from wsi_suite.slides.slide import open_slide
    from wsi_suite.sources import expand_slides

    described = []
    for path in expand_slides(slides):
        with open_slide(path, mpp=mpp) as slide:
            described.append(slide.describe())
    if as_json:
        stdout.file.write(json.dumps(described, indent=2) + "\n")
        return
    for slide_facts in described:
        _show_slide(slide_facts)


def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Show what this machine has: OpenSlide, torch and device, QuPath, models, disk."""
    from wsi_suite.cli.terminal import stdout
    from wsi_suite.doctor import examine

    checks = examine()
    if as_json:
        stdout.file.write(json.dumps([vars(check) for check in checks], indent=2) + "\n")
    else:
        marks = {"ok": "[green]ok[/green]", "absent": "[yellow]--[/yellow]", "bad": "[red]!![/red]"}
        for check in checks:
            stdout.print(f"{marks[check.state]:>2}  {check.name:<10} {check.found}",
                         soft_wrap=True)
            if check.remedy:
                stdout.print(f"    {'':<10} {check.remedy}", style="dim", soft_wrap=True)
    if any(check.state == "bad" for check in checks):
        raise typer.Exit(1)


def _show_slide(facts: dict[str, Any]) -> None:
    from wsi_suite.cli.terminal import show_table, stdout

    um = facts["mpp"]
    size = f"{facts['width'] * um[0] / 1000:.1f} x {facts['height'] * um[1] / 1000:.1f} mm"
    stdout.print(Path(facts["path"]).name, style="bold", markup=False)
    power = f", {facts['objective_power']:g}x" if facts["objective_power"] else ""
    stdout.print(f"{facts['width']} x {facts['height']} px, {size}, "
                 f"{um[0]:.4g} x {um[1]:.4g} um per pixel{power}")
    stdout.print(f"vendor {facts['vendor']}, read through: {facts['reader']}")
    for note in facts["notes"]:
        stdout.print(f"[yellow]note:[/yellow] {note}")
    show_table(
        "",
        ("level", "size", "downsample", "um/px", "tile", "compression"),
        [
            (number, f"{level['width']} x {level['height']}", f"{level['downsample'][0]:g}",
             f"{um[0] * level['downsample'][0]:.4g}",
             "x".join(map(str, level["tile"])) if level["tile"] else None, level["compression"])
            for number, level in enumerate(facts["levels"])
        ],
    )
