"""``score``: scores from the tables of earlier runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

from wsi_suite.analysis.given_regions import RegionsLike
from wsi_suite.commands.checks import check_out
from wsi_suite.commands.results import ResultLike, folders_of
from wsi_suite.config import Settings
from wsi_suite.errors import ConfigError
from wsi_suite.given_settings import SettingsLike, nested_values, settings_of
from wsi_suite.given_values import check_choice, path_of
from wsi_suite.qupath.objects import Shape
from wsi_suite.runs import rescore_batch as batches
from wsi_suite.runs.outcome import Outcome, Outcomes, Tell, log_errors

_TAKEN = {"score", "measure", "stain", "run"}  # of the latter nothing, but it changes no result


def rescore(
    result: ResultLike,
    *,
    settings: SettingsLike = None,
    rois: RegionsLike = None,
    out: str | Path | None = None,
    geojson: Shape | None = None,
    by_region: bool = False,
) -> Outcome:
    """Score the nuclei of one result again; needs neither slide nor model.

    Parameters
    ----------
    result
        A results folder, its ``nuclei.parquet``, or what a run returned.
    settings, rois, out, geojson, by_region
        As for :func:`rescore_batch`; with one result regions themselves can be given.

    Returns
    -------
    Outcome
        The new scores in `summary`. The result itself is not changed.

    Raises
    ------
    WsiSuiteError
        The result, the regions or the settings cannot be used, or something cannot be written.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> again = ws.rescore("results/B12_ER", settings={"score.thresholds_od": [0.1, 0.3, 0.5]})
    >>> round(again.summary.headline.value)
    267
    """
    (outcome,) = rescore_batch(
        [result], settings=settings, rois=rois, out=out, geojson=geojson, by_region=by_region
    )
    if outcome.error is not None:
        raise outcome.error
    return outcome


def rescore_batch(
    results: ResultLike | Iterable[ResultLike],
    *,
    settings: SettingsLike = None,
    rois: RegionsLike = None,
    out: str | Path | None = None,
    geojson: Shape | None = None,
    by_region: bool = False,
    tell: Tell = log_errors,
) -> Outcomes:
    """Score the nuclei of results again, with other thresholds or regions: ``wsi-suite score``.

    Parameters
    ----------
    results
        Results folders, their ``nuclei.parquet``, or what runs returned.
    settings
        :class:`~wsi_suite.config.Settings`, values by name as in ``{"score.marker": "ER"}``, or the
        path of a YAML file. What of `score` is not set is as the run had it. Sections `measure` and
        `stain` say how nuclei must have been measured.
    rois
        Regions of interest: a folder of ``<stem>.geojson``, for one result also a GeoJSON file or
        regions themselves; without them those of the run.
    out
        Gets a folder for each result, and ``summary.csv``; nothing is written without it.
    geojson
        Write the nuclei with their new classes there, too: as ``polygon``, ``ellipse`` or
        ``point``.
    by_region
        With `geojson`: one file for each region.
    tell
        Receives the outcome of each result, errors of the batch as a whole, and remarks.

    Returns
    -------
    Outcomes
        A list with an :class:`Outcome` per result, in their order; a result that cannot be scored
        has an error.

    Raises
    ------
    WsiSuiteError
        The settings cannot be used, scores would take the place of others in `out`, or another
        process writes there.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> results = ["results/B12_ER", "results/B13_ER"]
    >>> outcomes = ws.rescore_batch(results, rois="hot", out="hot-scores")
    >>> [round(outcome.summary.headline.value) for outcome in outcomes if outcome.summary]
    [243, 186]
    """
    if geojson is not None:
        check_choice(geojson, get_args(Shape), option="--geojson")
        if out is None:
            raise ConfigError("--geojson: give --out too, the folder for the files")
    elif by_region:
        raise ConfigError("--by-region: give --geojson too, such as --geojson polygon")
    folder = path_of(out, option="--out", optional=True)
    if folder is not None:
        check_out(folder)
    wanted = _score_settings(settings, tell=tell)
    given = wanted.model_fields_set
    return batches.rescore_batch(
        folders_of(results),
        wanted.score,
        measure=wanted.measure if "measure" in given else None,
        stain=wanted.stain if "stain" in given else None,
        rois=rois,
        out=folder,
        geojson=geojson,
        by_region=by_region,
        tell=tell,
    )


def _score_settings(given: SettingsLike, *, tell: Tell) -> Settings:
    """Return settings; what of them scores do not depend on is told, or refused if it is named."""
    settings = settings_of(given)
    unused = sorted(settings.model_fields_set - _TAKEN)
    if unused and isinstance(given, Mapping):
        key = next(key for key in given if next(iter(nested_values({key: 0}))) in unused)
        raise ConfigError(
            f"settings: {key}: scores are made anew with other settings of 'score' alone; the rest "
            "needs a run"
        )
    if unused:
        tell(
            f"--config: only 'score' is taken of it; what {', '.join(unused)} would change "
            "needs 'wsi-suite run'"
        )
    return settings
