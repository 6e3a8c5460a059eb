"""``train``, ``evaluate`` and ``models export``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_suite.commands.checks import check_page, check_training_extra
from wsi_suite.commands.defaults import DEFAULT_MODEL, MATCH_UM, MIN_MATCH_UM
from wsi_suite.config import parse_settings
from wsi_suite.errors import ConfigError
from wsi_suite.given_settings import nested_values
from wsi_suite.given_values import names_of, number_of, path_of
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.resources import sample_configs_folder
from wsi_suite.settings_files import override_values, read_values

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Detector
    from wsi_suite.detector.model_folder import ModelFolder
    from wsi_suite.export.formats import Export
    from wsi_suite.training.evaluation_report import EvaluationReport
    from wsi_suite.training.labelled import LabelledTile
    from wsi_suite.training.settings import TrainSettings
    from wsi_suite.training.tiles import PixelChange
    from wsi_suite.training.trial import Trial

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A model that was trained.

    Attributes
    ----------
    folder
        Its folder, as `model` arguments take it.
    hash
        Hash of its weights and description.
    evaluation
        Its figures on ``split.test_runs``, or on the part ``test`` of a dataset, if there are any.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> trained = ws.train("train.yaml", data="endonuke", out="models/mine")
    >>> trained.folder.name, round(trained.evaluation.f1, 2)
    ('mine', 0.91)
    >>> found = ws.analyse("slides/B12_ER.svs", model=trained.folder)
    """

    folder: Path
    hash: str
    evaluation: EvaluationReport | None


def train(
    settings: TrainSettings | Mapping[str, Any] | str | Path | None = None,
    *,
    data: str | Path,
    out: str | Path,
    from_model: str | Path | None = None,
    overrides: Iterable[str] = (),
    h_and_e: str | Path | None = None,
    init: str | Path | None = None,
    mpp: float | None = None,
    device: str | None = None,
    tell: Callable[[str], None] = log.warning,
    progress: Progress = no_progress,
) -> Trained:
    """Train a detector on labelled tiles and measure it on those that were kept from training.

    A training that was stopped goes on when it is called again with the same `out`. Needs ``pip
    install 'wsi-suite[train]'``.

    Parameters
    ----------
    settings
        Settings of a training: values by name as in ``{"optimiser.epochs": 20}``, or the path of a
        YAML file such as ``sample_configs/train_endonuke.yaml``. They may be left out with
        `from_model`, and are then ``sample_configs/fine_tune.yaml``.
    data
        A dataset, or a folder with ``images/``, ``labels/`` and ``tiles.csv`` (id, id_run, mpp).
    out
        Becomes the model's folder; ``out/training`` keeps settings, curves, hashes of the data and
        versions.
    from_model
        Go on with this model, a name or a folder: its weights, classes and resolution.
    overrides
        Texts such as ``optimiser.epochs=20``, which go over `settings`.
    h_and_e
        Folder of tiles stained with H&E, drawn again as H-DAB.
    init
        File of a ResNet's weights, of timm or torchvision, that the backbone starts from.
    mpp
        um per pixel of the tiles, where ``tiles.csv`` does not say.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    tell
        Receives remarks, such as on an early end.
    progress
        Receives epochs done and in all, with the latest figures, and then the evaluation.

    Returns
    -------
    Trained
        Folder and figures of the model.

    Raises
    ------
    WsiSuiteError
        Settings, data, start or device cannot be used; `out` belongs to another training, or
        another process is at work in it.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> trained = ws.train("train.yaml", data="endonuke", out="models/mine")
    >>> trained.folder.name, round(trained.evaluation.map, 2)
    ('mine', 0.99)
    """
    data, out = path_of(data, option="--data"), path_of(out, option="--out")
    wanted = training_settings(
        settings, overrides=overrides, from_model=from_model, init=init, name_of_new=out.name
    )
    from wsi_suite.training.train import train_model

    model = train_model(
        wanted,
        data=data,
        out=out,
        h_and_e=path_of(h_and_e, option="--h-and-e", optional=True),
        mpp=mpp,
        device=device or "auto",
        progress=progress,
        tell=tell,
    )
    figures = figures_on_test_tiles(
        model, wanted, data=data, mpp=mpp, device=device, tell=tell, progress=progress
    )
    return Trained(model.path, model.hash, figures)


