"""The fit of a learning curve on points of a known law, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from wsi_suite.training.outlook import look_ahead
from wsi_suite.training.power_law import EXPONENTS, fit_power_laws

CASES = (2, 4, 8, 16)


def law(a: float, b: float, c: float, cases=CASES) -> np.ndarray:
    return a + b * np.asarray(cases, float) ** -c


class TestFit:
    @pytest.mark.parametrize(
        ("a", "b", "c"), [(0.1, 0.5, 0.5), (0.0, 0.6, 0.3), (0.25, 0.4, 1.0), (0.05, 0.9, 0.15)]
    )
    def test_the_law_of_exact_points_is_found(self, a, b, c):
        fit = fit_power_laws(CASES, law(a, b, c)[None], np.array([1.0, 2.0, 1.0, 5.0]))
        assert (fit.a[0], fit.b[0], fit.c[0]) == pytest.approx((a, b, c), abs=1e-4)
        assert fit.identified[0]
        assert fit.errors_at([64])[0, 0] == pytest.approx(law(a, b, c, [64])[0], abs=1e-5)

    def test_three_points_are_met_in_closed_form(self):
        # Errors at n, 2n and 4n: 2^-c is the ratio of their steps.
        errors = np.array([0.5, 0.38, 0.30])
        fit = fit_power_laws((3, 6, 12), errors[None], np.ones(3))
        assert 2 ** -fit.c[0] == pytest.approx(0.08 / 0.12, abs=1e-4)
        assert fit.errors_at([24])[0, 0] == pytest.approx(0.30 - 0.08 * 2 / 3, abs=1e-4)

    def test_rows_are_fitted_one_by_one(self):
        rows = np.array([law(0.1, 0.5, 0.5), law(0.2, 0.3, 0.8)])
        fit = fit_power_laws(CASES, rows, np.ones(4))
        assert fit.c == pytest.approx([0.5, 0.8], abs=1e-4)

    def test_weights_decide_between_points_that_disagree(self):
        errors = law(0.1, 0.5, 0.5)
        errors[3] += 0.1
        weak = fit_power_laws(CASES, errors[None], np.array([1, 1, 1, 1e-9]))
        assert weak.c[0] == pytest.approx(0.5, abs=1e-3)

    @pytest.mark.parametrize(
        "errors", [[0.3, 0.3, 0.3], [0.2, 0.3, 0.4], [0.5, 0.2, 0.2], [0.0, 0.0, 0.0]]
    )
    def test_curves_without_a_law_are_not_identified(self, errors):
        fit = fit_power_laws((2, 4, 8), np.array([errors]), np.ones(3))
        assert not fit.identified[0]
        assert fit.a[0] >= 0
        assert fit.b[0] >= 0
        assert EXPONENTS[0] <= fit.c[0] <= EXPONENTS[1] + 1e-9


def repeats(a: float, b: float, c: float, *, number: int, noise: float, seed: int = 0):
    """Return mAP of a known law: each repeat has tests of its own difficulty, and noise."""
    rng = np.random.default_rng(seed)
    offset = rng.normal(0, noise, (number, 1))
    return 1 - law(a, b, c) + offset + rng.normal(0, noise / 4, (number, len(CASES)))


class TestOutlook:
    def test_a_clear_rise_pays(self):
        outlook = look_ahead("mAP", CASES, repeats(0.05, 0.6, 0.5, number=6, noise=0.008))
        assert outlook.pays is True
        assert outlook.at(2).value == pytest.approx(1 - law(0.05, 0.6, 0.5, [32])[0], abs=0.02)
        assert outlook.at(2).low < 1 - law(0.05, 0.6, 0.5, [32])[0] < outlook.at(2).high
        assert outlook.words.startswith(
            "Doubling the cases, from 16 to 32, is expected to raise mAP from "
        )
        assert "95 % interval" in outlook.words
        assert outlook.words.endswith("More annotation is likely to pay.")
        gain = outlook.at(2).value - outlook.at(1).value
        assert outlook.gains[0].value == pytest.approx(gain)
        assert [gain.times for gain in outlook.gains] == [2, 4]

    def test_a_plateau_does_not_pay(self):
        outlook = look_ahead("F1", CASES, repeats(0.2, 0.5, 1.5, number=8, noise=0.002))
        assert outlook.pays is False
        assert outlook.words.endswith("More annotation of this kind is unlikely to pay.")

    @pytest.mark.parametrize(
        ("cases", "values", "reason"),
        [
            ((2, 4), [[0.5, 0.6], [0.5, 0.7]], "needs 3 different numbers of cases, and 2 have"),
            ((2, 4, 8), [[0.5, 0.6, 0.65]], "one repeat does not show"),
            ((2, 4, 8), [[0.6, 0.6, 0.6], [0.7, 0.6, 0.5]], "mAP does not rise"),
            ((2, 4, 8), [[0.5, 0.8, 0.8], [0.5, 0.81, 0.81]], "is not determined by these points"),
            ((2, 4, 8), [[np.nan] * 3], "needs 3 different numbers of cases, and 0 have"),
            ((2, 4, 8), [[0.1, np.nan, 0.3], [0.1, 0.2, np.nan]], "no repeat has a value with"),
        ],
    )
    def test_nothing_is_extrapolated_that_is_not_told(self, cases, values, reason):
        outlook = look_ahead("mAP", cases, np.array(values))
        assert outlook.pays is None
        assert outlook.gains == ()
        assert all(part.cases <= cases[-1] for part in outlook.curve)
        assert "not told by these data: " in outlook.words
        assert reason in outlook.words

    def test_noise_gives_no_verdict(self):
        outlook = look_ahead("mAP", CASES, repeats(0.1, 0.3, 0.3, number=3, noise=0.15, seed=3))
        assert outlook.pays is None
        assert "told by these data" in outlook.words

    def test_a_repeat_with_a_gap_does_not_bend_the_curve(self):
        values = repeats(0.1, 0.5, 0.5, number=4, noise=0.0)
        gap = np.vstack([values, values[:1] - 0.3])
        gap[4, 3] = np.nan
        outlook = look_ahead("mAP", CASES, gap)
        assert outlook.repeats == 4
        assert outlook.at(2).value == pytest.approx(1 - law(0.1, 0.5, 0.5, [32])[0], abs=1e-4)

    def test_the_same_values_give_the_same_answer(self):
        values = repeats(0.1, 0.5, 0.5, number=3, noise=0.02)
        assert look_ahead("mAP", CASES, values) == look_ahead("mAP", CASES, values)

    def test_fewer_repeats_have_wider_intervals(self):
        values = repeats(0.05, 0.6, 0.5, number=8, noise=0.01)
        few = look_ahead("mAP", CASES, values[:2]).gains[0]
        many = look_ahead("mAP", CASES, np.vstack([values] * 2)).gains[0]
        assert few.high - few.low > many.high - many.low
