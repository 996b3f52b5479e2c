"""Scores: against values worked out by hand and published tables."""

import numpy as np
import pytest

from soilnb.metrics import ccc, delta_rmse, evaluate, mean_error, r2, rmse, rpiq

MEASURED = [1.0, 2.0, 3.0, 4.0, 5.0]
PREDICTED = [1.1, 1.9, 3.2, 3.8, 5.5]

# Table 3 of Shen et al. (2022): RMSE at the sites in China, Sweden and the USA.
LOCAL = np.array([0.46, 0.24, 0.47])
TABLE_3 = {
    "dtl_i_global": ([0.28, 0.23, 0.31], [39.13, 4.17, 34.04], 25.78),
    "dtl_r_global": ([0.45, 0.28, 0.35], [2.17, -16.67, 25.53], 3.68),
    "dtl_ir_global": ([0.31, 0.33, 0.31], [32.61, -37.50, 34.04], 9.72),
    "dtl_i_country": ([0.36, 0.39, 0.33], [21.74, -62.50, 29.79], -3.66),
    "dtl_r_country": ([0.42, 1.10, 0.55], [8.70, -358.33, -17.02], -122.22),
    "dtl_ir_country": ([0.45, 0.86, 0.32], [2.17, -258.33, 31.91], -74.75),
    "global": ([0.77, 1.06, 1.02], [-67.39, -341.67, -117.02], -175.36),
    "country": ([0.51, 1.10, 2.89], [-10.87, -358.33, -514.89], -294.70),
}


def test_five_samples_worked_out_by_hand():
    # Errors .1 -.1 .2 -.2 .5: squares sum to .35, SST = 10, quartiles 2 and 4.
    scores = evaluate(MEASURED, PREDICTED)
    assert scores["rmse"] == pytest.approx(np.sqrt(0.07))
    assert scores["mean_error"] == pytest.approx(0.1)
    assert scores["r2"] == pytest.approx(0.965)
    assert scores["rpiq"] == pytest.approx(7.559289, abs=1e-6)
    # n - 1 in the variances would give 0.984360626.
    assert scores["ccc"] == pytest.approx(0.983908046, abs=1e-9)
    assert scores["n"] == 5
    assert list(scores.index) == ["rmse", "mean_error", "ccc", "r2", "rpiq", "n"]


def test_ccc_penalises_shift_that_correlation_ignores():
    shifted = np.array(MEASURED) + 1
    # 2 x 2 / (2 + 2 + 1): variances of 2, a shift of 1.
    assert ccc(MEASURED, shifted) == pytest.approx(0.8)
    assert ccc(MEASURED, MEASURED) == pytest.approx(1.0)
    assert ccc(MEASURED, MEASURED[::-1]) == pytest.approx(-1.0)


def test_ccc_follows_from_rmse_and_mean_error():
    rng = np.random.default_rng(1)
    measured = rng.gamma(2.0, size=200)
    predicted = measured * 0.7 + rng.normal(size=200)
    spread = measured.var() + predicted.var() + mean_error(measured, predicted) ** 2
    expected = 1 - rmse(measured, predicted) ** 2 / spread
    assert ccc(measured, predicted) == pytest.approx(expected)
    correlation = np.corrcoef(measured, predicted)[0, 1]
    assert abs(ccc(measured, predicted)) <= abs(correlation)


def test_r2_is_negative_where_the_mean_predicts_better():
    # SSE = 16 + 0 + 16, SST = 2.
    assert r2([1.0, 2.0, 3.0], [5.0, 2.0, -1.0]) == -15.0


def test_rpiq_takes_the_quartiles_of_the_measured_values():
    narrow = np.full(5, 3.0)
    # Quartiles 2 and 4; errors -2 -1 0 1 2.
    assert rpiq(MEASURED, narrow) == pytest.approx(2 / np.sqrt(2))


def test_rpiq_of_a_perfect_prediction_is_infinite():
    assert rpiq(MEASURED, MEASURED) == np.inf


@pytest.mark.parametrize("method", TABLE_3)
def test_delta_rmse_gives_figure_4a_of_the_paper(method):
    other, by_site, mean = TABLE_3[method]
    improvement = delta_rmse(LOCAL, other)
    np.testing.assert_allclose(improvement, by_site, atol=0.005)
    assert improvement.mean() == pytest.approx(mean, abs=0.005)


def test_lists_equal_arrays_and_inputs_stay():
    measured, predicted = np.array(MEASURED), np.array(PREDICTED)
    from_arrays = evaluate(measured, predicted)
    assert from_arrays.equals(evaluate(MEASURED, PREDICTED))
    assert measured.tolist() == MEASURED
    assert predicted.tolist() == PREDICTED