def evaluate(
    model: str | Path = DEFAULT_MODEL,
    *,
    data: str | Path,
    against: str | Path | None = None,
    mpp: float | None = None,
    runs: Collection[str] = (),
    part: str | None = None,
    match_um: float = MATCH_UM,
    stretched: bool = False,
    normalise: str | None = None,
    normalise_to: str | Path | None = None,
    flips: bool = False,
    report: str | Path | None = None,
    device: str | None = None,
    tell: Callable[[str], None] = log.warning,
    progress: Progress = no_progress,
) -> EvaluationReport:
    """Measure a model on labelled tiles: average precision, precision, recall, F1.

    A detection matches the nearest free nucleus of its class within `match_um`, confident ones
    first. Precision, recall and F1 are those at the model's own threshold. Intervals come from
    runs, and tiles within them, drawn again 1,000 times.

    Parameters
    ----------
    model
        Name or folder of a model.
    data
        A dataset, or a folder with ``images/``, ``labels/`` and ``tiles.csv`` (id, id_run, mpp).
    against
        Another model of the same classes to compare with, on the same tiles.
    mpp
        um per pixel of the tiles, where ``tiles.csv`` does not say.
    runs
        Only tiles of these ``id_run``.
    part
        Only this part of a dataset's split, such as ``test``.
    match_um
        Largest distance of a match, um.
    stretched
        Stretch each tile's contrast first, as QuPath's InstanSeg extension does.
    normalise, normalise_to
        Give tiles the stain of a picture first: ``macenko``, ``reinhard`` or ``vahadane``, and the
        picture.
    flips
        Average eight flips and turns.
    report
        Becomes an HTML page with pictures: curves, reliability, counts, the worst tiles.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    tell
        Receives remarks, such as that the model was trained on some of the tiles.
    progress
        Receives the current step, as `message`.

    Returns
    -------
    EvaluationReport
        The figures, with intervals.

    Raises
    ------
    WsiSuiteError
        An argument, the model, the data or the device cannot be used, or the page cannot be
        written.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> figures = ws.evaluate("endonuke-resnet18", data="endonuke", report="mine.html")
    >>> round(figures.map, 2), figures.nuclei
    (0.99, 129)
    >>> round(figures.intervals["map"].low, 2)
    0.99
    """
    if (normalise is None) != (normalise_to is None):
        raise ConfigError("--normalise and --normalise-to: give both, or none")
    if normalise is not None and stretched:
        raise ConfigError("--stretched: shows tiles in another way than --normalise; give one")
    match_um = number_of(match_um, option="--match-um", least=MIN_MATCH_UM)
    data, page = path_of(data, option="--data"), path_of(report, option="--report", optional=True)
    check_page(page, option="--report")
    from wsi_suite.datasets.pictures import read_rgb
    from wsi_suite.detector.detector import load_detector
    from wsi_suite.detector.model_folder import trained_runs
    from wsi_suite.training.evaluation_report import report_trial, write_page
    from wsi_suite.training.normalisation import stain_normaliser
    from wsi_suite.training.tiles import as_in_instanseg
    from wsi_suite.training.trial import try_model

    detectors = [
        load_detector(name, device=device or "auto", flips=flips)
        for name in (model, against)
        if name is not None
    ]
    tiles = _tiles(data, detectors[0], mpp=mpp, runs=runs, part=part)

    def attempt(detector: Detector) -> Trial:
        trained_on = trained_runs(detector.spec.provenance)
        seen = sorted(trained_on & {tile.run for tile in tiles})
        if seen:
            name = "the model" if against is None else detector.spec.name
            tell(f"{name} was trained on some of these runs: {', '.join(seen)}")
        change: PixelChange | None = None
        if stretched:
            change = partial(as_in_instanseg, spec=detector.spec)
        if normalise is not None and normalise_to is not None:
            picture = path_of(normalise_to, option="--normalise-to")
            change = stain_normaliser(normalise, read_rgb(picture))
        progress(Step(detector.spec.name, 0, 1, f"detecting in {len(tiles)} tiles"))
        return try_model(detector, tiles, match_um=match_um, change=change)

    trial, *others = [attempt(detector) for detector in detectors]
    progress(Step(detectors[0].spec.name, 0, 1, "drawing tiles again"))
    figures = report_trial(trial, against=others[0] if others else None)
    if page is not None:
        write_page(page, figures, trial, read_mpp=detectors[0].spec.read_mpp)
    progress(Step(detectors[0].spec.name, 1, 1))
    return figures


