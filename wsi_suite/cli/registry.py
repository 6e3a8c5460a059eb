"""``models``: ``list``, ``show``, ``verify``, ``add`` and ``remove``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import Debug, Json

if TYPE_CHECKING:
    from wsi_suite.detector.model_facts import ModelFacts

ShownModel = Annotated[
    str,
    typer.Argument(
        help="A model's name, or a model folder.", metavar="NAME|FOLDER", show_default=False
    ),
]
VerifiedModels = Annotated[
    list[str] | None,
    typer.Argument(
        help="Models' names, or model folders; without any, all that have a name.",
        metavar="[NAME|FOLDER]...",
        show_default=False,
    ),
]
AddedFolder = Annotated[
    Path,
    typer.Argument(help="Model folder, as train writes it.", metavar="FOLDER", show_default=False),
]
AddedName = Annotated[
    str | None,
    typer.Option(
        "--name",
        help="Name by which --model will find it.",
        metavar="NAME",
        show_default="the one in model.yaml",
    ),
]
RemovedName = Annotated[
    str, typer.Argument(help="Name of an added model.", metavar="NAME", show_default=False)
]


def models(context: typer.Context, *, as_json: Json = False, debug: Debug = False) -> None:
    """List the models that --model finds by name; show, verify, add or export one."""
    if context.invoked_subcommand is None:
        list_models(as_json=as_json)


def list_models(*, as_json: Json = False, debug: Debug = False) -> None:
    """List the models that --model finds by name: bundled ones, and those you added."""
    from wsi_suite.cli.terminal import print_json, say, show_error, show_table
    from wsi_suite.detector.model_facts import describe_model
    from wsi_suite.detector.model_folder import find_model, named_models
    from wsi_suite.errors import ModelError

    known: list[ModelFacts] = []
    for name in named_models():
        try:
            known.append(describe_model(find_model(name)))
        except ModelError as error:
            show_error(error)
    if as_json:
        keys = ("name", "path", "origin", "hash", "classes", "read_mpp")
        print_json([{key: facts.as_json()[key] for key in keys} for facts in known])
    elif not known:
        say("No model is bundled or added; give a model folder to --model.")
    else:
        columns = ("model", "origin", "classes", "um/px", "backbone", "hash")
        show_table(columns, map(_row, known))


def show(*, model: ShownModel, as_json: Json = False, debug: Debug = False) -> None:
    """Show a model: classes, resolution, threshold, training data and model card."""
    from rich.markdown import Markdown

    from wsi_suite.cli.terminal import print_json, say, show_table, stdout
    from wsi_suite.detector.model_facts import describe_model
    from wsi_suite.detector.model_folder import find_model

    facts = describe_model(find_model(model))
    if as_json:
        print_json(facts.as_json())
        return
    show_table(("model", facts.name), _facts(facts))
    if facts.card is None:
        say("no MODEL_CARD.md in it: what it is good for is not told")
    else:
        stdout.print()
        title, _, text = facts.card.partition("\n")
        stdout.print(Markdown(text.strip() if title.startswith("#") else facts.card))


def verify(*, models: VerifiedModels = None, as_json: Json = False, debug: Debug = False) -> None:
    """Check that models are whole: their checksums, every tensor, the same answer twice.

    Weights are read as safetensors, which holds no code. Checksums (SHA256SUMS, written by train
    and add) tell damage; they are no signature of who made a model.
    """
    from dataclasses import asdict

    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import print_json, say, show_error, show_table
    from wsi_suite.detector.model_check import verify_model
    from wsi_suite.detector.model_folder import find_model, named_models
    from wsi_suite.errors import WsiSuiteError

    names = models or named_models()
    whole: list[dict[str, object]] = []
    failed: list[WsiSuiteError] = []
    for name in names:
        try:
            with working(f"verifying {name}"):
                folder = find_model(name)
                found = verify_model(folder)
        except WsiSuiteError as error:
            show_error(error)
            failed.append(error)
        else:
            whole.append({"name": name, "hash": folder.hash} | asdict(found))
    if as_json:
        print_json(whole)
    elif whole:
        show_table(
            ("model", "checksums", "tensors", "weights", "hash"),
            (
                (
                    one["name"],
                    "as stated" if one["stated"] else "none stated",
                    one["tensors"],
                    one["weights"],
                    str(one["hash"])[:12],
                )
                for one in whole
            ),
        )
    if not names:
        say("No model is bundled or added; name a model folder.")
    if failed:
        raise typer.Exit(1 if len(names) > 1 else failed[0].exit_code)


def add(
    *,
    folder: AddedFolder,
    name: AddedName = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy a model into your models folder, so that --model NAME finds it everywhere.

    The model is verified first. The folder is that of your data on this system; the environment
    variable WSI_SUITE_MODELS names another.
    """
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note, print_json, say
    from wsi_suite.detector.added_models import add_model
    from wsi_suite.detector.checksums import SUMS_FILE
    from wsi_suite.detector.model_folder import CARD_FILE

    with working(f"adding {folder}"):
        added = add_model(folder, name=name)
    if not (folder / SUMS_FILE).is_file():
        note(f"{folder}: no {SUMS_FILE} in it, so damage before this copy could not be told")
    if not (folder / CARD_FILE).is_file():
        note(f"{folder}: no {CARD_FILE} in it, so users will not know what the model is good for")
    if as_json:
        print_json({"name": added.path.name, "path": str(added.path), "hash": added.hash})
    else:
        say(f"--model {added.path.name}: {added.path}")


def remove(*, name: RemovedName, debug: Debug = False) -> None:
    """Remove a model that you added; bundled models and other folders stay."""
    from wsi_suite.cli.terminal import say
    from wsi_suite.detector.added_models import remove_model

    say(f"removed {remove_model(name)}")


def _row(facts: ModelFacts) -> tuple[object, ...]:
    return (
        facts.name,
        facts.origin,
        ", ".join(facts.classes),
        facts.read_mpp,
        facts.backbone,
        facts.hash[:12],
    )


def _facts(facts: ModelFacts) -> Iterator[tuple[str, str]]:
    yield "lies in", f"{facts.path} ({facts.origin})"
    yield "hash", facts.hash + ("" if facts.stated else " (no checksums stated: unverifiable)")
    headline = f"; {facts.headline_class} stands first" if facts.headline_class else ""
    yield "classes", ", ".join(facts.classes) + headline
    yield "reads", f"{facts.read_mpp:g} um per pixel, {facts.halo_px} px around a window"
    yield "threshold", f"confidence {facts.min_confidence:g}"
    yield "calibration", _values(facts.calibration) or "none"
    yield "backbone", facts.backbone
    if facts.start_from:
        yield "started from", facts.start_from
    yield "trained on", _part(facts, facts.trained_runs, "train") or "not told"
    if facts.h_and_e.get("tiles"):
        h_and_e = facts.h_and_e
        yield "", f"{h_and_e['tiles']:,} tiles, {h_and_e.get('nuclei', 0):,} nuclei from H&E"
    yield "held out", ", ".join(facts.held_out_runs) or "none"
    yield "trained with", f"wsi-suite {facts.wsi_suite}" if facts.wsi_suite else "not told"


def _part(facts: ModelFacts, runs: tuple[str, ...], part: str) -> str:
    sizes = [
        f"{sizes[part]:,} {name}"
        for name, sizes in (("tiles", facts.tiles), ("nuclei", facts.nuclei))
        if part in sizes
    ]
    told = f"runs {', '.join(runs)}" if runs else ""
    return "; ".join(filter(None, [told, ", ".join(sizes)]))


def _values(values: dict[str, float] | None) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in (values or {}).items())
