"""Distances from training fields, against a Gaussian that is known."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from wsi_suite.nuclei.familiarity import (
    FEATURES,
    SIZE,
    STAIN,
    Aspect,
    KnownFields,
    compare_with_known,
    folds_of,
    learn_aspect,
)

NONE = np.empty((0, 3))
COVARIANCE = np.array([[4.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])


def gaussian(count: int, *, seed: int, mean: float = 5.0) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal([mean] * 3, COVARIANCE, count)


def learned(values: np.ndarray, **options: object) -> Aspect:
    groups = [str(number % 4) for number in range(len(values))]
    aspect = learn_aspect(values, groups, **({"held_out": NONE} | options))
    assert aspect is not None
    return aspect


def known(**aspects: Aspect) -> KnownFields:
    return KnownFields(
        weights_sha256="0" * 64,
        read_mpp=0.5,
        field_px=192,
        runs=("a",),
        fields=40,
        held_out="run",
        aspects=aspects,
    )


def test_distances_are_those_of_mahalanobis() -> None:
    values, others = gaussian(400, seed=0), gaussian(50, seed=1, mean=7.0)
    inverse = np.linalg.inv(np.cov(values.T, bias=True))
    from_mean = others - values.mean(axis=0)
    expected = np.sqrt(np.einsum("ij,jk,ik->i", from_mean, inverse, from_mean) / 3)
    assert learned(values).distances(others) == pytest.approx(expected, rel=1e-4)


def test_directions_beyond_the_axes_share_one_variance() -> None:
    spread = np.r_[np.linspace(40, 20, 8), np.ones(12)]
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))[0]
    values = np.random.default_rng(1).normal(size=(4000, 20)) * spread @ axes
    aspect = learned(values, held_out=np.empty((0, 20)))
    assert len(aspect.axes) == 8
    # Whatever the axes, the mean squared distance of the fields themselves is 1.
    assert np.mean(aspect.distances(values) ** 2) == pytest.approx(1, abs=1e-3)
    scaled = aspect.scaled(values)
    beside = scaled - scaled @ np.array(aspect.axes).T @ np.array(aspect.axes)
    assert np.sum(beside**2) / len(values) == pytest.approx(12 * aspect.rest, rel=1e-3)


def test_the_limit_holds_the_share_that_it_says() -> None:
    aspect = learned(gaussian(2000, seed=2))
    beyond = np.mean(aspect.distances(gaussian(20000, seed=3)) > aspect.limit(99))
    assert beyond == pytest.approx(0.01, abs=0.004)


def test_each_group_is_measured_by_the_others() -> None:
    values = gaussian(40, seed=4)
    values[:10] += 100  # the first group is unlike all others
    groups = ["a"] * 10 + ["b"] * 15 + ["c"] * 15
    aspect = learn_aspect(values, groups, held_out=NONE)
    assert aspect is not None
    assert np.count_nonzero(np.array(aspect.reference) > 20) == 10
    held_out = learn_aspect(values, groups, held_out=gaussian(7, seed=5))
    assert held_out is not None
    assert len(held_out.reference) == 47
    assert held_out.mean == aspect.mean, "nothing is learned from what is held out"


def test_nothing_is_learned_from_few_fields_or_one_group() -> None:
    assert learn_aspect(gaussian(19, seed=0), ["a", "b"] * 9 + ["a"], held_out=NONE) is None
    assert learn_aspect(gaussian(40, seed=0), ["a"] * 40, held_out=NONE) is None
    unknown = gaussian(40, seed=0)
    unknown[:25, 1] = np.nan
    assert learn_aspect(unknown, ["a", "b"] * 20, held_out=NONE) is None


def test_values_that_never_vary_are_no_fault() -> None:
    values = np.column_stack([gaussian(40, seed=0), np.full(40, 3.0)])
    aspect = learned(values, held_out=np.empty((0, 4)))
    assert np.isfinite(aspect.distances(values)).all()
    assert aspect.distances(values + np.eye(4)[3])[0] > 10


def test_fields_are_held_out_by_run_or_where_runs_are_few_by_fifths() -> None:
    assert folds_of(["a", "b", "c", "a"]) == (["a", "b", "c", "a"], "run")
    groups, by = folds_of(["a"] * 10)
    assert by == "tile"
    assert sorted(set(groups)) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("shift", "verdict", "differs"),
    [(0.0, "inside", None), (2.52, "at the rim", "larger"), (-6.0, "far", "smaller")],
)
def test_a_slide_is_called_by_its_median_field(shift: float, verdict: str, differs: str) -> None:
    values = np.linspace(-2.6, 2.6, 201)[:, None]
    aspect = learned(values, held_out=np.empty((0, 1)))
    fields = np.array([[0.1], [shift], [shift], [shift], [-0.1]])
    found = compare_with_known({SIZE: fields}, known(**{SIZE: aspect}), statistics="abc")
    figures = found.aspects[SIZE]
    assert (found.verdict, figures.differs, found.fields) == (verdict, differs, 5)
    assert found.field_um == 96
    assert figures.outside_share == (0.6 if verdict == "far" else 0)
    assert figures.nearer_percent == pytest.approx(100 * min(1, abs(shift) / 2.6), abs=2)


def test_the_worst_aspect_decides_and_unknown_ones_are_left_out() -> None:
    aspect = learned(gaussian(400, seed=0))
    sizes = learned(np.linspace(0, 1, 50)[:, None], held_out=np.empty((0, 1)))
    model = known(**{STAIN: aspect, FEATURES: aspect, SIZE: sizes})
    fields = {
        STAIN: np.full((3, 3), 5.0),
        FEATURES: np.full((3, 3), [5.0, 50.0, 5.0]),
        SIZE: np.full((3, 1), np.nan),
    }
    found = compare_with_known(fields, model, statistics="abc")
    assert found.verdict == "far"
    assert list(found.aspects) == [STAIN, FEATURES]
    assert found.farthest == found.aspects[FEATURES]
    assert found.aspects[FEATURES].differs is None
    nothing = compare_with_known({}, model, statistics="abc")
    assert (nothing.verdict, nothing.reason) == (None, "no field of tissue could be described")


def test_statistics_of_unequal_sizes_or_without_numbers_are_refused() -> None:
    values = learned(gaussian(40, seed=0)).as_json()
    for change in (
        {"mean": [1.0]},
        {"variances": [1.0]},
        {"rest": 0.0},
        {"scale": [1.0, float("nan"), 1.0]},
        {"reference": []},
    ):
        with pytest.raises(ValidationError):
            Aspect.model_validate(values | change)