def export_model(
    model: str | Path,
    *,
    format: str,  # noqa: A002 - the word of the command line
    out: str | Path,
) -> Export:
    """Write a model for another program; what is written has been run, and answers as it does.

    Parameters
    ----------
    model
        Name or folder of a model.
    format
        ``instanseg``: a folder that QuPath's InstanSeg extension runs by itself (QuPath 0.6 and
        later). ``torchscript``: one file, from pixels to nuclei. ``onnx``: one file, from pixels to
        maps of confidence; needs ``pip install 'wsi-suite[export]'``.
    out
        The file, or for ``instanseg`` the folder; it must not be there yet.

    Returns
    -------
    Export
        What was written, and how far its answers are from the model's.

    Raises
    ------
    WsiSuiteError
        The model or the format cannot be used, `out` is there already or cannot be written, or it
        would answer otherwise than the model.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> done = ws.export_model("endonuke-resnet18", format="torchscript", out="nuclei.pt")
    >>> done.path.name, done.difference.tolerable
    ('nuclei.pt', True)
    """
    from wsi_suite.detector.model_folder import find_model
    from wsi_suite.export import formats

    return formats.export_model(find_model(model), path_of(out, option="--out"), format_name=format)


def training_settings(
    given: TrainSettings | Mapping[str, Any] | str | Path | None,
    *,
    name_of_new: str,
    overrides: Iterable[str] = (),
    from_model: str | Path | None = None,
    init: str | Path | None = None,
) -> TrainSettings:
    """Return the settings of a training, whichever way they are given.

    Parameters
    ----------
    given, overrides, from_model, init
        As for :func:`train`.
    name_of_new
        Name of the model, if nothing else names it.

    Raises
    ------
    ConfigError
        What is needed for training is not installed, or the settings cannot be used.
    ModelError
        There is no model `from_model`.
    """
    check_training_extra()
    from wsi_suite.training.settings import TrainSettings

    source: Path | None = None
    if given is None:
        if from_model is None:
            raise ConfigError("CONFIG is missing; give one, or a model to go on with, as --from")
        given = sample_configs_folder() / "fine_tune.yaml"
    if isinstance(given, str | Path):
        source = Path(given)
        values = read_values(source, overrides=overrides)
    elif isinstance(given, TrainSettings | Mapping):
        named = given.model_dump(exclude_unset=True) if isinstance(given, TrainSettings) else given
        values = override_values(nested_values(named), overrides)
    else:
        raise ConfigError(
            f"settings: a {type(given).__name__}: expected values by name, as in "
            "{'optimiser.epochs': 20}, or the path of a YAML file"
        )
    if from_model is not None:
        common = _as_in_model(from_model, name_of_new=name_of_new)
        values = {**common, **values, "start_from": str(from_model)}
    if init is not None:
        values["init"] = str(init)
    return parse_settings(TrainSettings, values, source=source)


def figures_on_test_tiles(
    model: ModelFolder,
    settings: TrainSettings,
    *,
    data: Path,
    mpp: float | None,
    device: str | None,
    tell: Callable[[str], None] = log.warning,
    progress: Progress = no_progress,
) -> EvaluationReport | None:
    """Measure a trained model on the tiles that were kept for that, if there are any."""
    from wsi_suite.training.settings import SplitSettings

    runs = settings.split.test_runs
    part = _test_part(data) if settings.split == SplitSettings() else None
    if not runs and part is None:
        return None
    return evaluate(
        model.path.resolve(),
        data=data,
        mpp=mpp,
        runs=runs,
        part=part,
        device=device,
        tell=tell,
        progress=progress,
    )


def _as_in_model(name: str | Path, *, name_of_new: str) -> dict[str, Any]:
    """Return the settings that a model that goes on has in common with the one it comes from."""
    from wsi_suite.detector.model_folder import find_model

    spec = find_model(name).spec
    return {
        "name": name_of_new,
        "read_mpp": spec.read_mpp,
        "headline_class": spec.headline_class,
        "labels": spec.labels.model_dump(mode="json"),
        "network": spec.network.model_dump(mode="json"),
    }


def _test_part(data: Path) -> str | None:
    """Return the part ``test`` if the data is a dataset that has it."""
    from wsi_suite.datasets.store import is_dataset, open_dataset, read_image_rows

    if not is_dataset(data):
        return None
    parts = {row["split"] for row in read_image_rows(open_dataset(data))}
    return "test" if "test" in parts else None


def _tiles(
    data: Path, detector: Detector, *, mpp: float | None, runs: Collection[str], part: str | None
) -> list[LabelledTile]:
    from wsi_suite.training.labelled import load_tiles, tiles_of_part, tiles_of_runs

    tiles = load_tiles(data, detector.spec.labels, mpp=mpp)
    if wanted := names_of(runs):
        tiles = tiles_of_runs(tiles, wanted)
    return tiles if part is None else tiles_of_part(tiles, part)
